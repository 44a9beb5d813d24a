"""Register-, Describe-, Deregister- and DeleteTaskDefinitions.

ACTIVE ── DeregisterTaskDefinition ──► INACTIVE ── DeleteTaskDefinitions ──► DELETE_IN_PROGRESS

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deregister-task-definition-v2.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteTaskDefinitions.html
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition import normalise
from control_plane.domain.task_definition_network import EXTERNAL_NETWORK_MODE
from control_plane.flows.again import until_won
from control_plane.flows.lookup import definition_name, require_task_definition
from control_plane.runtime import ControlPlane
from control_plane.store import task_definitions

NOT_SHOWN = frozenset({"tags", EXTERNAL_NETWORK_MODE})
"""Of a stored definition: tags stand next to it in an answer."""

TIMES = ("registeredAt", "deregisteredAt", "deleteRequestedAt")

INVALID = "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."
MISSING = "The specified task definition does not exist. Specify a valid account, family, revision and try again."
STILL_ACTIVE = "The specified task definition is still in ACTIVE status. Please deregister the target and try again."


def register_task_definition(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinition, tags}. The revision is a number that no other registration gets."""
    family = request["family"]
    normalised = normalise(request)
    revision = task_definitions.next_revision(cp.table, family)
    definition = {
        **normalised,
        "taskDefinitionArn": cp.arns.task_definition(f"{family}:{revision}"),
        "revision": revision,
        "status": "ACTIVE",
        "registeredAt": cp.clock(),
    }
    task_definitions.save(cp.table, family, revision, {**definition, "tags": request.get("tags", [])})
    return {"taskDefinition": _shown(definition), "tags": request.get("tags", [])}


def describe_task_definition(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinition, tags}, of any status; tags only if the request includes TAGS."""
    with_tags = "TAGS" in request.get("include", ())
    found = require_task_definition(cp, request["taskDefinition"], with_tags=with_tags)
    return {"taskDefinition": _described(found), **({"tags": found.get("tags", [])} if with_tags else {})}


def deregister_task_definition(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinition}, INACTIVE. Tasks and services that use it go on. One that is not ACTIVE stays so."""
    named = _named(cp, request["taskDefinition"])
    if named is None:
        raise ClientException(
            "Revision is missing. Write family:revision, or an ARN of this account and region."
            if _names_a_family(request["taskDefinition"])
            else "Unable to describe task definition."
        )

    def decide_and_commit(_attempt: int) -> dict[str, Any]:
        found = task_definitions.load(cp.table, *named)
        if found is None:
            raise ClientException("The specified task definition does not exist.")
        return found if found["status"] != "ACTIVE" else task_definitions.deregister(cp.table, *named, cp.clock())

    found = until_won(cp, decide_and_commit)
    cp.definitions.remember(definition_name(found), found, cp.clock())
    return {"taskDefinition": _described(found)}


def delete_task_definitions(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinitions, failures}, in the order asked: those that are DELETE_IN_PROGRESS now, and the others.

    Each by itself: a call that dies half way has deleted some, and deleting them again answers the same.
    """
    deleted, failures = [], []
    for text in dict.fromkeys(request["taskDefinitions"]):
        outcome = until_won(cp, lambda _attempt, text=text: _delete(cp, text))  # type: ignore[misc]
        if isinstance(outcome, str):
            failures.append({"arn": text, "reason": outcome})
        else:
            deleted.append(_described(outcome))
    return {"taskDefinitions": deleted, "failures": failures}


def _delete(cp: ControlPlane, text: str) -> dict[str, Any] | str:
    """The definition as it is then, or why it is not deleted. Raises ItemChangedError."""
    if not re.fullmatch(r"(arn:[^/]*:task-definition/)?[a-zA-Z0-9_-]{1,255}:[0-9]{1,10}", text):
        return INVALID
    named = _named(cp, text)
    found = task_definitions.load(cp.table, *named) if named else None
    if named is None or found is None:
        return MISSING
    if found["status"] == "ACTIVE":
        return STILL_ACTIVE
    if found["status"] == "DELETE_IN_PROGRESS":
        return found
    return task_definitions.request_deletion(cp.table, *named, cp.clock())


def _named(cp: ControlPlane, text: str) -> tuple[str, int] | None:
    """Family and revision; None if there is no revision, or the ARN is another account's or region's."""
    name = resource_name(text)
    family, _, revision = name.partition(":")
    if text not in {name, cp.arns.task_definition(name)} or not re.fullmatch(r"[0-9]{1,10}", revision):
        return None
    return family, int(revision)


def _names_a_family(text: str) -> bool:
    return ":" not in resource_name(text)


def _described(found: Mapping[str, Any]) -> dict[str, Any]:
    times = {member: datetime.fromisoformat(found[member]) for member in TIMES if member in found}
    return {**_shown(found), **times}


def _shown(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in definition.items() if member not in NOT_SHOWN}
