"""Fixtures that several levels share."""

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from xdist.scheduler import LoadScopeScheduling

from control_plane.store.table import answering_in_json
from dynamodb import dynamodb_client, dynamodb_server
from world import World

os.environ.setdefault("POWERTOOLS_TRACE_DISABLED", "true")
os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "INFO")


class FileByFile(LoadScopeScheduling):  # type: ignore[misc]
    """With two processes (`make test`) one has the end-to-end tests, which wait most of the time, from the beginning;
    the other has the rest, file by file, and those together that make the same cgroups."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((folder for folder in ("e2e", "integration/agent") if f"tests/{folder}/" in path), path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile:
    return FileByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest begins first, where there are two processes."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: "e2e" not in item.path.parts)


@pytest.fixture
def moto_dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 DynamoDB client on moto: for tests of one thread, since moto does not isolate transactions."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield answering_in_json(boto3.client("dynamodb", region_name="eu-west-1"))


@pytest.fixture
def world(moto_dynamodb: Any) -> World:
    return World(moto_dynamodb)


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """Amazon's DynamoDB Local: isolates transactions, and counts capacity as DynamoDB does."""
    try:
        with dynamodb_server() as url:
            yield url
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture
def dynamodb_local(dynamodb_local_url: str) -> Any:
    """A boto3 client for a DynamoDB Local of the test session; each test makes tables of its own name."""
    return dynamodb_client(dynamodb_local_url)
