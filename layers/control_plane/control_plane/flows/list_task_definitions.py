"""ListTaskDefinitions and ListTaskDefinitionFamilies.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTaskDefinitions.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTaskDefinitionFamilies.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.pages import Paging
from control_plane.runtime import ControlPlane
from control_plane.store import keys, task_definitions
from control_plane.store.items import Item
from control_plane.store.pages import merge, read_page, walk

READ_AT_MOST = 400
"""Definitions that are read for one page, which are of some kilobytes each."""


def list_task_definitions(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskDefinitionArns, nextToken}, by default of ACTIVE ones, sorted by family and revision."""
    paging = Paging(cp.token_key, "ListTaskDefinitions", request)
    asked, descending = paging.asked(), request.get("sort") == "DESC"
    family, status = request.get("familyPrefix"), request.get("status") or "ACTIVE"
    parts = (
        [task_definitions.part_of_family(resource_name(family), descending=descending)]
        if family
        else task_definitions.parts_of_families(cp.table, asked, descending=descending)
    )

    def shown(items: Sequence[Item]) -> list[dict[str, str]]:
        found = [task_definitions.definition_in(item) for item in items]
        return [{"": each["taskDefinitionArn"]} if each["status"] == status else {} for each in found]

    page, ended = read_page(walk(cp.table, parts, asked), asked, shown, read_at_most=READ_AT_MOST)
    return {"taskDefinitionArns": page, **paging.more(ended)}


def list_task_definition_families(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {families, nextToken}, sorted: names that begin with familyPrefix.

    ACTIVE ones have an ACTIVE revision, INACTIVE ones have none but others, and by default both are listed.
    """
    paging = Paging(cp.token_key, "ListTaskDefinitionFamilies", request)
    asked, status = paging.asked(), request.get("status") or "ALL"
    wanted = {"ACTIVE", "INACTIVE"} if status == "ALL" else {status}

    def shown(items: Sequence[Item]) -> list[dict[str, str]]:
        found = task_definitions.statuses_of_families(cp.table, {item["sk"]: int(item["revision"]) for item in items})
        return [{"": item["sk"]} if found[item["sk"]] in wanted else {} for item in items]

    families = merge(cp.table, keys.family_partitions(), asked, begins=request.get("familyPrefix") or "")
    page, ended = read_page(families, asked, shown, read_at_most=READ_AT_MOST)
    return {"families": page, **paging.more(ended)}
