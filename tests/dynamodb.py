"""Amazon's DynamoDB Local, for tests of races and costs, and for benchmarks."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from control_plane.store.table import answering_in_json

WITHIN_SECONDS = 60


@contextmanager
def dynamodb_server() -> Iterator[str]:
    """Its URL. Raises LookupError if it is not there, TimeoutError if it does not start."""
    folder = os.environ.get("DYNAMODB_LOCAL_DIR", "")
    java = shutil.which("java")
    if not java or not (Path(folder) / "DynamoDBLocal.jar").is_file():
        raise LookupError("DynamoDB Local needs Java, and its folder in DYNAMODB_LOCAL_DIR (see .ci/run)")
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


def dynamodb_client(url: str) -> Any:
    return answering_in_json(
        boto3.client(
            "dynamodb",
            endpoint_url=url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(max_pool_connections=50),
        )
    )


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("DynamoDB Local did not start within a minute")
