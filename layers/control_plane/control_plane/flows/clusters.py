"""CreateCluster, DescribeClusters, ListClusters, UpdateCluster, UpdateClusterSettings, PutClusterCapacityProviders.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCluster.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateCluster.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutClusterCapacityProviders.html
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.capacity_provider import checked_providers, checked_strategy
from control_plane.domain.cluster import (
    CONTAINER_INSIGHTS,
    DEFAULT_CLUSTER,
    Cluster,
    ClusterStatus,
    checked_configuration,
    checked_settings,
)
from control_plane.domain.cluster_description import describe_cluster
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.names import checked_name
from control_plane.domain.pages import Paging
from control_plane.domain.tags import checked
from control_plane.flows.account_settings import value_of
from control_plane.flows.again import until_answered
from control_plane.flows.capacity_providers import to_associate
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, keys, services, tasks
from control_plane.store.items import Item
from control_plane.store.pages import merge, read_page

EVERYTHING = ("CONFIGURATIONS", "SETTINGS", "TAGS")
"""What the answer to a change shows."""


def create_cluster(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {cluster}. One that exists already is answered as it is, as by Amazon ECS."""
    name = checked_name(request.get("clusterName") or DEFAULT_CLUSTER, what="cluster")
    members = _members(request)

    def decide_and_commit(_attempt: int) -> Cluster:
        existing = clusters.load(cp.table, name)
        if existing is not None and existing.status is ClusterStatus.ACTIVE:
            _require_the_same(existing, members)
            return existing
        settings = members.get("settings") or {CONTAINER_INSIGHTS: value_of(cp, CONTAINER_INSIGHTS, cp.arns.root())}
        cluster = Cluster(name=name, created_at=cp.clock(), **{**members, "settings": settings})
        cp.table.commit([clusters.created(cluster, existing), *to_associate(cp, cluster.capacity_providers)])
        return cluster

    cluster = until_answered(cp, decide_and_commit, what="cluster")
    return {"cluster": _described(cp, cluster, EVERYTHING)}


def describe_clusters(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {clusters, failures}, each once, in the order asked; `default` if the request names none.

    A deleted one is INACTIVE.
    """
    names = dict.fromkeys(map(resource_name, request.get("clusters") or [DEFAULT_CLUSTER]))
    found = {name: clusters.load(cp.table, name) for name in names}
    include = request.get("include", ())
    return {
        "clusters": [_described(cp, cluster, include) for cluster in found.values() if cluster],
        "failures": [
            {"arn": cp.arns.cluster(name), "reason": "MISSING"} for name, cluster in found.items() if cluster is None
        ],
    }


def list_clusters(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {clusterArns, nextToken}, sorted by name; those that are deleted are not listed."""
    paging = Paging(cp.token_key, "ListClusters", request)
    asked = paging.asked()

    def shown(items: Sequence[Item]) -> list[dict[str, str]]:
        found = map(Cluster.model_validate, items)
        return [{"": cp.arns.cluster(each.name)} if each.status is ClusterStatus.ACTIVE else {} for each in found]

    page, ended = read_page(merge(cp.table, keys.cluster_partitions(), asked), asked, shown)
    return {"clusterArns": page, **paging.more(ended)}


def update_cluster(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {cluster}. What the request does not name stays."""
    return _change(cp, request, _members(request))


def update_cluster_settings(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {cluster}."""
    return _change(cp, request, _members(request))


def put_cluster_capacity_providers(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {cluster}. Both lists replace what was there; an empty strategy is none."""
    return _change(cp, request, _members(request))


def _members(request: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a cluster that a request gives, checked. Raises InvalidParameterException."""
    members: dict[str, Any] = {}
    if request.get("tags"):
        members["tags"] = checked(request["tags"])
    if request.get("settings"):
        members["settings"] = checked_settings(request["settings"])
    if request.get("configuration"):
        members["configuration"] = checked_configuration(request["configuration"])
    if "capacityProviders" in request:
        members["capacity_providers"] = checked_providers(request["capacityProviders"])
    if "defaultCapacityProviderStrategy" in request:
        members["default_capacity_provider_strategy"] = checked_strategy(
            request["defaultCapacityProviderStrategy"],
            request.get("capacityProviders", ()),
            unsupported=InvalidParameterException,
        )
    return members


def _require_the_same(existing: Cluster, members: Mapping[str, Any]) -> None:
    if any(getattr(existing, name) != value for name, value in members.items()):
        raise InvalidParameterException(
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
        )


def _change(cp: ControlPlane, request: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    def decide_and_commit(_attempt: int) -> Cluster:
        cluster = require_cluster(cp, request["cluster"])
        if not members:
            return cluster
        after = cluster.model_copy(update=members)
        change = clusters.changed(after, members)
        to_hold = to_associate(cp, members.get("capacity_providers", ()))
        if to_hold:
            cp.table.commit([change, *to_hold])
            return clusters.load(cp.table, cluster.name) or after
        return Cluster.model_validate(cp.table.update(change))

    cluster = until_answered(cp, decide_and_commit, what="cluster")
    return {"cluster": _described(cp, cluster, EVERYTHING)}


def _described(cp: ControlPlane, cluster: Cluster, include: Collection[str]) -> dict[str, Any]:
    if cluster.status is ClusterStatus.INACTIVE:
        return describe_cluster(cluster, cp.arns, instances=(), tasks=(), services=(), include=include)
    shards = sorted(cluster.shards)
    return describe_cluster(
        cluster,
        cp.arns,
        instances=instances.of_cluster(cp.table, cluster.name, shards) if shards else (),
        tasks=tasks.of_cluster(cp.table, cluster.name, shards) if shards else (),
        services=services.of_cluster(cp.table, cluster.name),
        include=include,
    )
