"""What a task gets from the tags that it is started with."""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.service import Service
from control_plane.domain.tags import DISCONNECT, absence_of, managed, restarts_offline
from control_plane.runtime import ControlPlane

DEFAULT_STOP_TIMEOUT = 30
"""Seconds. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"""


def tags_of_definition(definition: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in definition.get("tags") or ()}


def definition_for(cp: ControlPlane, service: Service, name: str, *, with_tags: bool = False) -> dict[str, Any]:
    """A task definition that a service's tasks are made from: it is never deleted while the service refers to it."""
    definition = cp.definitions.get(name, with_tags=with_tags)
    if definition is None:
        raise LookupError(f"task definition {name} of service {service.name} is missing")
    return definition


def absence_members(
    definition: Mapping[str, Any], policy: Mapping[str, str], tags: Mapping[str, str], *, in_service: bool
) -> dict[str, Any]:
    """The members of a task that say what its machine's absence means, and its tags.

    `policy` are the tags that say so; `tags` those that the task gets. Raises InvalidParameterException.
    """
    absence = absence_of(policy)
    if absence.kind == "replace-after" and not in_service:
        raise InvalidParameterException(
            f"Tag {DISCONNECT}: replace-after is for services: nobody replaces a task that belongs to none. "
            "Write keep or stop-after=10m."
        )
    timeouts = [
        container.get("stopTimeout") or DEFAULT_STOP_TIMEOUT for container in definition["containerDefinitions"]
    ]
    return {
        "tags": dict(tags),
        "disconnect": policy[DISCONNECT] if absence.kind != "keep" else None,
        "stop_timeout": max(timeouts) if absence.kind == "stop-after" else None,
        "restarts_offline": restarts_offline(policy, by_default=in_service) or None,
    }


def tags_of_tasks(service: Service, definition: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The tags that say what an absence means for its tasks, and those that they get."""
    of_definition = tags_of_definition(definition) if service.propagate_tags == "TASK_DEFINITION" else {}
    propagated = service.tags if service.propagate_tags == "SERVICE" else of_definition
    of_ecs = managed(service.cluster, service.name) if service.managed_tags else {}
    return {**of_definition, **service.tags}, {**propagated, **of_ecs}
