"""What is kept of stopped tasks and for how long, what must stay for those that run, and a disk that is nearly full."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ecs_anywhere_agent.clean_up import CleanUp, free_percent
from ecs_anywhere_agent.core import Rules
from ecs_anywhere_agent.core.events import ContainerChanged, DiskNearlyFull
from ecs_anywhere_agent.core.needed_images import needed_images
from ecs_anywhere_agent.core.values import ContainerRef, State
from ecs_anywhere_agent.runtime.interface import Runtime
from ecs_anywhere_agent.settings import Settings
from ecs_protocol.statuses import StopCode, TaskStatus
from unit.agent.world import DEFINITION, Cloud, Machine, task_id

GIBIBYTE = 2**30
IMAGES = frozenset({"app:1", "sidecar:1"})
PRIVILEGED = "com.amazonaws.ecs.capability.privileged-container"


def running(machine: Machine, *numbers: int, **members: Any) -> Machine:
    machine.boot()
    machine.connect()
    machine.drain()
    for number in numbers:
        machine.deliver(machine.cloud.run(number, **members))
        machine.drain()
    return machine


def stop(machine: Machine, number: int) -> None:
    machine.deliver(machine.cloud.stop(number))
    machine.settle(1)


def test_the_containers_of_stopped_tasks_go_at_once_when_the_disk_is_nearly_full() -> None:
    machine = running(Machine(Cloud()), 1, 2)
    stop(machine, 1)
    assert len(machine.runtime.containers) == 4
    machine.take(DiskNearlyFull())
    assert {ref.task_id for ref in machine.runtime.containers} == {task_id(2)}
    machine.settle(10)
    assert machine.cloud.tasks[task_id(2)].last_status is TaskStatus.RUNNING


def test_a_task_that_is_to_start_again_in_place_keeps_its_containers_and_images_on_a_full_disk() -> None:
    machine = running(Machine(Cloud()), 1, restart="offline")
    machine.disconnect()
    machine.settle(120)
    ref = ContainerRef(task_id(1), "app")
    machine.take(ContainerChanged(machine.runtime.end(ref, 1)))
    machine.take(DiskNearlyFull())
    assert needed_images(machine.state) == IMAGES
    assert ref in machine.runtime.containers
    machine.settle(60)
    assert machine.runtime.restarts[ref] == 1


def test_images_are_needed_until_their_task_has_stopped() -> None:
    machine = running(Machine(Cloud()), 1)
    assert needed_images(machine.state) == IMAGES
    stop(machine, 1)
    assert needed_images(machine.state) == frozenset()


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        pytest.param(1, 100.0, id="a-small-id"),
        pytest.param(0x80000000 << 96, 130.0, id="one-in-the-middle"),
        pytest.param(0xFFFFFFFF << 96, 159.9, id="the-largest"),
    ],
)
def test_with_jitter_each_task_is_kept_for_a_time_of_its_own(number: int, kept: float) -> None:
    machine = running(Machine(Cloud(), Rules(keep_stopped=100.0, keep_stopped_jitter=60.0)), number)
    stop(machine, number)
    machine.settle(kept - 5)
    assert machine.runtime.containers
    machine.settle(10)
    assert not machine.runtime.containers


def test_what_the_owner_keeps_from_tasks_is_refused_whoever_sends_it() -> None:
    [app, sidecar] = DEFINITION["containerDefinitions"]
    cloud = Cloud(definition={**DEFINITION, "containerDefinitions": [{**app, "privileged": True}, sidecar]})
    machine = running(Machine(cloud, Rules(withheld=frozenset({PRIVILEGED}))), 1)
    report = machine.cloud.tasks[task_id(1)].report
    assert report is not None
    assert (report.last_status, report.stop_code, report.stopped_reason) == (
        TaskStatus.STOPPED,
        StopCode.TASK_FAILED_TO_START,
        f"Task failed to start: this machine's owner does not allow {PRIVILEGED}",
    )
    assert not machine.runtime.containers


class CleanedRuntime:
    """Notes each clean-up, and frees the disk with it."""

    def __init__(self) -> None:
        self.cleaned: list[bool | None] = []
        self.called = threading.Event()
        self.free = 50.0

    def storage(self) -> Path:
        return Path("/nowhere")

    def clean_up(self, needed_images: Callable[[], frozenset[str]], pressed: Callable[[], bool] | None) -> None:
        assert needed_images() == frozenset()
        self.cleaned.append(None if pressed is None else pressed())
        self.free = 50.0
        self.called.set()


@pytest.mark.parametrize(
    ("free", "minimum", "interval", "cleaned", "told"),
    [
        pytest.param(9.9, 10, 1800.0, [True], [DiskNearlyFull()], id="nearly-full"),
        pytest.param(50.0, 10, 0.0, [None], [], id="the-interval-is-over"),
    ],
)
def test_when_it_is_cleaned_up(
    *, tmp_path: Path, free: float, minimum: int, interval: float, cleaned: list[bool | None], told: list[object]
) -> None:
    runtime, events = CleanedRuntime(), list[object]()
    runtime.free = free
    clean_up = CleanUp(
        cast("Runtime", runtime),
        tmp_path,
        Settings(minimum_free_disk=minimum, image_cleanup_interval=interval),
        state=State,
        emit=events.append,
        free=lambda path: runtime.free if path == Path("/nowhere") else None,
        look_seconds=0.01,
    )
    clean_up.start()
    assert runtime.called.wait(10)
    clean_up.close()
    assert (runtime.cleaned[:1], events[:1]) == (cleaned, told)


@pytest.mark.parametrize(
    ("total", "available", "percent"),
    [
        pytest.param(10 * GIBIBYTE, GIBIBYTE, 10.0, id="of-all-of-it"),
        pytest.param(2000 * GIBIBYTE, 15 * GIBIBYTE, 15.0, id="of-a-part-of-a-large-one"),
        pytest.param(0, 0, None, id="of-what-is-no-disk"),
    ],
)
def test_the_free_part_of_a_disk(
    monkeypatch: pytest.MonkeyPatch, total: int, available: int, percent: float | None
) -> None:
    disk = SimpleNamespace(f_frsize=4096, f_blocks=total // 4096, f_bavail=available // 4096)
    monkeypatch.setattr("os.statvfs", lambda _: disk)
    assert free_percent(Path("/")) == percent


def test_where_one_may_not_look_the_nearest_directory_says_it(tmp_path: Path) -> None:
    found = free_percent(tmp_path / "not" / "there")
    assert found is not None
    assert found >= 0
