"""What becomes of a service once a step of its plan is committed: its deployments, and when to look again. Pure."""

from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.scheduling.plan import ServicePlan
from control_plane.domain.scheduling.rollout import after_failure
from control_plane.domain.service import RolloutState, Service, ServiceStatus

LOOK_AGAIN = timedelta(seconds=30)
"""After which a service that could not place all its tasks is looked at again: FIRST_GAP of domain/reminders.py."""

LONGEST_LOOK = timedelta(minutes=15)
"""Between two such looks: whoever frees capacity says so, and these are for what gets lost."""

LOOK_ANYWAY = timedelta(hours=1)
"""After which a service that wants nothing is looked at, in case that nobody said so when it began to."""


def deployments_after(
    service: Service, planned: ServicePlan, now: datetime, *, started: int, short: bool, steady: bool
) -> dict[str, Any]:
    """What becomes of the service's deployments. `short`: not all that was wanted could be placed."""
    deployment = planned.deployment.model_copy(
        update={"pending_count": (planned.deployment.pending_count or 0) + started}
    )
    # A task that cannot be placed is a failure of its deployment, once each time that this is tried by the clock.
    if short and (not service.short or service.look_at is None or service.look_at <= now):
        deployment = deployment.model_copy(update={"failed_tasks": deployment.failed_tasks + 1})
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


def next_look(service: Service, planned: ServicePlan, now: datetime, *, soon: bool) -> datetime | None:
    """A time that still lies ahead stays, so that a run with nothing to do writes nothing."""
    if planned.status is ServiceStatus.INACTIVE:
        return None
    if planned.not_before is not None:
        return planned.not_before
    latest = now + (_look_again(service, now) if soon or planned.held else LOOK_ANYWAY)
    if planned.until is not None and planned.until < latest:
        return planned.until
    ahead = service.planned and service.look_at is not None and now < service.look_at <= latest
    return service.look_at if ahead else latest


def _look_again(service: Service, now: datetime) -> timedelta:
    """The longer, the longer it waits for capacity. A circuit breaker counts by the clock, and needs it even."""
    breaker = service.deployment_configuration.circuit_breaker
    counts = breaker is not None and breaker.enable and service.deployment.rollout_state is RolloutState.IN_PROGRESS
    if service.waiting_since is None or counts:
        return LOOK_AGAIN
    return min(LONGEST_LOOK, max(LOOK_AGAIN, now - service.waiting_since))
