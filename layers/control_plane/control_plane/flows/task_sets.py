"""CreateTaskSet, UpdateTaskSet, UpdateServicePrimaryTaskSet, DeleteTaskSet, DescribeTaskSets.

They say what is wanted; the scheduler makes it so (domain/scheduling/task_sets.py). Each is one write of the service
under its lock: what was decided on a task set that somebody else has changed meanwhile is decided again.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-external.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateTaskSet.html
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.capacity_provider import strategy_of
from control_plane.domain.cluster import Cluster
from control_plane.domain.errors import (
    InvalidParameterException,
    ServiceNotActiveException,
    ServiceNotFoundException,
    TaskSetNotFoundException,
)
from control_plane.domain.placement.rules import parse_constraints
from control_plane.domain.reminders import watching_service
from control_plane.domain.service import Service, ServiceStatus, with_task_sets
from control_plane.domain.service_deployment import new_deployment_id
from control_plane.domain.tags import checked, require_no_policy
from control_plane.domain.task_set import MAX_TASK_SETS, TaskSet, TaskSetStatus
from control_plane.domain.task_set_description import describe_task_set
from control_plane.flows.again import until_answered
from control_plane.flows.lookup import definition_name, identifier, require_cluster
from control_plane.flows.run_task import digest_of
from control_plane.flows.service_requests import require_definition
from control_plane.flows.services import FIRST_LOOK
from control_plane.runtime import ControlPlane
from control_plane.store import reminders, services

SMALLEST_SCALE = 1e-9
"""In percent, besides 0: far below one task of all that a service can have, and still a number that the table keeps."""

Decide = Callable[[Service, datetime], tuple[TaskSet, ...]]
"""The task sets that change, that of the answer first."""


def create_task_set(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskSet}. The same request with the same client token is answered with the task set as it is."""
    cluster = require_cluster(cp, request["cluster"])
    definition = require_definition(cp, request["taskDefinition"])
    strategy = strategy_of(request, cluster.capacity_providers, cluster.default_capacity_provider_strategy)
    tags = checked(request.get("tags", ()))
    require_no_policy(tags)
    scale = _scale(request.get("scale", {}))
    token, digest = request.get("clientToken"), digest_of(request)

    def create(service: Service, now: datetime) -> tuple[TaskSet, ...]:
        before = next((each for each in service.task_sets if token and each.client_token == token), None)
        if before is not None:
            if before.request != digest:
                raise InvalidParameterException("Creation of task set was not idempotent.")
            return (before,)
        if len(service.task_sets) >= MAX_TASK_SETS:
            raise InvalidParameterException(
                f"{len(service.task_sets)} deployments exist on the service. Unable to create new TaskSet since this "
                "exceeds the maximum limit."
            )
        parse_constraints(service.placement_constraints, definition.get("placementConstraints", ()))
        return (
            TaskSet(
                task_set_id=new_deployment_id(now, cp.new_id()),
                task_definition=definition_name(definition),
                capacity_provider_strategy=strategy,
                scale=scale,
                external_id=request.get("externalId"),
                client_token=token,
                request=digest,
                tags=tags,
                created_at=now,
                updated_at=now,
                stability_at=now,
            ),
        )

    return _change(cp, cluster, request, create, with_tags=True)


def update_task_set(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskSet}, with another scale."""
    cluster = require_cluster(cp, request["cluster"])
    if "value" not in request["scale"]:
        raise InvalidParameterException("scale.value can not be blank.")
    scale = _scale(request["scale"])

    def update(service: Service, now: datetime) -> tuple[TaskSet, ...]:
        task_set = _staying(cp, service, request["taskSet"])
        return (task_set.anew(now).model_copy(update={"scale": scale, "updated_at": now}),)

    return _change(cp, cluster, request, update)


def update_service_primary_task_set(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskSet}, PRIMARY; the one that was it is ACTIVE. Neither's tasks are touched."""
    cluster = require_cluster(cp, request["cluster"])

    def promote(service: Service, now: datetime) -> tuple[TaskSet, ...]:
        task_set = _staying(cp, service, request["primaryTaskSet"])
        former = service.primary_task_set
        if former == task_set:
            return (task_set,)
        promoted = task_set.model_copy(update={"status": TaskSetStatus.PRIMARY, "updated_at": now})
        if former is None:
            return (promoted,)
        return promoted, former.model_copy(update={"status": TaskSetStatus.ACTIVE, "updated_at": now})

    return _change(cp, cluster, request, promote)


def delete_task_set(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskSet}, DRAINING until its tasks have ended. Without `force` it must not be PRIMARY, and have been
    scaled to 0."""
    cluster = require_cluster(cp, request["cluster"])

    def delete(service: Service, now: datetime) -> tuple[TaskSet, ...]:
        task_set = _named(cp, service, request["taskSet"])
        if task_set.status is TaskSetStatus.DRAINING:
            return (task_set,)
        if not request.get("force"):
            if task_set.status is TaskSetStatus.PRIMARY:
                raise InvalidParameterException("The PRIMARY task set cannot be deleted. Use force to delete it.")
            if task_set.scale > 0:
                raise InvalidParameterException(
                    "The task set cannot be deleted while it is scaled above 0. Use force to delete it."
                )
        gone = {"status": TaskSetStatus.DRAINING, "scale": 0.0, "updated_at": now}
        return (task_set.anew(now).model_copy(update=gone),)

    return _change(cp, cluster, request, delete)


def describe_task_sets(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskSets, failures}; all of the service unless the request names some."""
    cluster = require_cluster(cp, request["cluster"])
    service = _require(cp, cluster.name, identifier(request["service"], cluster))
    wanted = dict.fromkeys(request.get("taskSets") or [each.task_set_id for each in service.task_sets])
    found = {name: _find(cp, service, name) for name in wanted}
    return {
        "taskSets": [
            describe_task_set(each, service, cp.arns, with_tags="TAGS" in request.get("include", ()))
            for each in found.values()
            if each is not None
        ],
        "failures": [
            {
                "arn": name if name.startswith("arn:") else cp.arns.task_set(cluster.name, service.name, name),
                "reason": "MISSING",
            }
            for name, each in found.items()
            if each is None
        ],
    }


def _change(
    cp: ControlPlane, cluster: Cluster, request: Mapping[str, Any], decide: Decide, *, with_tags: bool = False
) -> dict[str, Any]:
    """Commit what is decided, unless it is so already."""
    name = identifier(request["service"], cluster)

    def decide_and_commit(_attempt: int) -> dict[str, Any]:
        service = _require(cp, cluster.name, name)
        now = cp.clock()
        changed = decide(service, now)
        after = with_task_sets(service, *changed)
        if after != service:
            after = after.model_copy(
                update={"updated_at": now, "steady": False, "planned": False, "look_at": now + FIRST_LOOK}
            )
            reminders.remind(cp.table, [watching_service(cluster.name, name, now + FIRST_LOOK)])
            cp.table.commit([services.changed(service, after)])
        return {"taskSet": describe_task_set(changed[0], after, cp.arns, with_tags=with_tags)}

    return until_answered(cp, decide_and_commit, what="service")


def _scale(given: Mapping[str, Any]) -> float:
    """0 unless it is given. Raises InvalidParameterException."""
    value: float = given.get("value", 0.0)
    if value != 0 and not SMALLEST_SCALE <= value <= 100:
        raise InvalidParameterException(f"The value of scale should be between 0 and 100, but is {value}.")
    return value


def _require(cp: ControlPlane, cluster: str, name: str) -> Service:
    service = services.load(cp.table, cluster, name)
    if service is None:
        raise ServiceNotFoundException("Service not found.")
    if service.status is not ServiceStatus.ACTIVE:
        raise ServiceNotActiveException("Service was not ACTIVE.")
    if not service.external:
        raise InvalidParameterException(
            "Amazon ECS only supports task set management on services configured to use external deployment "
            "controllers."
        )
    return service


def _find(cp: ControlPlane, service: Service, name: str) -> TaskSet | None:
    """By its id, by the digits of it, or by its ARN."""

    def names(task_set: TaskSet) -> set[str]:
        task_set_id = task_set.task_set_id
        arn = cp.arns.task_set(service.cluster, service.name, task_set_id)
        return {task_set_id, task_set_id.rpartition("/")[2], arn}

    return next((each for each in service.task_sets if name in names(each)), None)


def _named(cp: ControlPlane, service: Service, name: str) -> TaskSet:
    found = _find(cp, service, name)
    if found is None:
        raise TaskSetNotFoundException("The specified task set was not found.")
    return found


def _staying(cp: ControlPlane, service: Service, name: str) -> TaskSet:
    task_set = _named(cp, service, name)
    if task_set.status is TaskSetStatus.DRAINING:
        raise InvalidParameterException("The task set is DRAINING.")
    return task_set
