"""CreateService, UpdateService, DescribeServices, DeleteService: they say what is wanted.

The scheduler learns of it from the table's stream and makes it so (flows/schedule_service.py).

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from control_plane.domain.capacity_provider import strategy_of
from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.daemon_service import DEFAULT_CONFIGURATION, check_daemon
from control_plane.domain.deployment_configuration import checked_configuration
from control_plane.domain.errors import (
    ClusterNotFoundException,
    InvalidParameterException,
    ServiceNotActiveException,
    ServiceNotFoundException,
)
from control_plane.domain.names import checked_name
from control_plane.domain.placement.rules import as_stored, parse_constraints, parse_strategy
from control_plane.domain.reminders import watching_service
from control_plane.domain.scheduling import history, service_events
from control_plane.domain.service import (
    DeploymentConfiguration,
    Service,
    ServiceEvent,
    ServiceStatus,
    no_deployment,
)
from control_plane.domain.service_description import describe_service
from control_plane.domain.tags import checked, require_sense
from control_plane.flows.again import until_answered
from control_plane.flows.delete_cluster import open_if_left_closed
from control_plane.flows.lookup import definition_name, find_service, identifier, require_cluster
from control_plane.flows.service_requests import (
    EXTERNAL,
    MAX_SHARDS,
    begun,
    changes_of,
    has_external_controller,
    new_deployment,
    placement_of,
    refuse_by_controller,
    require_definition,
    require_sense_of_daemon,
    shards_for,
)
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, reminders, service_deployments, services
from control_plane.store.table import Write

FIRST_LOOK = timedelta(seconds=30)
"""After which the sweeper brings a changed service to the scheduler, should the stream not have."""


def create_service(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {service}. The same request with the same client token is answered with the service as it is."""
    cluster = require_cluster(cp, request.get("cluster"))
    name = checked_name(request["serviceName"], what="service")
    external = has_external_controller(request)
    if not external and "taskDefinition" not in request:
        raise InvalidParameterException("TaskDefinition can not be blank.")
    definition = {} if external else require_definition(cp, request["taskDefinition"])
    constraints, placement_strategy = request.get("placementConstraints", ()), request.get("placementStrategy", ())
    rules = parse_constraints(constraints, definition.get("placementConstraints", ()))
    parse_strategy(placement_strategy)
    tags = checked(request.get("tags", ()))
    propagate = request.get("propagateTags")
    require_sense(tags)
    is_daemon = request.get("schedulingStrategy") == "DAEMON"
    defaults = DEFAULT_CONFIGURATION if is_daemon else DeploymentConfiguration()
    configuration = checked_configuration(request.get("deploymentConfiguration", {}), defaults)
    default = () if external else cluster.default_capacity_provider_strategy
    strategy = strategy_of(request, cluster.capacity_providers, default)

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
        revision = "" if external else definition_name(definition)
        service = Service(
            name=name,
            cluster=cluster.name,
            desired_count=desired,
            task_definition=revision,
            deployment=no_deployment(now) if external else new_deployment(cp, revision, strategy, now),
            deployment_controller=EXTERNAL if external else None,
            deployment_configuration=configuration,
            health_check_grace_period_seconds=request.get("healthCheckGracePeriodSeconds"),
            client_token=token,
            tags=tags,
            propagate_tags=None if propagate == "NONE" else propagate,
            placement_constraints=tuple(constraints),
            placement_strategy=as_stored(placement_strategy),
            managed_tags=request.get("enableECSManagedTags") or None,
            execute_command=request.get("enableExecuteCommand") or None,
            capacity_provider_strategy=strategy,
            created_at=now,
            updated_at=now,
            lock=existing.lock + 1 if existing else 1,
            shards=max(MAX_SHARDS if is_daemon else shards_for(desired), existing.shards if existing else 1),
            scheduling_strategy="DAEMON" if is_daemon else None,
            look_at=now + FIRST_LOOK,
        )
        if is_daemon:
            check_daemon(service, request, rules)
        deployed: list[Write] = []
        if not external:
            service = service.model_copy(update={"service_deployment": history.begun(service, None, now)})
            deployed = [
                *service_deployments.recorded(service, service.service_deployment),
                services.told(_deployment_began(cp, service)),
            ]
        reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
        cp.table.commit(
            [
                services.created(service, existing),
                *deployed,
                clusters.open_for(target, daemon=service.name if is_daemon else None),
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
    definition = require_definition(cp, request["taskDefinition"]) if request.get("taskDefinition") else None

    def decide_and_commit(_attempt: int) -> Service:
        service = _require(cp, cluster.name, name)
        if service.status is not ServiceStatus.ACTIVE:
            raise ServiceNotActiveException("Service was not ACTIVE.")
        refuse_by_controller(request, service)
        desired = request.get("desiredCount", service.desired_count)
        constraints, strategy = placement_of(cp, service, request, definition)
        now = cp.clock()
        changes = changes_of(request, service, cluster, definition)
        deployment = begun(cp, service, changes, now, force=request.get("forceNewDeployment", False))
        after = service.model_copy(
            update={
                **changes,
                **deployment,
                "failed_starts": 0,
                "not_before": None,
                "desired_count": desired,
                "task_sets": tuple(each.anew(now) for each in service.task_sets),
                "placement_constraints": constraints,
                "placement_strategy": strategy,
                "updated_at": now,
                "steady": False,
                "stuck": False,
                "planned": False,
                "look_at": now + FIRST_LOOK,
                "shards": max(service.shards, shards_for(desired)),
            }
        )
        if after.is_daemon:
            require_sense_of_daemon(cp, after, request)
        told: list[Write] = []
        if deployment:
            after = after.model_copy(update={"service_deployment": history.begun(after, service, now)})
            told = [
                *service_deployments.recorded(after, history.replaced(service, now), after.service_deployment),
                services.told(_deployment_began(cp, after)),
            ]
        reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
        cp.table.commit([services.changed(service, after), *told])
        return after

    service = until_answered(cp, decide_and_commit, what="service")
    return {"service": describe_service(service, cp.arns, events=_events(cp, service))}


def delete_service(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {service}, DRAINING. Without `force` it must have been scaled to 0, unless it is a DAEMON service, which
    cannot be."""
    cluster = require_cluster(cp, request.get("cluster"))
    name = identifier(request["service"], cluster)

    def decide_and_commit(_attempt: int) -> Service:
        service = _require(cp, cluster.name, name)
        if service.status is not ServiceStatus.ACTIVE:
            return service
        if service.desired_count > 0 and not (request.get("force") or service.is_daemon):
            raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
        if service.task_sets and not request.get("force"):
            raise InvalidParameterException("The service cannot be stopped while it has task sets.")
        now = cp.clock()
        after = service.model_copy(
            update={
                "status": ServiceStatus.DRAINING,
                "desired_count": 0,
                "task_sets": tuple(each.anew(now) for each in service.task_sets),
                "service_deployment": None,
                "updated_at": now,
                "steady": False,
                "planned": False,
                "look_at": now + FIRST_LOOK,
            }
        )
        reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
        let_go = [clusters.without_daemon(service.cluster, service.name)] if service.is_daemon else []
        cp.table.commit([services.changed(service, after), *let_go])
        return after

    return {"service": describe_service(until_answered(cp, decide_and_commit, what="service"), cp.arns, events=())}


def describe_services(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {services, failures}, each once, in the order asked."""
    cluster = require_cluster(cp, request.get("cluster"))
    names = dict.fromkeys(identifier(name, cluster) for name in request["services"])
    found = {name: find_service(cp, cluster, name) for name in names}
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
            {"arn": cp.arns.service(cluster.name, name), "reason": "MISSING"}
            for name, service in found.items()
            if service is None
        ],
    }


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
