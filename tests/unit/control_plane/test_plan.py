"""What the scheduler makes of a service."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.service import DeploymentConfiguration, ServiceStatus
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
        pytest.param(50, 27 * 60, id="but-never-more-than-27-minutes"),
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
def test_two_plans_carried_out_leave_nothing_to_plan(tasks: list[Task], desired: int) -> None:
    """The second one where so many are stopping that there was no room beside them."""
    service = a_service(desired_count=desired)
    for _ in range(2):
        planned = plan(service, tasks, NOW)
        if planned.not_before is not None:
            return
        tasks = carried_out(planned, tasks)
    last = plan(service, tasks, NOW)
    assert (last.start, last.stop, last.ended, last.running, last.steady) == (0, (), (), desired, True)


@given(tasks_of_a_service, st.integers(0, 10))
def test_never_starts_and_stops_at_once(tasks: list[Task], desired: int) -> None:
    planned = plan(a_service(desired_count=desired), tasks, NOW)
    assert not (planned.start and planned.stop)


# --- machines that are away -------------------------------------------------------------------------------------

A, B, C = "a" * 32, "b" * 32, "c" * 32
REPLACED = "replace-after=10m"


def gone(minutes: float, *, ended: bool = True) -> Connection:
    at = NOW - timedelta(minutes=minutes)
    return Connection(connected=False, changed_at=at, session_ended_at=at if ended else None)


def ids(tasks: Iterable[Task]) -> list[int]:
    return [int(task.task_id, 16) for task in tasks]


def test_a_task_on_a_machine_that_is_away_counts_and_waits_for_nothing() -> None:
    tasks = [running(1), a_task(2, instance_id=B)]
    planned = plan(a_service(), tasks, NOW, {B: gone(5)})
    assert (planned.start, planned.steady, planned.away, planned.missed) == (0, True, 1, 0)


def test_what_does_not_count_any_more_is_replaced_by_a_substitute() -> None:
    tasks = [running(1), running(2, instance_id=B, disconnect=REPLACED)]
    planned = plan(a_service(), tasks, NOW, {B: gone(10)})
    assert (planned.start, planned.substitutes, planned.stop, planned.missed) == (1, 1, (), 1)


def test_a_substitute_is_not_substituted() -> None:
    tasks = [running(1), running(2, instance_id=B, disconnect=REPLACED), running(3, substitute=True)]
    planned = plan(a_service(), tasks, NOW, {B: gone(10)})
    assert (planned.start, planned.substitutes, planned.steady) == (0, 0, True)


@pytest.mark.parametrize(
    ("prefer", "stops"),
    [
        pytest.param("", [3], id="the-original-stays"),
        pytest.param(" prefer=original", [3], id="said-so"),
        pytest.param(" prefer=replacement", [2], id="the-replacement-stays"),
    ],
)
def test_the_surplus_once_the_machine_is_back(prefer: str, stops: list[int]) -> None:
    tag = REPLACED + prefer
    tasks = [
        running(1, disconnect=tag),
        running(2, instance_id=B, disconnect=tag),
        running(3, instance_id=C, disconnect=tag, substitute=True),
    ]
    back = {A: Connection(True, NOW - timedelta(days=1)), B: Connection(True, NOW), C: Connection(True)}
    assert ids(plan(a_service(), tasks, NOW, back).stop) == stops


def test_scaling_in_takes_machines_that_are_away_first() -> None:
    tasks = [running(1), running(2, instance_id=B), running(3)]
    assert ids(plan(a_service(), tasks, NOW, {B: gone(1)}).stop) == [2]


def test_a_stop_after_task_is_replaced_only_when_its_machine_must_have_stopped_it() -> None:
    task = running(1, instance_id=B, disconnect="stop-after=10m", stop_timeout=30)
    service = a_service(desired_count=1)
    soon = plan(service, [task], NOW, {B: gone(10.9)})
    assert (soon.start, soon.give_up, soon.until) == (0, (), NOW + timedelta(seconds=6))
    late = plan(service, [task], NOW, {B: gone(11)})
    assert (late.start, ids(late.give_up), late.substitutes) == (1, [1], 1)
    silent = plan(service, [task], NOW, {B: gone(1e5, ended=False)})
    assert (silent.start, silent.give_up) == (0, ())


def test_nothing_takes_the_place_of_a_stop_after_task_that_may_still_run() -> None:
    leaving = running(1, disconnect="stop-after=10m", desired_status=DesiredStatus.STOPPED)
    planned = plan(a_service(desired_count=1), [leaving], NOW)
    assert (planned.start, planned.steady) == (0, False)


def test_held_machines_are_not_replaced_and_it_is_said_how_many() -> None:
    task = running(1, instance_id=B, disconnect=REPLACED)
    planned = plan(a_service(desired_count=1), [task], NOW, {B: gone(60)}, {B: None})
    assert (planned.start, planned.held, planned.missed) == (0, 1, 0)


def test_a_deleted_service_does_not_wait_for_machines_that_are_away() -> None:
    leaving = running(1, instance_id=B, desired_status=DesiredStatus.STOPPED)
    service = a_service(desired_count=0, status=ServiceStatus.DRAINING)
    assert plan(service, [leaving], NOW).status is ServiceStatus.DRAINING
    planned = plan(service, [leaving], NOW, {B: gone(1)})
    assert (planned.status, planned.ended) == (ServiceStatus.INACTIVE, (leaving,))


def test_a_deleted_service_gives_up_what_does_not_count_any_more() -> None:
    """It would run again, with nobody to look after it, once its machine is back."""
    missed = running(1, instance_id=B, disconnect=REPLACED)
    service = a_service(desired_count=0, status=ServiceStatus.DRAINING)
    planned = plan(service, [missed], NOW, {B: gone(60)})
    assert (ids(planned.give_up), planned.status) == ([1], ServiceStatus.DRAINING)


tags = st.sampled_from([None, REPLACED, "stop-after=10m"])
minutes_away = st.one_of(st.none(), st.floats(0, 60))


@given(
    st.lists(st.tuples(tags, minutes_away, st.booleans(), st.sampled_from([S.PENDING, S.RUNNING])), max_size=8),
    st.integers(0, 8),
)
def test_at_most_one_copy_of_what_may_still_run(
    tasks: list[tuple[str | None, float | None, bool, TaskStatus]], desired: int
) -> None:
    """Whatever is wanted of them, stop-after tasks that may run and what is started are never more than wanted."""
    made = [
        a_task(
            number,
            instance_id=f"{number:032x}",
            disconnect=tag,
            stop_timeout=30 if tag == "stop-after=10m" else None,
            desired_status=DesiredStatus.STOPPED if stopping else DesiredStatus.RUNNING,
            last_status=status,
        )
        for number, (tag, _, stopping, status) in enumerate(tasks)
    ]
    places = {
        f"{number:032x}": Connection(True) if minutes is None else gone(minutes)
        for number, (_, minutes, _, _) in enumerate(tasks)
    }
    planned = plan(a_service(desired_count=desired), made, NOW, places)
    may_run = [
        task
        for task, (tag, minutes, _, _) in zip(made, tasks, strict=True)
        if tag == "stop-after=10m" and (minutes is None or minutes < 11)
    ]
    assert planned.start == 0 or planned.start + len(may_run) <= desired
    assert not set(ids(planned.stop)) & set(ids(planned.give_up))
    assert planned.start == 0 or not planned.stop


# --- container instances that are DRAINING ----------------------------------------------------------------------

DRAINS = {A: Connection(connected=True, draining=True)}


def on(place: str, number: int, **members: Any) -> Task:
    return running(number, instance_id=place, **members)


@pytest.mark.parametrize(
    ("desired", "tasks", "starts", "stops"),
    [
        pytest.param(2, [on(A, 1), on(A, 2)], 2, [], id="others-start-first"),
        pytest.param(2, [on(A, 1), on(A, 2), a_task(3, instance_id=B)], 1, [], id="and-what-starts-counts"),
        pytest.param(
            2, [on(A, 1), on(A, 2), on(B, 3), a_task(4, instance_id=B)], 0, [1], id="each-that-runs-frees-one"
        ),
        pytest.param(2, [on(A, 1), on(A, 2), on(B, 3), on(B, 4)], 0, [1, 2], id="then-all-leave"),
        pytest.param(1, [a_task(1, instance_id=A)], 1, [1], id="what-does-not-run-yet-leaves-at-once"),
        pytest.param(1, [on(A, 1), on(B, 2)], 0, [1], id="it-leaves-rather-than-one-that-may-stay"),
        pytest.param(1, [on(A, 1), on(B, 2), on(B, 3)], 0, [1, 2], id="scaling-in-meanwhile"),
        pytest.param(0, [on(A, 1)], 0, [1], id="nothing-is-wanted-any-more"),
        pytest.param(
            4,
            [on(A, number) for number in (1, 2, 3, 4)] + [a_task(9, instance_id=B)],
            3,
            [],
            id="never-over-200-percent",
        ),
    ],
)
def test_draining(desired: int, tasks: list[Task], starts: int, stops: list[int]) -> None:
    planned = plan(a_service(desired_count=desired), tasks, NOW, DRAINS)
    assert (planned.start, sorted(ids(planned.stop)), planned.steady) == (starts, stops, False)


def test_a_task_that_may_have_one_copy_leaves_before_another_starts_if_it_may() -> None:
    single = [on(A, 1, disconnect="stop-after=10m")]
    planned = plan(a_service(desired_count=1), single, NOW, DRAINS)
    assert (planned.start, planned.stop, planned.stuck) == (0, (), True)
    may_be_gone = a_service(
        desired_count=1, deployment_configuration=DeploymentConfiguration(minimum_healthy_percent=0)
    )
    planned = plan(may_be_gone, single, NOW, DRAINS)
    assert (planned.start, ids(planned.stop), planned.stuck) == (0, [1], False)


def test_a_task_that_crashes_in_the_place_of_one_that_drains_is_spaced_out() -> None:
    service = a_service(desired_count=1, failed_starts=5, not_before=NOW - timedelta(seconds=1))
    planned = plan(service, [on(A, 1), crashed_before_running(2)], NOW, DRAINS)
    assert (planned.start, planned.failed_starts) == (0, 6)
    planned = plan(service, [on(A, 1)], NOW, DRAINS)
    assert (planned.start, planned.failed_starts) == (1, 5)


statuses = st.sampled_from([S.PENDING, S.RUNNING, S.RUNNING])


@given(
    st.lists(st.tuples(st.sampled_from([A, B, C]), statuses), max_size=8),
    st.sets(st.sampled_from([A, B, C])),
    st.integers(0, 4),
)
def test_draining_keeps_to_the_limits_and_ends(
    tasks: list[tuple[str, TaskStatus]], draining: set[str], desired: int
) -> None:
    """A step stops no more of what runs than leaves those wanted, starts no more than fit twice, and all steps end."""
    places = {name: Connection(connected=True, draining=name in draining) for name in (A, B, C, "d" * 32)}
    alive = [
        running(number, instance_id=place) if status is S.RUNNING else a_task(number, instance_id=place)
        for number, (place, status) in enumerate(tasks)
    ]
    for step in range(4):
        planned = plan(a_service(desired_count=desired), alive, NOW, places)
        left = [task for task in alive if task not in planned.stop]
        run_now, run_then = (sum(task.last_status is S.RUNNING for task in each) for each in (alive, left))
        assert run_then >= min(run_now, desired)
        assert not planned.start or len(left) + planned.start <= 2 * desired
        started = [a_task(100 * (step + 1) + number, instance_id="d" * 32) for number in range(planned.start)]
        alive = [running(int(task.task_id, 16), instance_id=task.instance_id) for task in (*left, *started)]
    assert len(alive) == desired
    assert not [task for task in alive if places[task.instance_id].draining]
    assert plan(a_service(desired_count=desired), alive, NOW, places).steady
