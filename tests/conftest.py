"""Fixtures that several levels share."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from world import World

os.environ.setdefault("POWERTOOLS_TRACE_DISABLED", "true")
os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "INFO")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With two processes (`make test`) one has the end-to-end tests, which wait most of the time, from the beginning;
    the other has the rest, file by file."""
    if not hasattr(config, "workerinput"):
        return
    items.sort(key=lambda item: "e2e" not in item.path.parts)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("e2e" if "e2e" in item.path.parts else str(item.path)))


@pytest.fixture
def moto_dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 DynamoDB client on moto: for tests of one thread, since moto does not isolate transactions."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield boto3.client("dynamodb", region_name="eu-west-1")


@pytest.fixture
def world(moto_dynamodb: Any) -> World:
    return World(moto_dynamodb)


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """Amazon's DynamoDB Local: isolates transactions, and counts capacity as DynamoDB does."""
    folder = os.environ.get("DYNAMODB_LOCAL_DIR", "")
    java = shutil.which("java")
    if not java or not (Path(folder) / "DynamoDBLocal.jar").is_file():
        pytest.skip("DynamoDB Local needs Java, and its folder in DYNAMODB_LOCAL_DIR (see .ci/run)")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [java, "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"]
    with subprocess.Popen(
        [*command, "-inMemory", "-sharedDb", "-port", str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("DynamoDB Local did not start within a minute")


@pytest.fixture
def dynamodb_local(dynamodb_local_url: str) -> Any:
    """A boto3 client for a DynamoDB Local of the test session; each test makes tables of its own name."""
    return boto3.client(
        "dynamodb",
        endpoint_url=dynamodb_local_url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=50),
    )
