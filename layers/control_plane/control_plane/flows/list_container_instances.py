"""ListContainerInstances and ListAttributes: a walk over a cluster's instances.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListContainerInstances.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListAttributes.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from control_plane.domain import attributes
from control_plane.domain.cluster import Cluster
from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.pages import Asked, Paging
from control_plane.domain.placement.filters import Candidate
from control_plane.domain.placement.query import Expression, parse_query
from control_plane.domain.placement.subjects import OF_TASKS
from control_plane.flows.attributes import described
from control_plane.flows.choose_instances import with_registrations, with_tasks
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import instances
from control_plane.store.items import Item
from control_plane.store.pages import Part, read_page, walk

ATTRIBUTES_EACH = 16
"""About how many an instance has."""


def list_container_instances(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {containerInstanceArns, nextToken}; those that are deregistered are not listed.

    `filter` is in the cluster query language (domain/placement/query.py).
    """
    cluster = require_cluster(cp, request.get("cluster"))
    paging = Paging(cp.token_key, "ListContainerInstances", request)
    asked, wanted = paging.asked(), request.get("status")
    expression = parse_query(request["filter"]) if request.get("filter") else None

    def shown(items: Sequence[Item]) -> list[dict[str, str]]:
        found = [instances.from_item(item) for item in items]
        members = [
            each
            for each in found
            if each.status is not InstanceStatus.INACTIVE and wanted in {None, "", str(each.status)}
        ]
        selected = _selected(cp, cluster, members, expression) if expression else members
        ids = {each.instance_id for each in selected}
        return [
            {"": cp.arns.container_instance(cluster.name, each.instance_id)} if each.instance_id in ids else {}
            for each in found
        ]

    page, ended = read_page(walk(cp.table, _parts(cluster, asked), asked), asked, shown)
    return {"containerInstanceArns": page, **paging.more(ended)}


def _selected(
    cp: ControlPlane, cluster: Cluster, members: Sequence[ContainerInstance], expression: Expression
) -> list[ContainerInstance]:
    candidates: Sequence[Candidate] = [cp.fleet.candidate(each) for each in members]
    if expression.subjects() & OF_TASKS:
        candidates = with_tasks(cp, cluster.name, candidates)
    candidates = with_registrations(cp, candidates, [expression])
    return [candidate.instance for candidate in candidates if expression.matches(candidate)]


def list_attributes(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {attributes, nextToken}, sorted by name within each container instance."""
    cluster = require_cluster(cp, request.get("cluster"))
    name, value = request.get("attributeName"), request.get("attributeValue")
    if value is not None and name is None:
        raise InvalidParameterException("attributeName must be specified if attributeValue is.")
    paging = Paging(cp.token_key, "ListAttributes", request)
    asked = paging.asked()

    def of_instance(instance: ContainerInstance) -> dict[str, dict[str, str]]:
        if instance.status is InstanceStatus.INACTIVE:
            return {}
        there = attributes.attributes_of(instance, cp.fleet.capabilities_of(instance))
        return {
            each: described(cp, cluster, instance.instance_id, each, of_it)
            for each, of_it in sorted(there.items())
            if name in {None, each} and value in {None, of_it}
        }

    def shown(items: Sequence[Item]) -> list[dict[str, dict[str, str]]]:
        return [of_instance(instances.from_item(item)) for item in items]

    few = asked if name else replace(asked, size=1 + asked.size // ATTRIBUTES_EACH)
    page, ended = read_page(walk(cp.table, _parts(cluster, asked), few), asked, shown)
    return {"attributes": page, **paging.more(ended)}


def _parts(cluster: Cluster, asked: Asked) -> list[Part]:
    parts = instances.parts_of_cluster(cluster.name, cluster.shards)
    return [part for part in parts if asked.after is None or part.name >= asked.after.part]
