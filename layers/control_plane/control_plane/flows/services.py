"""CreateService, UpdateService, DescribeServices, ListServices, DeleteService: they say what is wanted.

The scheduler learns of it from the table's stream and makes it so (flows/schedule_service.py).

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.capacity_provider import Strategy, checked_strategy, strategy_of
from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.deployment_configuration import checked_configuration
from control_plane.domain.description import describe_service
from control_plane.domain.errors import (
    ClientException,
    ClusterNotFoundException,
    InvalidParameterException,
    ServiceNotActiveException,
    ServiceNotFoundException,
)
from control_plane.domain.names import checked_name
from control_plane.domain.pages import page_of
from control_plane.domain.placement.rules import as_stored, parse_constraints, parse_strategy
from control_plane.domain.reminders import watching_service
from control_plane.domain.scheduling import service_events
from control_plane.domain.service import Deployment, DeploymentConfiguration, Service, ServiceEvent, ServiceStatus
from control_plane.domain.tags import checked, managed, require_sense
from control_plane.flows.again import until_answered
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
    name = checked_name(request["serviceName"], what="service")
    if "taskDefinition" not in request:
        raise InvalidParameterException("TaskDefinition can not be blank.")
    definition = _require_definition(cp, request["taskDefinition"])
    constraints, placement_strategy = request.get("placementConstraints", ()), request.get("placementStrategy", ())
    parse_constraints(constraints, definition.get("placementConstraints", ()))
    parse_strategy(placement_strategy)
    tags = checked(request.get("tags", ()))
    propagate = request.get("propagateTags")
    require_sense(tags)
    configuration = checked_configuration(request.get("deploymentConfiguration", {}), DeploymentConfiguration())
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
        service = Service(
            name=name,
            cluster=cluster.name,
            desired_count=desired,
            task_definition=definition_name(definition),
            deployment=_new_deployment(cp, definition_name(definition), strategy, now),
            deployment_configuration=configuration,
            health_check_grace_period_seconds=request.get("healthCheckGracePeriodSeconds"),
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

    service = until_answered(cp, decide_and_commit, what="service")
    return {"service": describe_service(service, cp.arns, events=(), with_tags=True)}


def update_service(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {service}. The same request again wakes the scheduler, too.

    Another task definition or capacity provider strategy, or forceNewDeployment, begins a deployment. The rest holds
    for what is done afterwards.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    name = identifier(request["service"], cluster)
    definition = _require_definition(cp, request["taskDefinition"]) if request.get("taskDefinition") else None

    def decide_and_commit(_attempt: int) -> Service:
        service = _require(cp, cluster.name, name)
        if service.status is not ServiceStatus.ACTIVE:
            raise ServiceNotActiveException("Service was not ACTIVE.")
        desired = request.get("desiredCount", service.desired_count)
        constraints, strategy = _placement(cp, service, request, definition)
        now = cp.clock()
        changes = _changes(request, service, cluster, definition)
        begun = _begun(cp, service, changes, now, force=request.get("forceNewDeployment", False))
        after = service.model_copy(
            update={
                **changes,
                **begun,
                "failed_starts": 0,
                "not_before": None,
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
        told = [services.told(_deployment_began(cp, after))] if begun else []
        cp.table.commit([services.changed(service, after), *told])
        return after

    service = until_answered(cp, decide_and_commit, what="service")
    return {"service": describe_service(service, cp.arns, events=_events(cp, service))}


def _changes(
    request: Mapping[str, Any], service: Service, cluster: Cluster, definition: dict[str, Any] | None
) -> dict[str, Any]:
    """What the request says of the service. An empty strategy goes back to the launch type."""
    changes: dict[str, Any] = {}
    if definition is not None:
        changes["task_definition"] = definition_name(definition)
    if "capacityProviderStrategy" in request:
        strategy = checked_strategy(request["capacityProviderStrategy"], cluster.capacity_providers)
        changes["capacity_provider_strategy"] = strategy
    if "deploymentConfiguration" in request:
        given, before = request["deploymentConfiguration"], service.deployment_configuration
        changes["deployment_configuration"] = checked_configuration(given, before)
    if "healthCheckGracePeriodSeconds" in request:
        changes["health_check_grace_period_seconds"] = request["healthCheckGracePeriodSeconds"]
    if "propagateTags" in request:
        changes["propagate_tags"] = None if request["propagateTags"] == "NONE" else request["propagateTags"]
    if "enableECSManagedTags" in request:
        changes["managed_tags"] = request["enableECSManagedTags"] or None
    return changes


def _begun(
    cp: ControlPlane, service: Service, changes: Mapping[str, Any], now: datetime, *, force: bool
) -> dict[str, Any]:
    """The members that a new deployment changes; none if there is to be none. The former one has its tasks still."""
    definition = changes.get("task_definition", service.task_definition)
    strategy = changes.get("capacity_provider_strategy", service.capacity_provider_strategy)
    if not force and (definition, strategy) == (service.task_definition, service.capacity_provider_strategy):
        return {}
    return {
        "deployment": _new_deployment(cp, definition, strategy, now),
        "older": (service.deployment, *service.older),
        "stuck": False,
    }


def _new_deployment(cp: ControlPlane, definition: str, strategy: Strategy, now: datetime) -> Deployment:
    return Deployment(
        deployment_id=f"ecs-svc/{int(cp.new_id()[:15], 16):019d}",
        task_definition=definition,
        capacity_provider_strategy=strategy or None,
        created_at=now,
        updated_at=now,
    )


def _require_definition(cp: ControlPlane, name: str) -> dict[str, Any]:
    """One that services may use here."""
    definition = require_task_definition(cp, name)
    if definition["status"] != "ACTIVE":
        raise ClientException("TaskDefinition is inactive")
    require_external(definition)
    return definition


def _placement(
    cp: ControlPlane, service: Service, request: Mapping[str, Any], definition: dict[str, Any] | None
) -> tuple[tuple[dict[str, str], ...], tuple[dict[str, str], ...]]:
    """Constraints and strategies once a request has been heeded; an empty list, or an empty strategy, removes them.

    Raises InvalidParameterException.
    """
    constraints = tuple(request.get("placementConstraints", service.placement_constraints))
    strategy = tuple(each for each in request.get("placementStrategy", service.placement_strategy) if each)
    if definition or constraints != service.placement_constraints or strategy != service.placement_strategy:
        definition = definition or require_task_definition(cp, service.task_definition)
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

    return {"service": describe_service(until_answered(cp, decide_and_commit, what="service"), cp.arns, events=())}


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


def _deployment_began(cp: ControlPlane, service: Service) -> ServiceEvent:
    return service_events.of_deployment(
        service, service.deployment, now=service.deployment.created_at, new_id=cp.new_id
    )


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
