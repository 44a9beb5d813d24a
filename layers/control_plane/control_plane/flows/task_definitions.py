"""RegisterTaskDefinition, DescribeTaskDefinition, ListTaskDefinitions.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.pages import page_of
from control_plane.domain.task_definition import normalise
from control_plane.flows.lookup import require_task_definition
from control_plane.runtime import ControlPlane
from control_plane.store import task_definitions


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
    return {"taskDefinition": definition, "tags": request.get("tags", [])}


def describe_task_definition(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinition, tags}; tags only if the request includes TAGS."""
    with_tags = "TAGS" in request.get("include", ())
    found = dict(require_task_definition(cp, request["taskDefinition"], with_tags=with_tags))
    tags = found.pop("tags", [])
    definition = {**found, "registeredAt": datetime.fromisoformat(found["registeredAt"])}
    return {"taskDefinition": definition, **({"tags": tags} if with_tags else {})}


def list_task_definitions(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinitionArns, nextToken}, by default of ACTIVE ones, sorted by family and revision."""
    wanted = request.get("familyPrefix")
    status = request.get("status", "ACTIVE")
    families = [resource_name(wanted)] if wanted else task_definitions.families(cp.table)
    found = {
        _sort_key(definition): definition["taskDefinitionArn"]
        for family in families
        for definition in task_definitions.revisions(cp.table, family)
        if definition["status"] == status
    }
    descending = request.get("sort") == "DESC"
    page, token = page_of(
        sorted(found, reverse=descending),
        request.get("nextToken"),
        request.get("maxResults", 100),
        descending=descending,
    )
    answer: dict[str, Any] = {"taskDefinitionArns": [found[key] for key in page]}
    return {**answer, "nextToken": token} if token else answer


def _sort_key(definition: Mapping[str, Any]) -> str:
    return f"{definition['family']}:{definition['revision']:010d}"
