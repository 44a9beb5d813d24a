"""The Engine's awslogs driver writes to MiniStack's CloudWatch Logs, with what it gets from the local endpoint."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.core import Instant, State
from ecs_anywhere_agent.core.roles import Credentials, Role, RoleRef
from ecs_anywhere_agent.core.values import Task
from ecs_anywhere_agent.endpoint.answers import Answers, World
from ecs_anywhere_agent.endpoint.endpoint import LOGS_BY_ROLE, Endpoint
from ecs_anywhere_agent.endpoint.limiting import Rate
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_view import DockerView
from integration.agent.conftest import Broker
from integration.agent.docker_containers import Containers, closing
from integration.agent.execution import ROLE, held
from integration.agent.runtimes import TASK_ID
from shows import shows

pytestmark = pytest.mark.docker


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    opened = Endpoint.open(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def containers(engine: Engine, aws: Broker, endpoint: Endpoint, tmp_path: Path) -> Iterator[Containers]:
    """The endpoint serves the task of the tests."""
    del aws
    with closing(Containers(engine, tmp_path, family="logs", endpoint=endpoint)) as made:
        if LOGS_BY_ROLE not in endpoint.features:
            pytest.skip("the address of the endpoint cannot be added here")
        state = State(
            tasks={TASK_ID: Task(TASK_ID, roles=(Role("execution", ROLE),))},
            credentials={RoleRef(TASK_ID, "execution"): Credentials(expires_at=3600.0)},
        )
        now = Instant(0.0, datetime.now(UTC))
        world = World(lambda: state, lambda: now, lambda: None, held(), DockerView(engine))
        with endpoint.serving(Answers(endpoint.identifiers, world, Rate())):
            yield made


def written(aws: Broker, group: str, stream: str) -> list[str]:
    client = aws.client("logs")
    deadline = time.monotonic() + 30
    while True:
        events = client.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        if events or time.monotonic() > deadline:
            return [each["message"] for each in events]
        time.sleep(0.2)


def logging_to(group: str, **options: str) -> dict[str, Any]:
    of_all = {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-create-group": "true"}
    return {"logDriver": "awslogs", "options": {**of_all, **options}}


@shows("logConfiguration.logDriver", "logConfiguration.options")
def test_what_is_written_arrives_in_the_stream_of_the_container(containers: Containers, aws: Broker) -> None:
    options = {"awslogs-stream-prefix": "app", "awslogs-datetime-format": "%Y-"}
    started = containers.start(
        {
            "command": ["sh", "-c", "echo 2030-01-01 one; echo more of it; echo 2031-01-01 two"],
            "logConfiguration": logging_to("/tests", **options),
        },
        executionRoleArn=ROLE,
    )["main"]
    assert containers.driver.ended(started).exit_code == 0
    assert written(aws, "/tests", f"app/main/{TASK_ID}") == ["2030-01-01 one\nmore of it\n", "2031-01-01 two\n"]
    told = containers.inspect(started)["HostConfig"]["LogConfig"]["Config"]
    assert told["awslogs-endpoint"] == aws.url
    assert told["awslogs-credentials-endpoint"].startswith(":")


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_dockers_daemon_gets_the_credentials_and_a_container_that_knows_the_id_does_not(
    containers: Containers, endpoint: Endpoint
) -> None:
    uri = endpoint.of_log_driver(TASK_ID)
    assert uri is not None
    status, given = get(f"http://169.254.170.2{uri}")
    assert (status, given["RoleArn"], given["Token"]) == (200, ROLE, "the-session-token")
    status, refused = get(f"http://169.254.170.2{uri[:-1]}x")
    assert (status, refused["code"]) == (400, "InvalidIdInRequest")
    host, _, path = f"169.254.170.2{uri}".partition("/")
    request = f"printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' | nc {host.replace(':', ' ')}"
    started = containers.start({"command": ["sh", "-c", request]})["main"]
    assert "InvalidIdInRequest" in containers.output(started)
