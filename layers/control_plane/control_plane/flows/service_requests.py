"""What requests about services say: checked, and as members of the service."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.capacity_provider import Strategy, checked_strategy
from control_plane.domain.cluster import Cluster
from control_plane.domain.daemon_service import check_daemon
from control_plane.domain.deployment_configuration import checked_configuration
from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.placement.rules import as_stored, parse_constraints, parse_strategy
from control_plane.domain.service import Deployment, Service
from control_plane.domain.service_deployment import new_deployment_id
from control_plane.flows.lookup import definition_name, require_task_definition
from control_plane.flows.run_task import require_external
from control_plane.runtime import ControlPlane

TASKS_FOR_EACH_SHARD = 100
MAX_SHARDS = 8


EXTERNAL = "EXTERNAL"

OF_TASK_SETS = ("taskDefinition", "launchType", "capacityProviderStrategy")
"""What CreateService leaves to CreateTaskSet, and UpdateService, too, with an EXTERNAL deployment controller.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-external.html
"""


def has_external_controller(request: Mapping[str, Any]) -> bool:
    """Whether CreateService asks for one. Raises InvalidParameterException for what does not go together with it."""
    if request.get("deploymentController", {}).get("type") != EXTERNAL:
        return False
    for member in OF_TASK_SETS:
        if request.get(member):
            raise InvalidParameterException(
                f"{member} cannot be specified for a service with an EXTERNAL deployment controller. Specify it in "
                "CreateTaskSet."
            )
    if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise InvalidParameterException(
            "The EXTERNAL deployment controller supports only the REPLICA scheduling strategy."
        )
    if request.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker", {}).get("enable"):
        raise InvalidParameterException(
            "The deployment circuit breaker can only be used for services with the ECS deployment controller."
        )
    return True


def refuse_by_controller(request: Mapping[str, Any], service: Service) -> None:
    """What UpdateService cannot change of a service with such a deployment controller.

    Raises InvalidParameterException.
    """
    controller = service.deployment_controller or "ECS"
    if request.get("deploymentController", {}).get("type", controller) != controller:
        raise InvalidParameterException(
            f"The deployment controller of a service cannot be changed here: it is {controller}."
        )
    if not service.external:
        return
    for member in (*OF_TASK_SETS, "deploymentConfiguration", "forceNewDeployment"):
        if request.get(member):
            words = re.sub("[A-Z]", lambda letter: f" {letter[0].lower()}", member)
            raise InvalidParameterException(
                f"Unable to update {words} on services with an EXTERNAL deployment controller. Use CreateTaskSet to "
                "run something else."
            )


def changes_of(
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
    if "enableExecuteCommand" in request:
        changes["execute_command"] = request["enableExecuteCommand"] or None
    return changes


def begun(
    cp: ControlPlane, service: Service, changes: Mapping[str, Any], now: datetime, *, force: bool
) -> dict[str, Any]:
    """The members that a new deployment changes; none if there is to be none. The former one has its tasks still."""
    definition = changes.get("task_definition", service.task_definition)
    strategy = changes.get("capacity_provider_strategy", service.capacity_provider_strategy)
    if not force and (definition, strategy) == (service.task_definition, service.capacity_provider_strategy):
        return {}
    return {
        "deployment": new_deployment(cp, definition, strategy, now),
        "older": (service.deployment, *service.older),
        "short": False,
    }


def new_deployment(cp: ControlPlane, definition: str, strategy: Strategy, now: datetime) -> Deployment:
    return Deployment(
        deployment_id=new_deployment_id(now, cp.new_id()),
        task_definition=definition,
        capacity_provider_strategy=strategy or None,
        created_at=now,
        updated_at=now,
    )


def require_definition(cp: ControlPlane, name: str) -> dict[str, Any]:
    """One that services may use here."""
    definition = require_task_definition(cp, name)
    if definition["status"] != "ACTIVE":
        raise ClientException("TaskDefinition is inactive")
    require_external(definition)
    return definition


def require_sense_of_daemon(cp: ControlPlane, after: Service, request: Mapping[str, Any]) -> None:
    """Refuse what a request makes of a DAEMON service if there is no such thing. Raises InvalidParameterException."""
    definition = require_task_definition(cp, after.task_definition)
    of_definition = definition.get("placementConstraints", ())
    check_daemon(after, request, parse_constraints(after.placement_constraints, of_definition))


def placement_of(
    cp: ControlPlane, service: Service, request: Mapping[str, Any], definition: dict[str, Any] | None
) -> tuple[tuple[dict[str, str], ...], tuple[dict[str, str], ...]]:
    """Constraints and strategies once a request has been heeded; an empty list, or an empty strategy, removes them.

    Raises InvalidParameterException.
    """
    constraints = tuple(request.get("placementConstraints", service.placement_constraints))
    strategy = tuple(each for each in request.get("placementStrategy", service.placement_strategy) if each)
    if definition or constraints != service.placement_constraints or strategy != service.placement_strategy:
        of_task_sets = [each.task_definition for each in service.task_sets]
        names = of_task_sets if service.external else [service.task_definition]
        definitions = [definition] if definition else [require_task_definition(cp, name) for name in names]
        for each in definitions or [{}]:
            parse_constraints(constraints, each.get("placementConstraints", ()))
        parse_strategy(strategy)
    return constraints, as_stored(strategy)


def shards_for(desired_count: int) -> int:
    """Over how many keys the list of a service's tasks is spread: a small one is read with one query."""
    return min(MAX_SHARDS, 1 + desired_count // TASKS_FOR_EACH_SHARD)
