"""A deployment, step by step: what starts, what stops, when it has failed."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.scheduling.aftermath import service_after
from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.rollout import FAILED, after_failure, bounds, rolled_back
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.service import (
    CircuitBreaker,
    Deployment,
    DeploymentConfiguration,
    RolloutState,
    Service,
    ServiceStatus,
)
from control_plane.domain.task import Task
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task

S = TaskStatus
OLD, NEW = "ecs-svc/1", "ecs-svc/2"
CHECKS = {"web:1": frozenset({"main"}), "web:2": frozenset({"main"})}


def deployment(name: str = NEW, definition: str = "web:2", **members: Any) -> Deployment:
    return Deployment(deployment_id=name, task_definition=definition, created_at=NOW, updated_at=NOW, **members)


COMPLETED = deployment(OLD, "web:1", rollout_state=RolloutState.COMPLETED)


def rolling(desired: int = 2, least: int = 100, most: int = 200, **members: Any) -> Service:
    """A service on its way from web:1 to web:2."""
    breaker = members.pop("circuit_breaker", None)
    return a_service(
        **{
            "desired_count": desired,
            "task_definition": "web:2",
            "deployment": deployment(),
            "older": (COMPLETED,),
            "completed": COMPLETED,
            "deployment_configuration": DeploymentConfiguration(
                minimum_healthy_percent=least, maximum_percent=most, circuit_breaker=breaker
            ),
            **members,
        }
    )


def old(number: int, **members: Any) -> Task:
    defaults = {"last_status": S.RUNNING, "started_at": NOW, "deployment_id": OLD, "task_definition": "web:1"}
    return a_task(number, **{**defaults, **members})


def new(number: int, status: TaskStatus = S.RUNNING, **members: Any) -> Task:
    started = NOW if status is S.RUNNING else None
    defaults = {"last_status": status, "started_at": started, "deployment_id": NEW, "task_definition": "web:2"}
    return a_task(number, **{**defaults, **members})


def with_health(task: Task, health: HealthStatus) -> Task:
    report = ContainerReport(name="main", last_status=S.RUNNING, health_status=health)
    return task.model_copy(update={"containers": (report,)})


def leaving(task: Task) -> Task:
    return task.model_copy(update={"desired_status": DesiredStatus.STOPPED})


def never_ran(number: int) -> Task:
    return new(
        number, S.STOPPED, desired_status=DesiredStatus.STOPPED, stop_code=StopCode.TASK_FAILED_TO_START, stopped_at=NOW
    )


def ids(tasks: Iterable[Task]) -> list[int]:
    return [int(task.task_id, 16) for task in tasks]


def steps(planned: ServicePlan) -> tuple[int, list[int]]:
    return planned.start, sorted(ids(planned.stop))


@pytest.mark.parametrize(
    ("least", "most", "tasks", "expected"),
    [
        pytest.param(100, 200, [old(1), old(2)], (2, []), id="new-ones-start-beside-the-old"),
        pytest.param(100, 200, [old(1), old(2), new(3, S.PENDING), new(4)], (0, [1]), id="one-that-runs-relieves-one"),
        pytest.param(100, 200, [old(1), old(2), new(3), new(4)], (0, [1, 2]), id="all-that-run-relieve-all"),
        pytest.param(100, 150, [old(1), old(2)], (1, []), id="one-at-a-time-within-150-percent"),
        pytest.param(50, 100, [old(1), old(2)], (0, [1]), id="without-room-one-stops-first"),
        pytest.param(50, 100, [leaving(old(1)), old(2)], (0, []), id="which-holds-its-place-until-it-has-stopped"),
        pytest.param(50, 100, [old(1)], (1, []), id="and-gives-it-to-a-new-one-then"),
        pytest.param(0, 200, [old(1), old(2)], (2, [1, 2]), id="nothing-need-stay"),
        pytest.param(100, 200, [old(1, last_status=S.PENDING), old(2)], (2, [1]), id="what-does-not-run-may-stop"),
        pytest.param(100, 200, [new(3), new(4)], (0, []), id="nothing-old-is-left"),
    ],
)
def test_the_next_step(least: int, most: int, tasks: list[Task], expected: tuple[int, list[int]]) -> None:
    assert steps(plan(rolling(2, least, most), tasks, NOW)) == expected


def test_the_bounds_round_in_favour_of_who_is_served() -> None:
    limits = bounds(rolling(3, 50, 150), 3)
    assert (limits.least, limits.most) == (2, 4)


def test_it_is_on_its_way_until_the_old_tasks_have_stopped() -> None:
    tasks = [new(3), new(4), leaving(old(1))]
    planned = plan(rolling(2), tasks, NOW)
    assert (planned.steady, [each.deployment_id for each in planned.older]) == (False, [OLD])
    assert (planned.deployment.running_count, planned.deployment.pending_count) == (2, 0)
    done = plan(rolling(2), tasks[:2], NOW)
    assert (done.steady, done.older) == (True, ())


def test_it_does_not_wait_for_an_old_task_on_a_machine_that_is_away() -> None:
    away = {"b" * 32: Connection(connected=False, changed_at=NOW, session_ended_at=NOW)}
    tasks = [new(3), new(4), leaving(old(1, instance_id="b" * 32))]
    planned = plan(rolling(2), tasks, NOW, away)
    assert (planned.steady, planned.older) == (True, ())


def test_of_a_task_that_may_have_one_copy_no_second_one_starts_beside_it() -> None:
    single = {"disconnect": "stop-after=10m", "stop_timeout": 30}
    waiting = plan(rolling(1), [old(1, **single)], NOW)
    assert (steps(waiting), waiting.stuck) == ((0, []), True), "and which number to change is said"
    assert steps(plan(rolling(1, least=0), [old(1, **single)], NOW)) == (0, [1])
    assert steps(plan(rolling(1, least=0), [leaving(old(1, **single))], NOW)) == (0, [])
    assert steps(plan(rolling(1, least=0), [], NOW)) == (1, [])


@pytest.mark.parametrize(
    ("tasks", "stuck"),
    [
        pytest.param([old(1)], True, id="neither-may-stop-nor-start"),
        pytest.param([leaving(old(1))], False, id="one-is-on-its-way-out"),
        pytest.param([old(1), new(2, S.PENDING)], False, id="one-is-on-its-way-in"),
    ],
)
def test_bounds_that_allow_no_step(tasks: list[Task], stuck: bool) -> None:
    assert plan(rolling(1, 50, 150), tasks, NOW).stuck is stuck


# --- health -----------------------------------------------------------------------------------------------------

SICK, WELL = HealthStatus.UNHEALTHY, HealthStatus.HEALTHY


def test_with_health_checks_a_new_task_relieves_an_old_one_when_it_is_healthy() -> None:
    fresh = new(3)
    tasks = [with_health(old(1), WELL), fresh]
    service = rolling(1)
    assert steps(plan(service, tasks, NOW, checks=CHECKS)) == (0, [])
    assert not plan(service, tasks, NOW, checks=CHECKS).stuck
    assert steps(plan(service, [tasks[0], with_health(fresh, WELL)], NOW, checks=CHECKS)) == (0, [1])


def settled(desired: int, most: int = 200, **members: Any) -> Service:
    state = deployment(rollout_state=RolloutState.COMPLETED)
    return rolling(desired, 100 if most > 100 else 50, most, deployment=state, older=(), **members)


def test_an_unhealthy_task_gets_its_replacement_first() -> None:
    sick, well = with_health(new(1), SICK), with_health(new(2), WELL)
    planned = plan(settled(2), [sick, well], NOW, checks=CHECKS)
    assert (steps(planned), planned.sick) == ((1, []), ())
    replaced = plan(settled(2), [sick, well, with_health(new(3), WELL)], NOW, checks=CHECKS)
    assert (steps(replaced), ids(replaced.sick)) == ((0, []), [1])


def test_where_there_is_no_room_it_ends_first() -> None:
    sick, well = with_health(new(1), SICK), with_health(new(2), WELL)
    planned = plan(settled(2, most=100), [sick, well], NOW, checks=CHECKS)
    assert (steps(planned), ids(planned.sick)) == ((0, []), [1])


def test_in_its_grace_period_a_task_may_be_unhealthy() -> None:
    service = settled(1, health_check_grace_period_seconds=60)
    tasks = [with_health(new(1), SICK)]
    planned = plan(service, tasks, NOW + timedelta(seconds=59), checks=CHECKS)
    assert (planned.start, planned.sick, planned.until) == (0, (), NOW + timedelta(seconds=60))
    assert plan(service, tasks, NOW + timedelta(seconds=60), checks=CHECKS).start == 1


def test_health_on_a_machine_that_is_away_is_its_own_matter() -> None:
    away = {"a" * 32: Connection(connected=False, changed_at=NOW, session_ended_at=NOW)}
    planned = plan(settled(1), [with_health(new(1), SICK)], NOW, away, checks=CHECKS)
    assert (planned.start, planned.sick) == (0, ())


# --- the circuit breaker ----------------------------------------------------------------------------------------

BREAKER = CircuitBreaker(enable=True, rollback=True)


@pytest.mark.parametrize(
    ("desired", "breaker", "threshold"),
    [
        pytest.param(1, BREAKER, 3, id="at-least-three"),
        pytest.param(25, BREAKER, 13, id="half-rounded-up"),
        pytest.param(800, BREAKER, 200, id="at-most-two-hundred"),
        pytest.param(
            10, BREAKER.model_copy(update={"threshold_type": "COUNT", "threshold_value": 1}), 1, id="a-number"
        ),
        pytest.param(
            1000,
            BREAKER.model_copy(update={"threshold_type": "UNBOUNDED_PERCENT", "threshold_value": 90}),
            900,
            id="a-share-without-bounds",
        ),
    ],
)
def test_how_many_failures_are_enough(desired: int, breaker: CircuitBreaker, threshold: int) -> None:
    def tripped(failures: int) -> bool:
        service = rolling(desired, circuit_breaker=breaker, deployment=deployment(failed_tasks=failures - 1))
        return plan(service, [old(1), never_ran(9)], NOW).tripped

    assert [tripped(threshold - 1), tripped(threshold)] == [False, True]


def test_without_it_a_deployment_is_tried_for_ever() -> None:
    service = rolling(1, deployment=deployment(failed_tasks=1000))
    assert not plan(service, [old(1), never_ran(9)], NOW).tripped


def test_the_first_that_runs_ends_the_count_of_those_that_do_not() -> None:
    service = rolling(3, circuit_breaker=BREAKER, deployment=deployment(failed_tasks=2))
    planned = plan(service, [old(1), new(2)], NOW)
    assert (planned.deployment.failed_tasks, planned.deployment.has_run) == (0, True)
    later = service.model_copy(update={"deployment": planned.deployment})
    assert plan(later, [old(1), new(2), never_ran(8), never_ran(9)], NOW).deployment.failed_tasks == 0


def test_unless_it_is_said_that_it_does_not() -> None:
    breaker = BREAKER.model_copy(update={"reset_on_healthy_task": False})
    service = rolling(3, circuit_breaker=breaker, deployment=deployment(failed_tasks=2))
    planned = plan(service, [old(1), new(2), never_ran(9)], NOW)
    assert (planned.deployment.failed_tasks, planned.tripped) == (3, True)


def test_tasks_that_are_stopped_for_their_health_are_counted_to_the_end() -> None:
    service = rolling(1, circuit_breaker=BREAKER, deployment=deployment(failed_tasks=2, has_run=True))
    tasks = [with_health(old(1), WELL), with_health(new(2), SICK), with_health(new(3), WELL)]
    planned = plan(service, tasks, NOW, checks=CHECKS)
    assert (ids(planned.sick), planned.tripped) == ([2], False), "it is not stopped yet"
    after = service_after(service, planned, NOW, started={}, waiting_since={}, more=True)
    told = [tasks[0], leaving(tasks[1]), tasks[2]]
    assert (after.deployment.failed_tasks, plan(after, told, NOW, checks=CHECKS).tripped) == (3, True)


def test_an_end_soon_after_the_start_counts_if_the_tag_says_so() -> None:
    soon = new(
        2,
        S.STOPPED,
        desired_status=DesiredStatus.STOPPED,
        started_at=NOW - timedelta(seconds=30),
        stopped_at=NOW,
        stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED,
    )
    fresh = new(3, started_at=NOW)
    tagged = rolling(1, circuit_breaker=BREAKER, tags={"ecs-anywhere:circuit-breaker": "count-exits"})
    planned = plan(tagged, [soon, fresh], NOW)
    assert (planned.deployment.failed_tasks, planned.deployment.has_run, planned.steady) == (1, False, False)
    assert planned.until == NOW + timedelta(seconds=60), "it has run well once it has run for a minute"
    assert plan(tagged, [fresh], NOW + timedelta(seconds=60)).steady
    untagged = plan(rolling(1, circuit_breaker=BREAKER), [soon, fresh], NOW)
    assert (untagged.deployment.failed_tasks, untagged.steady) == (0, True)


def test_a_failed_deployment_starts_nothing_and_stops_nothing_that_is_wanted() -> None:
    service = rolling(2, deployment=deployment(rollout_state=RolloutState.FAILED))
    assert steps(plan(service, [old(1)], NOW)) == (0, [])
    assert steps(plan(service, [old(1), old(2)], NOW)) == (0, [])
    assert steps(plan(service, [old(1), old(2), new(3)], NOW)) == (0, [1])


@pytest.mark.parametrize(
    ("members", "stops"),
    [
        pytest.param({"desired_count": 1}, [1], id="scaled-in"),
        pytest.param({"status": ServiceStatus.DRAINING, "desired_count": 0}, [1, 2], id="deleted"),
    ],
)
def test_what_a_failed_deployment_has_left_is_no_more_than_is_wanted(members: dict[str, Any], stops: list[int]) -> None:
    service = rolling(2, deployment=deployment(rollout_state=RolloutState.FAILED)).model_copy(update=members)
    assert steps(plan(service, [old(1), old(2)], NOW)) == (0, stops)


def test_rolled_back_the_last_completed_deployment_goes_on_with_its_tasks() -> None:
    service = rolling(2, circuit_breaker=BREAKER)
    after = service.model_copy(update=after_failure(service, service.deployment, service.older, NOW))
    assert (after.deployment.deployment_id, after.task_definition) == (OLD, "web:1")
    assert after.deployment.rollout_reason == f"ECS deployment circuit breaker: rolling back to deploymentId {OLD}."
    assert [(each.deployment_id, each.rollout_state, each.rollout_reason) for each in after.older] == [
        (NEW, RolloutState.FAILED, FAILED)
    ]
    assert steps(plan(after, [old(1), old(2), new(3, S.PENDING)], NOW)) == (0, [3])


def test_rolled_back_it_has_the_tasks_that_it_still_has() -> None:
    """And not those that it had when it was COMPLETED."""
    service = rolling(2, completed=COMPLETED.model_copy(update={"running_count": 2}))
    one_left = COMPLETED.model_copy(update={"running_count": 1, "pending_count": 0})
    for older, counts in (((one_left,), (1, 0)), ((), (0, 0))):
        again = rolled_back(service.deployment, older, service.completed or COMPLETED, "back to {}", NOW)["deployment"]
        assert (again.running_count, again.pending_count) == counts


@pytest.mark.parametrize(
    ("members", "goes_back_to"),
    [
        pytest.param({"circuit_breaker": CircuitBreaker(enable=True, rollback=False)}, COMPLETED, id="not-asked-for"),
        pytest.param({"circuit_breaker": BREAKER, "completed": None}, None, id="nothing-to-go-back-to"),
        pytest.param({"circuit_breaker": BREAKER, "completed": deployment()}, None, id="the-return-itself-has-failed"),
    ],
)
def test_not_rolled_back_it_stays_and_has_failed(members: dict[str, Any], goes_back_to: Deployment | None) -> None:
    """`goes_back_to`: what the next one that fails goes back to."""
    service = rolling(2, **members)
    after = service.model_copy(update=after_failure(service, service.deployment, service.older, NOW))
    assert (after.deployment.rollout_state, after.older) == (RolloutState.FAILED, service.older)
    assert after.completed == goes_back_to


# --- protection -------------------------------------------------------------------------------------------------

LATER = NOW + timedelta(minutes=5)


def protected(task: Task) -> Task:
    return task.model_copy(update={"protected_until": LATER})


@pytest.mark.parametrize(
    ("tasks", "expected", "blocking"),
    [
        pytest.param([protected(new(1)), new(2), new(3)], [2], 0, id="another-one-goes"),
        pytest.param([protected(new(1)), protected(new(2)), new(3)], [3], 0, id="as-long-as-there-is-one"),
        pytest.param([protected(new(1)), protected(new(2)), protected(new(3))], [], 1, id="else-it-waits"),
    ],
)
def test_scaling_in_leaves_protected_tasks_alone(tasks: list[Task], expected: list[int], blocking: int) -> None:
    planned = plan(settled(2), tasks, NOW)
    assert (ids(planned.stop), planned.protected, planned.steady) == (expected, blocking, False)
    assert planned.until == (LATER if blocking else None)


def test_a_deployment_waits_for_the_end_of_protection() -> None:
    tasks = [protected(old(1)), old(2)]
    assert steps(plan(rolling(2), tasks, NOW)) == (2, [])
    tasks += [new(3), new(4)]
    assert steps(plan(rolling(2), tasks, NOW)) == (0, [2])
    waiting = plan(rolling(2), [tasks[0], *tasks[2:]], NOW)
    assert (steps(waiting), waiting.protected, waiting.stuck, waiting.steady) == ((0, []), 1, False, False)
    assert waiting.until == LATER
    assert steps(plan(rolling(2), [tasks[0], *tasks[2:]], LATER)) == (0, [1])


def test_an_instance_is_not_emptied_of_protected_tasks() -> None:
    """Another one starts in time, and none has to go in its stead."""
    draining = {"d" * 32: Connection(connected=True, draining=True)}
    tasks = [protected(new(1, instance_id="d" * 32)), new(2)]
    assert steps(plan(settled(2), tasks, NOW, draining)) == (1, [])
    tasks.append(new(3))
    waiting = plan(settled(2), tasks, NOW, draining)
    assert (steps(waiting), waiting.protected, waiting.until) == ((0, []), 1, LATER)
    assert steps(plan(settled(2), tasks, LATER, draining)) == (0, [1])


def test_health_and_the_end_of_a_service_go_before_protection() -> None:
    sick = protected(with_health(new(1), SICK))
    assert plan(settled(1, most=100), [sick], NOW, checks=CHECKS).sick == (sick,)
    ending = settled(1, status=ServiceStatus.DRAINING)
    assert ids(plan(ending, [protected(new(1))], NOW).stop) == [1]
