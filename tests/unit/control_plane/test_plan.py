"""What the scheduler makes of a service."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.service import ServiceStatus
from control_plane.domain.task import Task
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task

S = TaskStatus


def running(number: int, **members: Any) -> Task:
    return a_task(number, **{"last_status": S.RUNNING, "started_at": NOW, **members})


def stopped(number: int, **members: Any) -> Task:
    return a_task(number, **{"last_status": S.STOPPED, "desired_status": DesiredStatus.STOPPED, **members})


def crashed_before_running(number: int) -> Task:
    return stopped(number, stop_code=StopCode.TASK_FAILED_TO_START)


def test_a_new_service_starts_all_its_tasks() -> None:
    assert plan(a_service(desired_count=3), [], NOW).start == 3


def test_a_task_that_is_starting_counts() -> None:
    planned = plan(a_service(desired_count=2), [running(1), a_task(2)], NOW)
    assert (planned.start, planned.running, planned.pending, planned.steady) == (0, 1, 1, False)


def test_a_task_that_is_told_to_stop_is_replaced_before_it_has_stopped() -> None:
    leaving = running(1, desired_status=DesiredStatus.STOPPED)
    assert plan(a_service(desired_count=1), [leaving], NOW).start == 1


def test_a_stopped_task_is_struck_off_and_replaced() -> None:
    ended = stopped(1, started_at=NOW, stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED)
    planned = plan(a_service(desired_count=1), [ended], NOW)
    assert (planned.start, planned.ended, planned.failed_starts) == (1, (ended,), 0)


def test_scaling_in_ends_what_has_not_started_first() -> None:
    tasks = [running(1), a_task(2), running(3)]
    assert [task.task_id for task in plan(a_service(desired_count=2), tasks, NOW).stop] == [f"{2:032x}"]


def test_scaling_in_ends_the_newest_on_the_fullest_instance() -> None:
    full, lonely = "a" * 32, "b" * 32
    tasks = [
        running(1, instance_id=lonely),
        running(2, instance_id=full, created_at=NOW),
        running(3, instance_id=full, created_at=NOW + timedelta(seconds=5)),
    ]
    assert [task.task_id for task in plan(a_service(desired_count=2), tasks, NOW).stop] == [f"{3:032x}"]


@pytest.mark.parametrize(
    ("failed_before", "waits"),
    [
        pytest.param(0, None, id="the-first-failure-is-tried-again-at-once"),
        pytest.param(2, 10, id="the-third-waits-ten-seconds"),
        pytest.param(5, 80, id="then-twice-as-long-each-time"),
        pytest.param(50, 900, id="but-never-more-than-a-quarter-of-an-hour"),
    ],
)
def test_starts_that_fail_are_spaced_out(failed_before: int, waits: int | None) -> None:
    service = a_service(desired_count=1, failed_starts=failed_before)
    planned = plan(service, [crashed_before_running(1)], NOW)
    expected = None if waits is None else NOW + timedelta(seconds=waits)
    assert (planned.not_before, planned.start) == (expected, 1 if waits is None else 0)


def test_the_wait_ends() -> None:
    service = a_service(desired_count=1, failed_starts=5, not_before=NOW)
    assert plan(service, [], NOW + timedelta(seconds=1)).start == 1


def test_a_task_that_somebody_stopped_is_no_failure() -> None:
    service = a_service(desired_count=1, failed_starts=5)
    assert plan(service, [stopped(1, stop_code=StopCode.USER_INITIATED)], NOW).not_before is None


def test_all_running_forgives_the_failures() -> None:
    service = a_service(desired_count=1, failed_starts=7)
    assert plan(service, [running(1)], NOW).failed_starts == 0


@pytest.mark.parametrize(
    ("tasks", "status"),
    [
        pytest.param([running(1)], ServiceStatus.DRAINING, id="a-deleted-service-drains-while-tasks-run"),
        pytest.param(
            [running(1, desired_status=DesiredStatus.STOPPED)], ServiceStatus.DRAINING, id="and-while-they-are-stopping"
        ),
        pytest.param([stopped(1)], ServiceStatus.INACTIVE, id="and-is-inactive-once-they-have-stopped"),
    ],
)
def test_deleting(tasks: list[Task], status: ServiceStatus) -> None:
    planned = plan(a_service(status=ServiceStatus.DRAINING, desired_count=0), tasks, NOW)
    assert (planned.status, planned.start) == (status, 0)


tasks_of_a_service = st.lists(
    st.tuples(st.sampled_from(list(S)), st.sampled_from(list(DesiredStatus)), st.sampled_from(["a", "b", "c"])),
    max_size=12,
).map(
    lambda rows: [
        a_task(number, last_status=last, desired_status=desired, instance_id=name * 32)
        for number, (last, desired, name) in enumerate(rows)
    ]
)


def carried_out(planned: ServicePlan, tasks: list[Task]) -> list[Task]:
    """The service's tasks once a plan is carried out and every machine has done as it was told."""
    gone = {task.task_id for task in (*planned.ended, *planned.stop)}
    left = [task for task in tasks if task.task_id not in gone and task.desired_status is DesiredStatus.RUNNING]
    new = [running(1000 + number) for number in range(planned.start)]
    return [running(int(task.task_id, 16)) for task in left] + new


@given(tasks_of_a_service, st.integers(0, 10))
def test_one_plan_carried_out_leaves_nothing_to_plan(tasks: list[Task], desired: int) -> None:
    service = a_service(desired_count=desired)
    first = plan(service, tasks, NOW)
    if first.not_before is not None:
        return
    second = plan(service, carried_out(first, tasks), NOW)
    assert (second.start, second.stop, second.ended, second.running, second.steady) == (0, (), (), desired, True)


@given(tasks_of_a_service, st.integers(0, 10))
def test_never_starts_and_stops_at_once(tasks: list[Task], desired: int) -> None:
    planned = plan(a_service(desired_count=desired), tasks, NOW)
    assert not (planned.start and planned.stop)
