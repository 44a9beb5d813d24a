"""CreateService, UpdateService, DescribeServices, ListServices, DeleteService: they say what is wanted.

The scheduler learns of it from the table's stream and makes it so (flows/schedule_service.py).

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.capacity_provider import checked_strategy, strategy_of
from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.description import describe_service
from control_plane.domain.errors import (
    ClientException,
    ClusterNotFoundException,
    InvalidParameterException,
    ServerException,
    ServiceNotActiveException,
    ServiceNotFoundException,
)
from control_plane.domain.pages import page_of
from control_plane.domain.placement.rules import as_stored, parse_constraints, parse_strategy
from control_plane.domain.races import LostRace
from control_plane.domain.reminders import watching_service
from control_plane.domain.service import Deployment, RolloutState, Service, ServiceEvent, ServiceStatus
from control_plane.domain.tags import absence_of, checked, managed, restarts_offline
from control_plane.flows.again import until_won
from control_plane.flows.delete_cluster import open_if_left_closed
from control_plane.flows.lookup import definition_name, identifier, require_cluster, require_task_definition
from control_plane.flows.run_task import require_external
from control_plane.flows.tasks_to_be import tags_of_definition
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, reminders, services

TASKS_FOR_EACH_SHARD = 100
MAX_SHARDS = 8
FIRST_LOOK = timedelta(seconds=30)
"""After which the sweeper brings a changed service to the scheduler, should the stream not have."""


def create_service(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {service}. The same request with the same client token is answered with the service as it is."""
    cluster = require_cluster(cp, request.get("cluster"))
    name = request["serviceName"]
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise InvalidParameterException(
            "The specified service name is invalid: up to 255 letters (uppercase and lowercase), numbers, underscores, "
            "and hyphens are allowed."
        )
    if "taskDefinition" not in request:
        raise InvalidParameterException("TaskDefinition can not be blank.")
    definition = require_task_definition(cp, request["taskDefinition"])
    if definition["status"] != "ACTIVE":
        raise ClientException("TaskDefinition is inactive")
    require_external(definition)
    constraints, placement_strategy = request.get("placementConstraints", ()), request.get("placementStrategy", ())
    parse_constraints(constraints, definition.get("placementConstraints", ()))
    parse_strategy(placement_strategy)
    tags = checked(request.get("tags", ()))
    propagate = request.get("propagateTags")
    absence_of(tags)
    restarts_offline(tags, by_default=True)
    strategy = strategy_of(request, cluster.capacity_providers, cluster.default_capacity_provider_strategy)

    def decide_and_commit(attempt: int) -> Service:
        target = cluster if attempt == 0 else _cluster_to_put_into(cp, cluster.name)
        existing = services.load(cp.table, cluster.name, name)
        token = request.get("clientToken")
        if existing and existing.status is not ServiceStatus.INACTIVE:
            if token and existing.client_token == token:
                return existing
            if existing.status is ServiceStatus.DRAINING:
                raise InvalidParameterException("Unable to Start a service that is still Draining.")
            raise InvalidParameterException("Creation of service was not idempotent.")
        now = cp.clock()
        desired = request.get("desiredCount", 0)
        deployment = Deployment(
            deployment_id=f"ecs-svc/{int(cp.new_id()[:15], 16):019d}",
            task_definition=definition_name(definition),
            capacity_provider_strategy=strategy or None,
            created_at=now,
            updated_at=now,
        )
        service = Service(
            name=name,
            cluster=cluster.name,
            desired_count=desired,
            task_definition=definition_name(definition),
            deployment=deployment,
            client_token=token,
            tags=tags,
            propagate_tags=None if propagate == "NONE" else propagate,
            placement_constraints=tuple(constraints),
            placement_strategy=as_stored(placement_strategy),
            managed_tags=request.get("enableECSManagedTags") or None,
            capacity_provider_strategy=strategy,
            created_at=now,
            updated_at=now,
            lock=existing.lock + 1 if existing else 1,
            shards=max(shards_for(desired), existing.shards if existing else 1),
            look_at=now + FIRST_LOOK,
        )
        reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
        cp.table.commit(
            [
                services.created(service, existing),
                services.told(_deployment_began(cp, service)),
                clusters.open_for(target),
            ]
        )
        return service

    return {"service": describe_service(_until_won(cp, decide_and_commit), cp.arns, events=(), with_tags=True)}


def update_service(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {service}. The same request again wakes the scheduler, too.

    How tasks are placed and started and which tags they get holds for those that are started afterwards: that is no new
    deployment.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    name = identifier(request["service"], cluster)

    def decide_and_commit(_attempt: int) -> Service:
        service = _require(cp, cluster.name, name)
        if service.status is not ServiceStatus.ACTIVE:
            raise ServiceNotActiveException("Service was not ACTIVE.")
        desired = request.get("desiredCount", service.desired_count)
        constraints, strategy = _placement(cp, service, request)
        now = cp.clock()
        after = service.model_copy(
            update={
                **_changes(request, service, cluster),
                "desired_count": desired,
                "placement_constraints": constraints,
                "placement_strategy": strategy,
                "updated_at": now,
                "steady": False,
                "planned": False,
                "look_at": now + FIRST_LOOK,
                "shards": max(service.shards, shards_for(desired)),
            }
        )
        reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
        cp.table.commit([services.changed(service, after)])
        return after

    service = _until_won(cp, decide_and_commit)
    return {"service": describe_service(service, cp.arns, events=_events(cp, service))}


def _changes(request: Mapping[str, Any], service: Service, cluster: Cluster) -> dict[str, Any]:
    """What the request says of the tasks to be started. An empty strategy goes back to the launch type."""
    changes: dict[str, Any] = {}
    if "capacityProviderStrategy" in request:
        strategy = checked_strategy(request["capacityProviderStrategy"], cluster.capacity_providers)
        changes["capacity_provider_strategy"] = strategy
        changes["deployment"] = service.deployment.model_copy(update={"capacity_provider_strategy": strategy or None})
    if "propagateTags" in request:
        changes["propagate_tags"] = None if request["propagateTags"] == "NONE" else request["propagateTags"]
    if "enableECSManagedTags" in request:
        changes["managed_tags"] = request["enableECSManagedTags"] or None
    return changes


def _placement(
    cp: ControlPlane, service: Service, request: Mapping[str, Any]
) -> tuple[tuple[dict[str, str], ...], tuple[dict[str, str], ...]]:
    """Constraints and strategies once a request has been heeded; an empty list, or an empty strategy, removes them.

    Raises InvalidParameterException.
    """
    constraints = tuple(request.get("placementConstraints", service.placement_constraints))
    strategy = tuple(each for each in request.get("placementStrategy", service.placement_strategy) if each)
    if constraints != service.placement_constraints or strategy != service.placement_strategy:
        definition = require_task_definition(cp, service.task_definition)
        parse_constraints(constraints, definition.get("placementConstraints", ()))
        parse_strategy(strategy)
    return constraints, as_stored(strategy)


def delete_service(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {service}, DRAINING. Without `force` it must have been scaled to 0."""
    cluster = require_cluster(cp, request.get("cluster"))
    name = identifier(request["service"], cluster)

    def decide_and_commit(_attempt: int) -> Service:
        service = _require(cp, cluster.name, name)
        if service.status is not ServiceStatus.ACTIVE:
            return service
        if service.desired_count > 0 and not request.get("force"):
            raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
        now = cp.clock()
        after = service.model_copy(
            update={
                "status": ServiceStatus.DRAINING,
                "desired_count": 0,
                "updated_at": now,
                "steady": False,
                "planned": False,
                "look_at": now + FIRST_LOOK,
            }
        )
        reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
        cp.table.commit([services.changed(service, after)])
        return after

    return {"service": describe_service(_until_won(cp, decide_and_commit), cp.arns, events=())}


def describe_services(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {services, failures}."""
    cluster = require_cluster(cp, request.get("cluster"))
    names = {name: identifier(name, cluster) for name in request["services"]}
    loaded = {name: services.load(cp.table, cluster.name, each) for name, each in names.items()}
    found = {name: service if service and _is_of(cluster, service) else None for name, service in loaded.items()}
    return {
        "services": [
            describe_service(
                service,
                cp.arns,
                events=_events(cp, service),
                with_tags="TAGS" in request.get("include", ()),
            )
            for service in found.values()
            if service
        ],
        "failures": [
            {"arn": cp.arns.service(cluster.name, names[name]), "reason": "MISSING"}
            for name, service in found.items()
            if service is None
        ],
    }


def _is_of(cluster: Cluster, service: Service) -> bool:
    """And not of a former cluster of that name."""
    return service.status is not ServiceStatus.INACTIVE or cluster.began_before(service.updated_at)


def list_services(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {serviceArns, nextToken}; 10 a page unless the request says otherwise."""
    cluster = require_cluster(cp, request.get("cluster"))
    wanted = {"launchType": "EXTERNAL", "schedulingStrategy": "REPLICA"}
    none_fits = any(request.get(name) not in {None, value} for name, value in wanted.items())
    names = [
        service.name
        for service in services.of_cluster(cp.table, cluster.name)
        if service.status is not ServiceStatus.INACTIVE and not none_fits
    ]
    page, token = page_of(names, request.get("nextToken"), request.get("maxResults", 10))
    arns = [cp.arns.service(cluster.name, resource_name(name)) for name in page]
    return {"serviceArns": arns, **({"nextToken": token} if token else {})}


def tags_of_tasks(service: Service, definition: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The tags that say what an absence means for its tasks, and those that they get."""
    of_definition = tags_of_definition(definition) if service.propagate_tags == "TASK_DEFINITION" else {}
    propagated = service.tags if service.propagate_tags == "SERVICE" else of_definition
    of_ecs = managed(service.cluster, service.name) if service.managed_tags else {}
    return {**of_definition, **service.tags}, {**propagated, **of_ecs}


def shards_for(desired_count: int) -> int:
    """Over how many keys the list of a service's tasks is spread: a small one is read with one query."""
    return min(MAX_SHARDS, 1 + desired_count // TASKS_FOR_EACH_SHARD)


def deployment_event(service: Service, event_id: str, state: RolloutState, at: Any) -> ServiceEvent:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html"""
    deployment = service.deployment.deployment_id
    words = {"IN_PROGRESS": "in progress", "COMPLETED": "completed", "FAILED": "failed"}[str(state)]
    return ServiceEvent(
        event_id=event_id,
        cluster=service.cluster,
        service=service.name,
        created_at=at,
        message=f"(service {service.name}) (deployment {deployment}) deployment {words}.",
        detail_type="ECS Deployment State Change",
        event_name=f"SERVICE_DEPLOYMENT_{state}",
        event_type="ERROR" if state is RolloutState.FAILED else "INFO",
        deployment_id=deployment,
        reason=f"ECS deployment {deployment} {words}.",
    )


def _deployment_began(cp: ControlPlane, service: Service) -> ServiceEvent:
    return deployment_event(service, cp.new_id(), RolloutState.IN_PROGRESS, service.created_at)


def _events(cp: ControlPlane, service: Service) -> list[ServiceEvent]:
    """And not those of a former service of that name."""
    found = services.events(cp.table, service.cluster, service.name)
    return [event for event in found if event.created_at >= service.created_at]


def _cluster_to_put_into(cp: ControlPlane, name: str) -> Cluster:
    """As it is now, and open unless a deletion is looking at it."""
    cluster = clusters.load(cp.table, name)
    if cluster is None or cluster.status is not ClusterStatus.ACTIVE:
        raise ClusterNotFoundException("The referenced cluster was inactive.")
    open_if_left_closed(cp, cluster)
    return cluster


def _require(cp: ControlPlane, cluster: str, name: str) -> Service:
    service = services.load(cp.table, cluster, name)
    if service is None or service.status is ServiceStatus.INACTIVE:
        raise ServiceNotFoundException("Service not found.")
    return service


def _until_won(cp: ControlPlane, decide_and_commit: Callable[[int], Service]) -> Service:
    try:
        return until_won(cp, decide_and_commit)
    except LostRace as race:
        raise ServerException("The service is changing too often. Try again.") from race
