"""Each task set is held at its own count, whatever becomes of the others."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.scheduling.service_events import of_plan
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.scheduling.task_sets import TaskSetsPlan, plan_task_sets, task_sets_after
from control_plane.domain.service import CircuitBreaker, DeploymentConfiguration, Service, ServiceStatus, no_deployment
from control_plane.domain.task import Task
from control_plane.domain.task_set import TaskSet, TaskSetStatus
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task

S = TaskStatus
BLUE, GREEN = "ecs-svc/1", "ecs-svc/2"
DRAINING = TaskSetStatus.DRAINING


def a_task_set(name: str = BLUE, scale: float = 100, **members: Any) -> TaskSet:
    defaults = {"task_definition": "web:1", "created_at": NOW, "updated_at": NOW, "stability_at": NOW, "request": ""}
    return TaskSet(task_set_id=name, scale=scale, **{**defaults, **members})


def external(*task_sets: TaskSet, desired: int = 2, **members: Any) -> Service:
    defaults = {"deployment_controller": "EXTERNAL", "deployment": no_deployment(NOW), "task_definition": ""}
    return a_service(**{**defaults, "desired_count": desired, "task_sets": task_sets, **members})


def of(task_set: str | None, number: int, status: TaskStatus = S.RUNNING, **members: Any) -> Task:
    started = NOW if status is S.RUNNING else None
    defaults = {"last_status": status, "started_at": started, "deployment_id": task_set, "service": "web"}
    return a_task(number, **{**defaults, **members})


def blue(number: int, status: TaskStatus = S.RUNNING, **members: Any) -> Task:
    return of(BLUE, number, status, **members)


def green(number: int, status: TaskStatus = S.RUNNING, **members: Any) -> Task:
    return of(GREEN, number, status, **members)


def never_ran(number: int, task_set: str = BLUE) -> Task:
    return of(
        task_set,
        number,
        S.STOPPED,
        desired_status=DesiredStatus.STOPPED,
        stop_code=StopCode.TASK_FAILED_TO_START,
        stopped_at=NOW,
    )


def ids(tasks: Iterable[Task]) -> list[int]:
    return sorted(int(task.task_id, 16) for task in tasks)


def starts(planned: TaskSetsPlan) -> dict[str, int]:
    return {part.task_set.task_set_id: part.plan.start for part in planned.parts if part.task_set and part.plan.start}


@pytest.mark.parametrize(
    ("scale", "desired", "expected"),
    [
        pytest.param(0, 10, 0, id="nothing"),
        pytest.param(100, 10, 10, id="all"),
        pytest.param(40, 3, 2, id="1.2-tasks-are-2"),
        pytest.param(0.1, 10, 1, id="a-thousandth-of-ten-is-one"),
        pytest.param(7, 100, 7, id="and-7-percent-of-a-hundred-are-7-although-they-are-more-in-binary"),
        pytest.param(33.3, 1000, 333, id="a-fraction"),
        pytest.param(100, 0, 0, id="of-nothing"),
    ],
)
def test_the_computed_count_is_rounded_up(scale: float, desired: int, expected: int) -> None:
    assert a_task_set(scale=scale).computed_desired_count(desired) == expected


@pytest.mark.parametrize(
    ("task_sets", "tasks", "started", "stopped"),
    [
        pytest.param([a_task_set()], [], {BLUE: 2}, [], id="the-first-one-starts"),
        pytest.param([a_task_set(scale=50)], [], {BLUE: 1}, [], id="as-far-as-it-is-scaled"),
        pytest.param([a_task_set()], [blue(1), blue(2, S.PENDING)], {}, [], id="what-is-pending-is-there"),
        pytest.param([a_task_set()], [blue(1)], {BLUE: 1}, [], id="what-stopped-is-replaced"),
        pytest.param(
            [a_task_set(), a_task_set(GREEN)], [blue(1), blue(2)], {GREEN: 2}, [], id="a-second-one-starts-beside-it"
        ),
        pytest.param(
            [a_task_set(scale=0), a_task_set(GREEN)],
            [blue(1), blue(2), green(3), green(4)],
            {},
            [1, 2],
            id="scaled-to-0-it-stops",
        ),
        pytest.param(
            [a_task_set(scale=0), a_task_set(GREEN)],
            [blue(1), blue(2)],
            {GREEN: 2},
            [1, 2],
            id="without-waiting-for-the-other-one-since-that-is-its-owners-matter",
        ),
        pytest.param(
            [a_task_set(status=DRAINING), a_task_set(GREEN)],
            [blue(1), green(3), green(4)],
            {},
            [1],
            id="a-deleted-one-stops-whatever-its-scale",
        ),
        pytest.param([a_task_set(scale=50)], [blue(1, S.PENDING), blue(2)], {}, [1], id="who-runs-least-goes-first"),
        pytest.param([a_task_set(GREEN)], [blue(1), green(2), green(3)], {}, [1], id="tasks-of-no-task-set-stop"),
        pytest.param([], [of(None, 1)], {}, [1], id="also-adopted-ones-where-there-is-no-task-set"),
        pytest.param([a_task_set(), a_task_set(GREEN, scale=0)], [of(None, 1)], {BLUE: 1}, [], id="else-they-count"),
        pytest.param(
            [a_task_set(scale=0), a_task_set(GREEN, status=TaskSetStatus.PRIMARY)],
            [of(None, 1)],
            {GREEN: 1},
            [],
            id="for-the-primary-one-if-there-is-one",
        ),
    ],
)
def test_the_next_step(
    task_sets: list[TaskSet], tasks: list[Task], started: dict[str, int], stopped: list[int]
) -> None:
    planned = plan_task_sets(external(*task_sets), tasks, NOW)
    assert (starts(planned), ids(planned.stop)) == (started, stopped)


def test_starts_that_fail_put_off_those_of_their_own_task_set_only() -> None:
    service = external(a_task_set(failed_starts=2), a_task_set(GREEN))
    planned = plan_task_sets(service, [never_ran(1)], NOW)
    assert starts(planned) == {GREEN: 2}
    bad, good = task_sets_after(planned, NOW, started={GREEN: 2}, waiting_since={}, more=False)
    assert (bad.failed_starts, bad.not_before, bad.pending_count) == (3, NOW + timedelta(seconds=10), 0)
    assert (good.failed_starts, good.not_before, good.pending_count) == (0, None, 2)
    assert planned.until == bad.not_before, "when the service is looked at again"
    later = plan_task_sets(external(bad, good), [], NOW + timedelta(seconds=10))
    assert starts(later) == {BLUE: 2, GREEN: 2}


AWAY = {"b" * 32: Connection(connected=False, changed_at=NOW - timedelta(hours=1))}


@pytest.mark.parametrize(
    ("disconnect", "started"),
    [
        pytest.param(None, {}, id="keeps-its-place"),
        pytest.param("replace-after=10m", {BLUE: 1}, id="is-replaced-after-a-while"),
    ],
)
def test_a_task_whose_machine_is_away(disconnect: str | None, started: dict[str, int]) -> None:
    tasks = [blue(1), blue(2, instance_id="b" * 32, disconnect=disconnect)]
    assert starts(plan_task_sets(external(a_task_set()), tasks, NOW, AWAY)) == started


def test_a_machine_that_is_to_be_emptied() -> None:
    draining = {"b" * 32: Connection(connected=True, draining=True)}
    tasks = [blue(1), blue(2, instance_id="b" * 32)]
    planned = plan_task_sets(external(a_task_set()), tasks, NOW, draining)
    assert (starts(planned), planned.stop, planned.steady) == ({BLUE: 1}, (), False)
    planned = plan_task_sets(external(a_task_set()), [*tasks, blue(3)], NOW, draining)
    assert (starts(planned), ids(planned.stop)) == ({}, [2])


def test_bounds_that_let_no_instance_be_emptied_are_told_with_the_numbers_of_the_task_set() -> None:
    draining = {"a" * 32: Connection(connected=True, draining=True)}
    bounds = DeploymentConfiguration(minimum_healthy_percent=99, maximum_percent=109)
    service = external(a_task_set(scale=10), desired=10, deployment_configuration=bounds)
    planned = plan_task_sets(service, [blue(1)], NOW, draining)
    assert [event.message for event in of_plan(service, planned, steady=False, now=NOW, new_id=lambda: "event")] == [
        f"(service web, taskSet {BLUE}) was unable to start or stop a task: with desiredCount 1, minimumHealthyPercent "
        "99 and maximumPercent 109 allow neither. Lower minimumHealthyPercent to 0, or raise maximumPercent to 200."
    ]


def test_an_unhealthy_task_is_replaced_first() -> None:
    def with_health(task: Task, health: HealthStatus) -> Task:
        report = ContainerReport(name="main", last_status=S.RUNNING, health_status=health)
        return task.model_copy(update={"containers": (report,)})

    checks = {"web:1": frozenset({"main"})}
    well, ill = with_health(blue(1), HealthStatus.HEALTHY), with_health(blue(2), HealthStatus.UNHEALTHY)
    planned = plan_task_sets(external(a_task_set()), [well, ill], NOW, checks=checks)
    assert (starts(planned), planned.sick, planned.steady) == ({BLUE: 1}, (), False)
    new = with_health(blue(3), HealthStatus.HEALTHY)
    planned = plan_task_sets(external(a_task_set()), [well, ill, new], NOW, checks=checks)
    assert (starts(planned), ids(planned.sick)) == ({}, [2])


@pytest.mark.parametrize(
    ("tasks", "steady"),
    [
        pytest.param([blue(1), blue(2)], True, id="all-run"),
        pytest.param([blue(1), blue(2, S.PENDING)], False, id="one-is-pending"),
        pytest.param([blue(1)], False, id="one-is-missing"),
        pytest.param([blue(1), blue(2), blue(3)], False, id="one-too-many"),
    ],
)
def test_when_it_is_steady(tasks: list[Task], steady: bool) -> None:
    before = a_task_set(steady=not steady)
    planned = plan_task_sets(external(before), tasks, NOW)
    [after] = task_sets_after(planned, NOW + timedelta(seconds=1), started={}, waiting_since={}, more=False)
    assert (after.steady, after.stability_at) == (steady, NOW + timedelta(seconds=1))
    again = plan_task_sets(external(after), tasks, NOW)
    assert task_sets_after(again, NOW + timedelta(seconds=9), started={}, waiting_since={}, more=False) == (after,)


def test_a_circuit_breaker_left_over_trips_nothing() -> None:
    breaker = CircuitBreaker(enable=True, rollback=True)
    service = external(a_task_set(), deployment_configuration=DeploymentConfiguration(circuit_breaker=breaker))
    assert not plan_task_sets(service, [never_ran(number) for number in range(1, 9)], NOW).tripped


class TestGoing:
    """A deleted task set, or all of a deleted service's."""

    def test_it_goes_with_its_last_task(self) -> None:
        service = external(a_task_set(status=DRAINING), a_task_set(GREEN, scale=0))
        leaving = blue(1, desired_status=DesiredStatus.STOPPED)
        for tasks, left in (([blue(1)], [BLUE, GREEN]), ([leaving], [BLUE, GREEN]), ([], [GREEN])):
            planned = plan_task_sets(service, tasks, NOW)
            after = task_sets_after(planned, NOW, started={}, waiting_since={}, more=False)
            assert [each.task_set_id for each in after] == left

    def test_but_not_while_there_are_tasks_to_strike_off_the_list(self) -> None:
        planned = plan_task_sets(external(a_task_set(status=DRAINING)), [never_ran(1)], NOW)
        assert len(task_sets_after(planned, NOW, started={}, waiting_since={}, more=True)) == 1
        assert ids(planned.ended) == [1]

    def test_a_machine_that_is_away_and_knows_holds_up_nothing(self) -> None:
        leaving = blue(1, instance_id="b" * 32, desired_status=DesiredStatus.STOPPED)
        planned = plan_task_sets(external(a_task_set(status=DRAINING)), [leaving], NOW, AWAY)
        assert task_sets_after(planned, NOW, started={}, waiting_since={}, more=False) == ()
        assert ids(planned.ended) == [1]

    def test_one_that_nobody_counts_any_more_is_told_to_stop_should_its_machine_return(self) -> None:
        missed = blue(1, instance_id="b" * 32, disconnect="replace-after=10m")
        planned = plan_task_sets(external(a_task_set(status=DRAINING)), [missed], NOW, AWAY)
        assert ids(planned.give_up) == [1]

    def test_a_deleted_service_is_inactive_once_all_have_gone(self) -> None:
        service = external(a_task_set(), a_task_set(GREEN), desired=0, status=ServiceStatus.DRAINING)
        planned = plan_task_sets(service, [green(1)], NOW)
        assert (planned.status, ids(planned.stop)) == (ServiceStatus.DRAINING, [1])
        assert plan_task_sets(service, [], NOW).status is ServiceStatus.INACTIVE

    def test_also_one_that_never_had_a_task_set(self) -> None:
        assert plan_task_sets(external(status=ServiceStatus.DRAINING), [], NOW).status is ServiceStatus.INACTIVE
