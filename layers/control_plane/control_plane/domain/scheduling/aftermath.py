"""What becomes of a service once a step of its plan is committed: its counts, its deployments or task sets, and when to
look again. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.scheduling.history import followed
from control_plane.domain.scheduling.plan import ServicePlan
from control_plane.domain.scheduling.rollout import after_failure
from control_plane.domain.scheduling.task_sets import TaskSetsPlan, task_sets_after
from control_plane.domain.service import RolloutState, Service, ServiceStatus

LOOK_AGAIN = timedelta(seconds=30)
"""After which a service that could not place all its tasks is looked at again: FIRST_GAP of domain/reminders.py."""

LONGEST_LOOK = timedelta(minutes=15)
"""Between two such looks: whoever frees capacity says so, and these are for what gets lost."""

LOOK_ANYWAY = timedelta(hours=1)
"""After which a service that wants nothing is looked at, in case that nobody said so when it began to."""


def service_after(
    service: Service,
    planned: ServicePlan,
    now: datetime,
    *,
    started: Mapping[str, int],
    waiting_since: Mapping[str, datetime | None],
    more: bool,
) -> Service:
    """`planned`: its `sick` tasks are those that are told to stop now; `started`: tasks, by deployment or task set;
    `waiting_since`: of those that were tried, since when they wait for capacity; `more`: there is more to do now."""
    steady = planned.steady and not more and service.status is ServiceStatus.ACTIVE
    waits = [since for since in waiting_since.values() if since is not None]
    after = service.model_copy(
        update={
            "status": service.status if more else planned.status,
            "away_count": planned.away,
            "missed_count": planned.missed,
            "held_count": planned.held,
            "running_count": planned.running,
            "pending_count": planned.pending + sum(started.values()),
            "steady": steady,
            "planned": True,
            "failed_starts": planned.failed_starts,
            "not_before": planned.not_before,
            "short": bool(waits),
            "waiting_since": min(waits, default=None),
            "stuck": planned.stuck,
            "protected_count": planned.protected or None,
            "look_at": _next_look(service, planned, now, soon=bool(waits) or more),
        }
    )
    if isinstance(planned, TaskSetsPlan):
        sets = task_sets_after(planned, now, started=started, waiting_since=waiting_since, more=more)
        return after.model_copy(update={"task_sets": sets})
    deployments = _deployments_after(
        service, planned, now, started=sum(started.values()), short=bool(waits), steady=steady
    )
    after = after.model_copy(update=deployments)
    newest = followed(service, after, tripped=planned.tripped, now=now)
    return after.model_copy(update={"service_deployment": newest})


def _deployments_after(
    service: Service, planned: ServicePlan, now: datetime, *, started: int, short: bool, steady: bool
) -> dict[str, Any]:
    """What becomes of the service's deployments. `short`: not all that was wanted could be placed."""
    # A task that cannot be placed is a failure of its deployment, once each time that this is tried by the clock, and
    # until the first one runs.
    tried = short and (not service.short or service.look_at is None or service.look_at <= now)
    unplaced = tried and not planned.deployment.has_run
    deployment = planned.deployment.model_copy(
        update={
            "pending_count": (planned.deployment.pending_count or 0) + started,
            "failed_tasks": planned.deployment.failed_tasks + len(planned.sick) + unplaced,
        }
    )
    if planned.tripped:
        # Nothing of the failed deployment holds up what comes after it.
        return {
            **after_failure(service, planned.deployment, planned.older, now),
            "failed_starts": 0,
            "not_before": None,
        }
    found = {"older": planned.older, "deployment": deployment}
    if steady and deployment.rollout_state is RolloutState.IN_PROGRESS:
        completed = deployment.model_copy(
            update={"rollout_state": RolloutState.COMPLETED, "rollout_reason": None, "updated_at": now}
        )
        found |= {"deployment": completed, "completed": completed}
    return found


def _next_look(service: Service, planned: ServicePlan, now: datetime, *, soon: bool) -> datetime | None:
    """A time that still lies ahead stays, so that a run with nothing to do writes nothing."""
    if planned.status is ServiceStatus.INACTIVE:
        return None
    usual = now + (_look_again(service, planned, now) if soon or planned.held else LOOK_ANYWAY)
    latest = planned.not_before or usual
    if planned.until is not None and planned.until < latest:
        return planned.until
    if planned.not_before is not None:
        return latest
    ahead = service.planned and service.look_at is not None and now < service.look_at <= latest
    return service.look_at if ahead else latest


def _look_again(service: Service, planned: ServicePlan, now: datetime) -> timedelta:
    """The longer, the longer it waits for capacity. A circuit breaker counts by the clock, and needs it even."""
    breaker = service.deployment_configuration.circuit_breaker
    watched = service.deployment.rollout_state is RolloutState.IN_PROGRESS and not planned.deployment.has_run
    counts = breaker is not None and breaker.enable and watched
    if service.waiting_since is None or counts:
        return LOOK_AGAIN
    return min(LONGEST_LOOK, max(LOOK_AGAIN, now - service.waiting_since))
