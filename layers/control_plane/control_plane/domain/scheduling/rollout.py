"""What a deployment may do at once, which tasks are well, and when a deployment has failed. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.health import task_health
from control_plane.domain.service import CircuitBreaker, Deployment, RolloutState, Service
from control_plane.domain.tags import counts_exits
from control_plane.domain.task import Task
from ecs_protocol.statuses import HealthStatus, StopCode, TaskStatus

SOON = timedelta(seconds=60)
"""With the tag ecs-anywhere:circuit-breaker=count-exits, a task that ends by itself before that has failed."""


@dataclass(frozen=True)
class Bounds:
    """How many tasks may be RUNNING or PENDING at most, and how many must stay healthy."""

    most: int
    least: int


def bounds(service: Service, wanted: int) -> Bounds:
    """Percentages of what is wanted: the upper one rounded down, the lower one up."""
    configuration = service.deployment_configuration
    return Bounds(
        most=wanted * configuration.maximum_percent // 100,
        least=-(-wanted * configuration.minimum_healthy_percent // 100),
    )


Checks = Mapping[str, frozenset[str]]
"""By task definition, the names of the containers whose health is checked (health.py)."""


def is_healthy(task: Task, checks: Checks) -> bool:
    """RUNNING and, with health checks, HEALTHY."""
    checked = checks.get(task.task_definition, frozenset())
    if task.last_status is not TaskStatus.RUNNING:
        return False
    return not checked or task_health(task, checked) is HealthStatus.HEALTHY


def unhealthy_at(service: Service, task: Task, checks: Checks) -> datetime | None:
    """Since when an UNHEALTHY task is to be replaced, which may lie ahead: in its grace period it is let be."""
    health = task_health(task, checks.get(task.task_definition, frozenset()))
    if task.last_status is not TaskStatus.RUNNING or health is not HealthStatus.UNHEALTHY:
        return None
    grace = timedelta(seconds=min(service.health_check_grace_period_seconds or 0, 10**9))
    return (task.started_at or task.created_at) + grace


def failed_to_start(task: Task) -> bool:
    """Whether a task that has stopped never ran, though nobody wanted it to stop."""
    asked_for = task.stop_code in {StopCode.USER_INITIATED, StopCode.SERVICE_SCHEDULER_INITIATED}
    return task.started_at is None and not asked_for


def proved_at(service: Service, task: Task) -> datetime | None:
    """When a task that runs well counts as a success of its deployment, which may lie ahead."""
    if task.started_at is None:
        return None
    return task.started_at + (SOON if counts_exits(service.tags) else timedelta())


def had_run_well(service: Service, task: Task, checks: Checks) -> bool:
    """Whether a task that has stopped was a success before. Of one whose health is checked nobody can say any more."""
    at = proved_at(service, task)
    return at is not None and at <= (task.stopped_at or task.updated_at) and not checks.get(task.task_definition)


@dataclass(frozen=True)
class Progress:
    """What became of the PRIMARY deployment."""

    failed_tasks: int
    has_run: bool
    tripped: bool
    """The circuit breaker has had enough."""


def progress(service: Service, ended: Iterable[Task], well: Iterable[Task], sick: int, now: datetime) -> Progress:
    """`ended`: its tasks that have stopped since it was last looked at; `well`: those that run, and are healthy if that
    is checked, or did so until they stopped; `sick`: how many are now stopped for their health.

    The first task that runs well ends the count of those that did not start; health is judged to the end.
    """
    deployment, breaker = service.deployment, service.deployment_configuration.circuit_breaker
    resets = breaker is None or breaker.reset_on_healthy_task is not False
    proved = any((at := proved_at(service, task)) is not None and at <= now for task in well)
    has_run = deployment.has_run or (proved and resets)
    failed = 0 if has_run and not deployment.has_run else deployment.failed_tasks
    failed += sick
    if not has_run:
        failed += sum(failed_to_start(task) or _ended_soon(service, task) for task in ended)
    tripped = deployment.rollout_state is RolloutState.IN_PROGRESS and _is_enough(breaker, failed, service)
    return Progress(failed, has_run, tripped)


def _ended_soon(service: Service, task: Task) -> bool:
    if not counts_exits(service.tags) or task.stop_code is not StopCode.ESSENTIAL_CONTAINER_EXITED:
        return False
    return task.started_at is not None and (task.stopped_at or task.updated_at) - task.started_at < SOON


def _is_enough(breaker: CircuitBreaker | None, failed: int, service: Service) -> bool:
    return breaker is not None and breaker.enable and failed >= threshold(service)


def threshold(service: Service) -> int:
    """How many failures are too many for the circuit breaker, should it be enabled."""
    breaker = service.deployment_configuration.circuit_breaker
    value = 50 if breaker is None or breaker.threshold_value is None else breaker.threshold_value
    kind = None if breaker is None else breaker.threshold_type
    if kind == "COUNT":
        return max(value, 1)
    share = -(-service.desired_count * value // 100)
    if kind == "UNBOUNDED_PERCENT":
        return max(share, 1)
    return min(max(share, 3), 200)


FAILED = "ECS deployment circuit breaker: tasks failed to start."
ROLLING_BACK = "ECS deployment circuit breaker: rolling back to deploymentId {}."


def after_failure(service: Service, failed: Deployment, older: tuple[Deployment, ...], now: datetime) -> dict[str, Any]:
    """The members of the service, once the circuit breaker has had enough of its PRIMARY deployment.

    A failed return is not rolled back again, nor is any later deployment to it: on Amazon ECS, too, only to what is
    COMPLETED.
    """
    breaker, former = service.deployment_configuration.circuit_breaker, service.completed
    failed = failed.model_copy(
        update={"rollout_state": RolloutState.FAILED, "rollout_reason": FAILED, "updated_at": now}
    )
    if former is not None and former.deployment_id == failed.deployment_id:
        return {"deployment": failed, "older": older, "completed": None}
    if breaker is None or not breaker.rollback or former is None:
        return {"deployment": failed, "older": older}
    return rolled_back(failed, older, former, ROLLING_BACK, now)


def rolled_back(
    failed: Deployment, older: tuple[Deployment, ...], former: Deployment, reason: str, now: datetime
) -> dict[str, Any]:
    """The last completed deployment is PRIMARY again, and its tasks that still run are its tasks."""
    there = next((each for each in older if each.deployment_id == former.deployment_id), None)
    again = former.model_copy(
        update={
            "running_count": there.running_count if there else 0,
            "pending_count": there.pending_count if there else 0,
            "rollout_state": RolloutState.IN_PROGRESS,
            "rollout_reason": reason.format(former.deployment_id),
            "updated_at": now,
            "failed_tasks": 0,
            "has_run": False,
        }
    )
    others = tuple(each for each in older if each.deployment_id != again.deployment_id)
    return {
        "deployment": again,
        "older": (failed, *others),
        "task_definition": again.task_definition,
        "capacity_provider_strategy": again.capacity_provider_strategy or (),
    }
