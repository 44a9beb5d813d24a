"""What Docker's log drivers are told."""

from collections.abc import Mapping

import pytest

from ecs_anywhere_agent.container_spec import LogConfiguration
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_logs import completed

REF = ContainerRef("a" * 32, "web")
DEFAULTS = {"mode": "non-blocking", "max-buffer-size": "10m"}
"""Of Amazon ECS."""
GROUP = {"awslogs-group": "/app", "awslogs-region": "eu-west-1"}
MULTILINE = {"awslogs-datetime-format": "%Y", "mode": "non-blocking", "max-buffer-size": "4m"}


@pytest.mark.parametrize(
    ("given", "credentials", "environment", "told"),
    [
        pytest.param({}, None, {}, {}, id="what-the-definition-says"),
        pytest.param(MULTILINE, None, {}, MULTILINE, id="whatever-docker-knows"),
        pytest.param(
            {"awslogs-stream-prefix": "app"}, None, {}, {"awslogs-stream": f"app/web/{'a' * 32}"}, id="a-streams-name"
        ),
        pytest.param({}, ":1/x", {}, {"awslogs-credentials-endpoint": ":1/x"}, id="where-credentials-are"),
        pytest.param({}, None, {"AWS_ENDPOINT_URL": "http://a"}, {"awslogs-endpoint": "http://a"}, id="where-aws-is"),
        pytest.param(
            {},
            None,
            {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "http://b"},
            {"awslogs-endpoint": "http://b"},
            id="where-its-logs-are",
        ),
        pytest.param(
            {"awslogs-endpoint": "http://own"},
            None,
            {"AWS_ENDPOINT_URL": "http://a"},
            {"awslogs-endpoint": "http://own"},
            id="a-definition-that-says-where",
        ),
    ],
)
def test_the_options_of_awslogs(
    given: Mapping[str, str], credentials: str | None, environment: Mapping[str, str], told: Mapping[str, str]
) -> None:
    logs = LogConfiguration("awslogs", tuple({**GROUP, **given}.items()))
    assert dict(completed(logs, REF, credentials, environment).options) == {**DEFAULTS, **GROUP, **told}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param({"tag": "x"}, {"tag": "x", **DEFAULTS}, id="without-a-mode"),
        pytest.param({"mode": "non-blocking", "max-buffer-size": "1m"}, None, id="with-a-buffer"),
        pytest.param({"mode": "blocking"}, None, id="with-another-mode"),
    ],
)
def test_what_is_written_does_not_block_unless_the_definition_says_so(
    given: Mapping[str, str], told: Mapping[str, str] | None
) -> None:
    logs = LogConfiguration("syslog", tuple(given.items()))
    assert dict(completed(logs, REF, ":1/x", {"AWS_ENDPOINT_URL": "http://a"}).options) == (told or given)


def test_a_log_routers_options_are_its_own() -> None:
    logs = LogConfiguration("awsfirelens", (("Name", "stdout"),))
    assert completed(logs, REF, None, {}) == logs
