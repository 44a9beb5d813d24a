"""From a task definition and its overrides to what a runtime makes."""

from typing import Any

import pytest

from ecs_anywhere_agent.container_network import PortMapping
from ecs_anywhere_agent.container_spec import (
    ContainerSpec,
    HealthCheck,
    Origin,
    RestartPolicy,
    TaskLimits,
    UnusableTaskDefinitionError,
    container_specs,
)

CONTAINER: dict[str, Any] = {"name": "app", "image": "app:1"}


def specs(
    *containers: dict[str, Any], overrides: dict[str, Any] | None = None, **members: Any
) -> tuple[ContainerSpec, ...]:
    definition = {"family": "web", "revision": 7, "containerDefinitions": list(containers or (CONTAINER,)), **members}
    return container_specs(
        definition, overrides or {}, container_instance_arn="instance", cluster="cluster", task_arn="task"
    )


def spec(overrides: dict[str, Any] | None = None, members: dict[str, Any] | None = None, **container: Any) -> Any:
    (only,) = specs({**CONTAINER, **container}, overrides=overrides, **(members or {}))
    return only


def test_the_least_that_a_definition_says() -> None:
    assert spec() == ContainerSpec(
        name="app",
        image="app:1",
        origin=Origin("instance", "cluster", "task", "web:7", essential=True, stop_timeout=30),
        entry_point=(),
        command=(),
        environment=(),
        network_mode="bridge",
        port_mappings=(),
        working_directory=None,
        user=None,
        docker_labels=(),
        cpu_shares=2,
        memory_limit=None,
        memory_reservation=None,
    )


@pytest.mark.parametrize(
    ("member", "value", "field", "expected"),
    [
        ("cpu", 256, "cpu_shares", 256),
        ("cpu", 0, "cpu_shares", 2),
        ("memory", 64, "memory_limit", 64),
        ("memoryReservation", 32, "memory_reservation", 32),
        ("command", ["a", "b"], "command", ("a", "b")),
        ("entryPoint", ["sh"], "entry_point", ("sh",)),
        ("environment", [{"name": "A", "value": "1"}], "environment", (("A", "1"),)),
        ("workingDirectory", "/srv", "working_directory", "/srv"),
        ("user", "1000:1000", "user", "1000:1000"),
        ("dockerLabels", {"b": "2", "a": "1"}, "docker_labels", (("a", "1"), ("b", "2"))),
    ],
)
def test_each_member_is_honoured(member: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(spec(**{member: value}), field) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"command": ["CMD", "true"]}, HealthCheck(("CMD", "true"), 30, 5, 3, 0), id="defaults"),
        pytest.param(
            {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 300},
            HealthCheck(("CMD-SHELL", "exit 1"), 5, 2, 1, 300),
            id="all-given",
        ),
        pytest.param({"command": ["NONE"]}, None, id="none-in-so-many-words"),
        pytest.param({}, None, id="empty"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_the_health_check(given: dict[str, Any] | None, expected: HealthCheck | None) -> None:
    assert spec(healthCheck=given).health_check == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"enabled": True}, RestartPolicy(frozenset(), 300), id="defaults"),
        pytest.param(
            {"enabled": True, "ignoredExitCodes": [0, 143], "restartAttemptPeriod": 60},
            RestartPolicy(frozenset({0, 143}), 60),
            id="all-given",
        ),
        pytest.param({"enabled": False, "restartAttemptPeriod": 60}, None, id="not-enabled"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_the_restart_policy(given: dict[str, Any] | None, expected: RestartPolicy | None) -> None:
    assert spec(restartPolicy=given).restart_policy == expected


def test_essential_and_stop_timeout_are_written_on_the_container() -> None:
    origin = spec(essential=False, stopTimeout=5).origin
    assert (origin.essential, origin.stop_timeout) == (False, 5)


@pytest.mark.parametrize(
    ("value", "units"), [("256", 256), (512, 512), ("0.25 vCPU", 256), ("1vcpu", 1024), (None, None)]
)
def test_task_cpu_is_a_limit(value: Any, units: int | None) -> None:
    assert spec(members={"cpu": value}).task_limits.cpu == units


@pytest.mark.parametrize(
    ("task", "container", "limit"), [("512", None, 512), ("512", 128, 128), ("0.5 GB", 1024, 512), (None, 64, 64)]
)
def test_a_container_gets_the_smaller_memory_limit(task: Any, container: Any, limit: int) -> None:
    assert spec(members={"memory": task}, memory=container).least_memory_limit == limit


@pytest.mark.parametrize(
    ("mode", "mapping", "expected"),
    [
        pytest.param("bridge", {"containerPort": 80}, PortMapping(80, 0, "tcp"), id="bridge-dynamic"),
        pytest.param(
            "bridge", {"containerPort": 80, "hostPort": 8080}, PortMapping(80, 8080, "tcp"), id="bridge-fixed"
        ),
        pytest.param("host", {"containerPort": 80}, PortMapping(80, 80, "tcp"), id="host"),
        pytest.param(None, {"containerPort": 53, "protocol": "udp"}, PortMapping(53, 0, "udp"), id="unset-udp"),
    ],
)
def test_ports(mode: str | None, mapping: dict[str, Any], expected: PortMapping) -> None:
    assert spec(members={"networkMode": mode}, portMappings=[mapping]).port_mappings == (expected,)


def test_without_a_network_there_are_no_ports() -> None:
    assert spec(members={"networkMode": "none"}, portMappings=[{"containerPort": 80}]).port_mappings == ()


def test_overrides_replace_and_environment_is_merged_by_name() -> None:
    override = {
        "name": "app",
        "command": ["new"],
        "environment": [{"name": "B", "value": "new"}, {"name": "C", "value": "3"}],
        "cpu": 512,
        "memory": 32,
        "memoryReservation": 16,
    }
    overridden = spec(
        {"containerOverrides": [override], "cpu": "1024", "memory": "64"},
        {"cpu": "256", "memory": "2048"},
        command=["old"],
        environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        cpu=1,
        memory=512,
    )
    assert overridden == spec()._replace(
        command=("new",),
        environment=(("A", "1"), ("B", "new"), ("C", "3")),
        cpu_shares=512,
        memory_limit=32,
        task_limits=TaskLimits(cpu=1024, memory=64),
        memory_reservation=16,
    )


def test_an_override_is_for_the_container_that_it_names() -> None:
    first, second = specs(
        CONTAINER,
        {"name": "other", "image": "x"},
        overrides={"containerOverrides": [{"name": "other", "command": ["x"]}]},
    )
    assert (first.command, second.command) == ((), ("x",))


@pytest.mark.parametrize(
    "members", [{"networkMode": "awsvpc"}, {"containerDefinitions": [{"image": "nameless"}]}, {"cpu": "much"}]
)
def test_what_makes_no_container_says_so(members: dict[str, Any]) -> None:
    with pytest.raises(UnusableTaskDefinitionError):
        specs(**members)
