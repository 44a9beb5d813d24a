"""A container's spec as Docker takes it, where no Engine is needed to see it."""

from typing import Any

import pytest

from ecs_anywhere_agent.container_network import PortRange
from ecs_anywhere_agent.container_spec import container_specs
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_config import container_config
from ecs_anywhere_agent.runtime.docker_features import features_of, is_rootless
from ecs_anywhere_agent.runtime.docker_labels import origin_of, task_limits_of
from ecs_protocol.capabilities import DOCKER_FEATURES, DOCKER_FEATURES_OF_SOME

REF = ContainerRef("a" * 32, "app")


def spec(members: dict[str, Any] | None = None, **container: Any) -> Any:
    app = {"name": "app", "image": "app:1", **container}
    definition = {"family": "web", "revision": 7, "containerDefinitions": [app], **(members or {})}
    (made,) = container_specs(definition, {}, container_instance_arn="instance", cluster="cluster", task_arn="task")
    return made


@pytest.mark.parametrize(
    ("option", "told"),
    [
        pytest.param("no-new-privileges", "no-new-privileges", id="a-word"),
        pytest.param("apparmor:my-profile", "apparmor=my-profile", id="apparmor"),
        pytest.param("label:user:app", "label=user:app", id="selinux"),
    ],
)
def test_security_options_are_written_as_docker_wants_them(option: str, told: str) -> None:
    assert container_config(REF, spec(dockerSecurityOptions=[option]), "")["HostConfig"]["SecurityOpt"] == [told]


def test_without_a_control_group_a_container_gets_the_limits_of_its_task() -> None:
    limited = spec({"cpu": "512", "memory": "64"}, memory=128)
    host = container_config(REF, limited, "")["HostConfig"]
    assert (host["Memory"], host["CpuQuota"], host["CpuPeriod"]) == (64 << 20, 50_000, 100_000)
    assert "CgroupParent" not in host
    host = container_config(REF, limited, "", cgroup_parent="/group")["HostConfig"]
    assert (host["Memory"], host["CgroupParent"]) == (128 << 20, "/group")
    assert "CpuQuota" not in host


def test_a_range_without_ports_chosen_is_the_machines_own() -> None:
    ranged = spec(portMappings=[{"containerPortRange": "8000-8001"}])
    chosen = container_config(REF, ranged, "", range_starts={PortRange(8000, 8001, "tcp"): 50_000})
    assert chosen["HostConfig"]["PortBindings"] == {
        "8000/tcp": [{"HostIp": "", "HostPort": "50000"}],
        "8001/tcp": [{"HostIp": "", "HostPort": "50001"}],
    }


def test_labels_tell_what_it_takes_to_adopt_the_container() -> None:
    definition = {
        "family": "web",
        "revision": 7,
        "cpu": "256",
        "memory": "64",
        "containerDefinitions": [
            {"name": "db", "image": "db:1"},
            {
                "name": "app",
                "image": "app:1",
                "stopTimeout": 7,
                "links": ["db"],
                "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}],
            },
        ],
    }
    made = container_specs(
        definition,
        {},
        container_instance_arn="instance",
        cluster="cluster",
        task_arn="task",
        restart="offline",
        stop_after=60,
    )
    labels = container_config(REF, made[1], "/data")["Labels"]
    assert origin_of(labels) == made[1].origin
    assert task_limits_of(labels) == made[1].task_limits


INFO: dict[str, Any] = {
    "Plugins": {"Log": ["awslogs", "gcplogs", "journald", "json-file"], "Volume": ["local", "vieux/sshfs:latest"]},
    "SecurityOptions": ["name=seccomp,profile=default", "name=apparmor"],
    "InitCommit": {"ID": ""},
    "SwapLimit": True,
    "CgroupVersion": "1",
}
SERVED = frozenset({"task-role", "task-role-network-host"})
ALL = SERVED | {
    "apparmor",
    "init-process",
    "swap",
    "swappiness",
    "task-limits",
    "task-namespaces",
    "log-driver-json-file",
    "log-driver-journald",
}


@pytest.mark.parametrize(
    ("options", "rootless"),
    [
        pytest.param(["name=seccomp,profile=default", "name=rootless"], True, id="rootless"),
        pytest.param(["name=seccomp,profile=default"], False, id="as-root"),
        pytest.param(None, False, id="nothing-said"),
    ],
)
def test_whether_docker_runs_without_root(options: list[str] | None, rootless: bool) -> None:
    assert is_rootless({"SecurityOptions": options}) is rootless


@pytest.mark.parametrize(
    ("changes", "limits_tasks", "journal", "missing"),
    [
        pytest.param({}, True, True, set(), id="all"),
        pytest.param({}, False, True, {"task-limits"}, id="no-control-groups-for-tasks"),
        pytest.param({}, True, False, {"log-driver-journald"}, id="no-journal"),
        pytest.param({"SecurityOptions": None}, True, True, {"apparmor"}, id="no-apparmor"),
        pytest.param({"InitCommit": {"ID": "N/A"}}, True, True, {"init-process"}, id="no-init-program"),
        pytest.param({"CgroupVersion": "2"}, True, True, {"swappiness"}, id="control-groups-of-version-2"),
        pytest.param({"SwapLimit": False}, True, True, {"swap", "swappiness"}, id="swap-is-not-accounted"),
        pytest.param(
            {"Plugins": {"Log": None}}, True, True, {"log-driver-json-file", "log-driver-journald"}, id="no-log-drivers"
        ),
    ],
)
def test_what_the_engine_lets_us_do(
    changes: dict[str, Any], limits_tasks: bool, journal: bool, missing: set[str], tmp_path: Any
) -> None:
    path = tmp_path if journal else tmp_path / "none"
    features = features_of({**INFO, **changes}, limits_tasks=limits_tasks, served=SERVED, journal=path)
    plugins = {f"volume-driver-vieux/sshfs{tag}" for tag in ("", ":latest")} if "Plugins" not in changes else set()
    assert features - DOCKER_FEATURES == (ALL - missing) | plugins
    assert ALL <= DOCKER_FEATURES_OF_SOME


@pytest.mark.parametrize("serves", [True, False])
def test_awslogs_needs_somebody_who_gives_docker_the_credentials(serves: bool) -> None:
    features = features_of(INFO, limits_tasks=False, served=frozenset({"execution-role-awslogs"} if serves else ()))
    assert ("log-driver-awslogs" in features) is serves
