"""A control group for a task with limits, in a file system that only looks like one of control groups."""

from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.container_spec import TaskLimits
from ecs_anywhere_agent.runtime.docker_tasks import TaskCgroups

TASK_ID = "a" * 32
CGROUPFS = {"CgroupDriver": "cgroupfs"}


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    for controller in ("cpu", "memory"):
        (tmp_path / controller).mkdir()
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    return tmp_path


def find(root: Path) -> TaskCgroups:
    found = TaskCgroups.find(CGROUPFS, root)
    assert found is not None
    return found


def files(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_version_1_has_a_directory_for_each_controller(version_1: Path) -> None:
    assert find(version_1).prepare(TASK_ID, TaskLimits(cpu=512, memory=64)) == f"/ecs-anywhere/{TASK_ID}"
    assert files(version_1 / "cpu" / "ecs-anywhere" / TASK_ID) == {
        "cpu.shares": "512",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
    }
    memory = files(version_1 / "memory" / "ecs-anywhere" / TASK_ID)
    assert memory == {"memory.use_hierarchy": "1", "memory.limit_in_bytes": str(64 << 20)}


def test_version_2_hands_its_controllers_down(version_2: Path) -> None:
    assert find(version_2).prepare(TASK_ID, TaskLimits(cpu=512, memory=64)) == f"/ecs-anywhere/{TASK_ID}"
    for parent in (version_2, version_2 / "ecs-anywhere"):
        assert (parent / "cgroup.subtree_control").read_text() == "+cpu +memory"
    made = files(version_2 / "ecs-anywhere" / TASK_ID)
    assert (made["cpu.max"], made["memory.max"]) == ("50000 100000", str(64 << 20))
    assert "memory.swap.max" not in made


def test_a_task_without_limits_has_none(version_1: Path) -> None:
    assert find(version_1).prepare(TASK_ID, TaskLimits(None, None)) is None
    assert not (version_1 / "cpu" / "ecs-anywhere" / TASK_ID).exists()


@pytest.mark.parametrize(
    "info", [pytest.param({"CgroupDriver": "systemd"}, id="systemds"), pytest.param({}, id="nobody-says-whose")]
)
def test_control_groups_that_are_not_ours_to_make(version_1: Path, info: dict[str, Any]) -> None:
    assert TaskCgroups.find(info, version_1) is None


def test_where_there_are_none(tmp_path: Path) -> None:
    assert TaskCgroups.find(CGROUPFS, tmp_path) is None


def test_a_container_is_given_its_group_again(version_1: Path) -> None:
    labels = {"ecs-anywhere.task-id": TASK_ID, "ecs-anywhere.task-memory": "64"}
    inspected = {"Config": {"Labels": labels}, "HostConfig": {"CgroupParent": f"/ecs-anywhere/{TASK_ID}"}}
    find(version_1).restore(inspected)
    limit = version_1 / "memory" / "ecs-anywhere" / TASK_ID / "memory.limit_in_bytes"
    assert limit.read_text() == str(64 << 20)


def test_one_without_a_group_gets_none(version_1: Path) -> None:
    inspected = {"Config": {"Labels": {"ecs-anywhere.task-id": TASK_ID}}, "HostConfig": {"CgroupParent": ""}}
    find(version_1).restore(inspected)
    assert not (version_1 / "memory" / "ecs-anywhere" / TASK_ID).exists()
