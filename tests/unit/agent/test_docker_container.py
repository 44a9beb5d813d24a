"""Docker's inspection as the agent takes it."""

from typing import Any

import pytest

from ecs_anywhere_agent.core.events import Condition
from ecs_anywhere_agent.runtime.docker_container import OUT_OF_MEMORY, digest_of, snapshot_of
from ecs_anywhere_agent.runtime.docker_engine import _reference
from ecs_protocol.messages import NetworkBinding
from ecs_protocol.statuses import HealthStatus

LABELS = {"ecs-anywhere.task-id": "a" * 32, "com.amazonaws.ecs.container-name": "app"}
ENDED = {"Status": "exited", "ExitCode": 137, "FinishedAt": "2030-01-01T00:00:00.123456789Z"}


def inspected(state: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "Id": "c0ffee",
        "State": state,
        "Config": {"Labels": LABELS},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Ports": {}},
        **members,
    }


def snapshot(state: dict[str, Any], **members: Any) -> Any:
    return snapshot_of(inspected(state, **members))


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        ("created", Condition.CREATED),
        ("running", Condition.RUNNING),
        ("paused", Condition.RUNNING),
        ("exited", Condition.EXITED),
        ("dead", Condition.EXITED),
    ],
)
def test_status(status: str, condition: Condition) -> None:
    assert snapshot({"Status": status, "ExitCode": 0}).condition is condition


def test_the_end() -> None:
    ended = snapshot(ENDED)
    assert (ended.exit_code, ended.reason) == (137, None)
    assert ended.finished_at.isoformat() == "2030-01-01T00:00:00.123456+00:00"
    assert snapshot({**ENDED, "OOMKilled": True}).reason == OUT_OF_MEMORY


def test_a_time_that_never_was_is_none() -> None:
    never = snapshot({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"})
    assert (never.started_at, never.run) == (None, None)


def test_a_run_is_named_by_its_start_to_the_nanosecond() -> None:
    started = "2030-01-01T00:00:00.123456789Z"
    assert snapshot({**ENDED, "StartedAt": started}).run == started


def test_health() -> None:
    unhealthy = {"Health": {"Status": "unhealthy"}}
    assert snapshot({"Status": "running", **unhealthy}).health is HealthStatus.UNHEALTHY
    assert snapshot({"Status": "running", "Health": {"Status": "starting"}}).health is HealthStatus.UNKNOWN
    assert snapshot({**ENDED, **unhealthy}).health is HealthStatus.UNKNOWN


def test_bindings_are_those_of_ipv4() -> None:
    ports = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32768"}],
        "53/udp": None,
    }
    bound = snapshot({"Status": "running"}, NetworkSettings={"Ports": ports}).bindings
    assert bound == (NetworkBinding(bind_ip="0.0.0.0", container_port=80, host_port=32768),)


def test_a_range_is_one_binding() -> None:
    ports = {f"{8000 + each}/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(60990 + each)}] for each in range(3)}
    config = {"Labels": {**LABELS, "ecs-anywhere.port-ranges": "8001-8002/tcp,8000-8002/udp"}}
    bound = snapshot({"Status": "running"}, NetworkSettings={"Ports": ports}, Config=config).bindings
    assert [each.described() for each in bound] == [
        {
            "bindIP": "0.0.0.0",
            "protocol": "tcp",
            "containerPortRange": "8001-8002",
            "hostPortRange": "60991-60992",
        },
        {"bindIP": "0.0.0.0", "protocol": "tcp", "containerPort": 8000, "hostPort": 60990},
    ]
    assert [list(each.host_ports) for each in bound] == [[60991, 60992], [60990]]


def test_somebody_elses_container_is_none() -> None:
    assert snapshot_of(inspected({"Status": "running"}, Config={"Labels": None})) is None


@pytest.mark.parametrize(
    ("image", "query"),
    [
        ("busybox", {"fromImage": "busybox", "tag": "latest"}),
        ("busybox:1.36", {"fromImage": "busybox", "tag": "1.36"}),
        ("localhost:5000/team/app", {"fromImage": "localhost:5000/team/app", "tag": "latest"}),
        ("localhost:5000/team/app:2", {"fromImage": "localhost:5000/team/app", "tag": "2"}),
        ("app@sha256:00ff", {"fromImage": "app", "tag": "sha256:00ff"}),
    ],
)
def test_an_image_reference_is_taken_apart(image: str, query: dict[str, str]) -> None:
    assert _reference(image) == query


def test_the_digest_is_that_of_the_repository_that_was_named() -> None:
    image = {"RepoDigests": ["other@sha256:1", "localhost:5000/app@sha256:2"]}
    assert digest_of(image, "localhost:5000/app:3") == "sha256:2"
    assert digest_of({"RepoDigests": []}, "app") is None
