"""What becomes of a service deployment as the deployments of its service go on. Pure.

Whoever writes the service writes the record of its service deployment in the same transaction, whenever its status
changes: the service's lock guards both. So the newest record and the service tell one story, wherever a function dies.
"""

from datetime import datetime
from typing import Any

from control_plane.domain.scheduling.rollout import rolled_back, threshold
from control_plane.domain.service import Deployment, RolloutState, Service, counts_of, deployment_of
from control_plane.domain.service_deployment import (
    Rollback,
    ServiceDeployment,
    ServiceDeploymentStatus,
    revision_of,
)
from control_plane.domain.service_description import configuration_in_the_api, rollout_reason

S = ServiceDeploymentStatus

REPLACED = "Service deployment stopped because a new service deployment started."
STOPPED_BY_USER = "ECS deployment stopped by StopServiceDeployment."
ROLLING_BACK = "ECS deployment stopped: rolling back to deploymentId {}."


def begun(service: Service, before: Service | None, now: datetime) -> ServiceDeployment:
    """Of the service whose PRIMARY deployment is new; `before`: as it was until then, if it was there."""
    deployment = service.deployment
    sources = () if before is None else (before.deployment, *before.older)
    return ServiceDeployment(
        target=counts_of(service, revision_of(deployment.deployment_id)),
        task_definition=deployment.task_definition,
        capacity_provider_strategy=deployment.capacity_provider_strategy or (),
        sources=tuple(counts_of(service, revision_of(each.deployment_id)) for each in sources),
        **_how(service),
        created_at=now,
        updated_at=now,
    )


def replaced(service: Service, now: datetime) -> ServiceDeployment | None:
    """The one on its way, as it ends since another one begins; None if there is none."""
    current = live(service)
    if current is None or current.status.ended:
        return None
    return _ended(current, S.STOPPED, REPLACED, now)


def followed(before: Service, after: Service, *, tripped: bool, now: datetime) -> ServiceDeployment | None:
    """The service deployment, once the scheduler has brought the service from `before` to `after`."""
    newest = live(after)
    if newest is None or newest.status.ended:
        return before.service_deployment
    current = newest.model_copy(update={"started_at": newest.started_at or now})
    status, state, reason = current.status, after.deployment.rollout_state, rollout_reason(after.deployment)
    if tripped:
        current = current.model_copy(update={"tripped": True})
    if tripped and state is RolloutState.IN_PROGRESS:
        return _turned(current, S.ROLLBACK_IN_PROGRESS, reason, after.deployment, now)
    if state is RolloutState.FAILED:
        return _ended(current, S.ROLLBACK_FAILED if status.rolls_back else S.STOPPED, reason, now)
    if state is RolloutState.COMPLETED:
        rolled = current.rollback.reason if current.rollback else None
        return _ended(current, S.ROLLBACK_SUCCESSFUL if status.rolls_back else S.SUCCESSFUL, rolled, now)
    if status is S.PENDING:
        return current.model_copy(update={"status": S.IN_PROGRESS, "updated_at": now})
    if status is S.ROLLBACK_REQUESTED:
        return current.model_copy(update={"status": S.ROLLBACK_IN_PROGRESS, "updated_at": now})
    return before.service_deployment


def stopped(service: Service, current: ServiceDeployment, former: Deployment, now: datetime) -> dict[str, Any]:
    """The members of the service once its deployment on its way is to be rolled back to the `former` one."""
    failed = service.deployment.model_copy(
        update={"rollout_state": RolloutState.FAILED, "rollout_reason": STOPPED_BY_USER, "updated_at": now}
    )
    members = rolled_back(failed, service.older, former, ROLLING_BACK, now)
    again: Deployment = members["deployment"]
    return {
        **members,
        "service_deployment": _turned(current, S.ROLLBACK_REQUESTED, rollout_reason(again), again, now),
    }


def live(service: Service) -> ServiceDeployment | None:
    """The newest service deployment; while it is on its way, with what is true now: UpdateService may change it."""
    current = service.service_deployment
    if current is None or current.status.ended:
        return current
    deployment = deployment_of(service, current.revision_id)
    failures = current.failure_count if deployment is None else deployment.failed_tasks
    return current.model_copy(
        update={
            "target": counts_of(service, current.revision_id),
            "sources": tuple(counts_of(service, each.revision_id) for each in current.sources),
            "failure_count": failures,
            **_how(service),
        }
    )


def _how(service: Service) -> dict[str, Any]:
    """The members that say how it goes."""
    breaker = service.deployment_configuration.circuit_breaker
    return {
        "configuration": configuration_in_the_api(service.deployment_configuration),
        "circuit_breaker": breaker is not None and breaker.enable,
        "threshold": threshold(service),
    }


def _turned(
    current: ServiceDeployment, status: ServiceDeploymentStatus, reason: str, again: Deployment, now: datetime
) -> ServiceDeployment:
    """On its way back to the revision of the deployment that is PRIMARY `again`."""
    return current.model_copy(
        update={
            "status": status,
            "status_reason": reason,
            "rollback": Rollback(reason=reason, started_at=now, revision_id=revision_of(again.deployment_id)),
            "updated_at": now,
        }
    )


def _ended(
    current: ServiceDeployment, status: ServiceDeploymentStatus, reason: str | None, now: datetime
) -> ServiceDeployment:
    return current.model_copy(
        update={
            "status": status,
            "status_reason": reason,
            "finished_at": now,
            "stopped_at": now if status is S.STOPPED else None,
            "updated_at": now,
        }
    )
