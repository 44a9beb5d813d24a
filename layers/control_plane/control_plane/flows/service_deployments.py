"""ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions, StopServiceDeployment.

What ended is told by its record; what is on its way by the service, which knows the counts. With the service goes its
history: who has deleted it finds nothing of it any more.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServiceDeployments.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceDeployments.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopServiceDeployment.html
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.arns import require_of_service
from control_plane.domain.errors import (
    ConflictException,
    EcsError,
    ServiceDeploymentNotFoundException,
    ServiceNotFoundException,
)
from control_plane.domain.pages import Paging
from control_plane.domain.reminders import watching_service
from control_plane.domain.scheduling import service_events
from control_plane.domain.scheduling.history import live, stopped
from control_plane.domain.service import Service, ServiceStatus
from control_plane.domain.service_deployment import ServiceDeployment, revision_of
from control_plane.domain.service_deployment_description import (
    describe_in_brief,
    describe_service_deployment,
    describe_service_revision,
)
from control_plane.flows.again import until_answered
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.services import FIRST_LOOK
from control_plane.runtime import ControlPlane
from control_plane.store import reminders, service_deployments, services

PAGE = 20


def list_service_deployments(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {serviceDeployments, nextToken}, the newest first; 20 a page unless the request says otherwise."""
    cluster = require_cluster(cp, request.get("cluster"))
    service = _active(cp, cluster.name, identifier(request["service"], cluster))
    if service is None:
        raise ServiceNotFoundException("Service not found.")
    found = {
        each.revision_id: each
        for each in _up_to_date(service, service_deployments.of_service(cp.table, service, cp.clock()))
        if _fits(each, request)
    }
    paging = Paging(cp.token_key, "ListServiceDeployments", request, at_most=PAGE)
    page, more = paging.page_of(list(found), descending=True)
    return {"serviceDeployments": [describe_in_brief(found[each], service, cp.arns) for each in page], **more}


def describe_service_deployments(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {serviceDeployments, failures}; what is not there, or is older than 90 days, is a failure MISSING."""
    described, failures = [], []
    for arn in dict.fromkeys(request["serviceDeploymentArns"]):
        service, revision_id = _named(cp, arn, "service-deployment")
        found = service and service_deployments.load(cp.table, service, revision_id, cp.clock())
        if service and found:
            [deployment] = _up_to_date(service, [found])
            described.append(describe_service_deployment(deployment, service, cp.arns))
        else:
            failures.append({"arn": arn, "reason": "MISSING"})
    return {"serviceDeployments": described, "failures": failures}


def describe_service_revisions(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {serviceRevisions, failures}. One that the service may go back to outlives its record."""
    described, failures = [], []
    for arn in dict.fromkeys(request["serviceRevisionArns"]):
        service, revision_id = _named(cp, arn, "service-revision")
        found = service and _revision(cp, service, revision_id)
        if found:
            described.append(found)
        else:
            failures.append({"arn": arn, "reason": "MISSING"})
    return {"serviceRevisions": described, "failures": failures}


def stop_service_deployment(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {serviceDeploymentArn}. The last completed deployment is PRIMARY again, whatever the circuit breaker
    would do; the scheduler makes it so. One that is on its way back already stays so."""
    arn = request["serviceDeploymentArn"]
    cluster, name, revision_id = require_of_service(arn, "service-deployment", cp.arns)

    def decide_and_commit(_attempt: int) -> None:
        now = cp.clock()
        service = _active(cp, cluster, name)
        current = None if service is None else live(service)
        if service is None or current is None or current.revision_id != revision_id:
            raise _not_on_its_way(cp, service, revision_id, now)
        if current.status.rolls_back:
            return
        if current.status.ended:
            raise _not_on_its_way(cp, service, revision_id, now)
        if service.completed is None:
            raise ConflictException(
                "There is no service revision to roll back to: no earlier deployment has completed."
            )
        after = service.model_copy(
            update={
                **stopped(service, current, service.completed, now),
                "failed_starts": 0,
                "not_before": None,
                "stuck": False,
                "short": False,
                "steady": False,
                "planned": False,
                "look_at": now + FIRST_LOOK,
            }
        )
        events = service_events.of_deployments(service, after, now=now, new_id=cp.new_id)
        reminders.remind(cp.table, [watching_service(cluster, name, now + FIRST_LOOK)])
        cp.table.commit(
            [
                services.changed(service, after),
                *service_deployments.recorded(after, after.service_deployment),
                *map(services.told, service_events.in_order(events)),
            ]
        )

    until_answered(cp, decide_and_commit, what="service deployment")
    return {"serviceDeploymentArn": arn}


def _active(cp: ControlPlane, cluster: str, name: str) -> Service | None:
    service = services.load(cp.table, cluster, name)
    return service if service is not None and service.status is ServiceStatus.ACTIVE else None


def _named(cp: ControlPlane, arn: str, kind: str) -> tuple[Service | None, str]:
    """The service of what an ARN names, and its id. Raises InvalidParameterException."""
    cluster, name, revision_id = require_of_service(arn, kind, cp.arns)
    return _active(cp, cluster, name), revision_id


def _up_to_date(service: Service, recorded: Iterable[ServiceDeployment]) -> list[ServiceDeployment]:
    newest = live(service)
    return [newest if newest and newest.revision_id == each.revision_id else each for each in recorded]


def _fits(deployment: ServiceDeployment, request: Mapping[str, Any]) -> bool:
    statuses, created = request.get("status"), request.get("createdAt", {})
    if statuses and str(deployment.status) not in statuses:
        return False
    before, after = created.get("before"), created.get("after")
    return (before is None or deployment.created_at < before) and (after is None or deployment.created_at > after)


def _revision(cp: ControlPlane, service: Service, revision_id: str) -> dict[str, Any] | None:
    """Of the service's own deployments, or of what is on record."""
    own = [each for each in (service.deployment, *service.older, service.completed) if each is not None]
    found = next((each for each in own if revision_of(each.deployment_id) == revision_id), None)
    known = found or service_deployments.load(cp.table, service, revision_id, cp.clock())
    definition = None if known is None else cp.definitions.get(known.task_definition)
    if known is None or definition is None:
        return None
    return describe_service_revision(
        revision_id,
        service,
        definition,
        cp.arns,
        strategy=known.capacity_provider_strategy or (),
        created_at=known.created_at,
    )


def _not_on_its_way(cp: ControlPlane, service: Service | None, revision_id: str, now: datetime) -> EcsError:
    if service is None or service_deployments.load(cp.table, service, revision_id, now) is None:
        return ServiceDeploymentNotFoundException("The specified service deployment was not found.")
    return ConflictException("The service deployment has ended already, and cannot be stopped.")
