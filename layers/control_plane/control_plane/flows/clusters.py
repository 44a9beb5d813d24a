"""CreateCluster, DescribeClusters, ListClusters.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCluster.html
"""

import re
from collections.abc import Mapping
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.cluster import DEFAULT_CLUSTER, Cluster
from control_plane.domain.description import describe_cluster
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.pages import page_of
from control_plane.domain.races import ItemChangedError
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, services, tasks


def create_cluster(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {cluster}. One that exists already is answered as it is, as by Amazon ECS."""
    name = request.get("clusterName") or DEFAULT_CLUSTER
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise InvalidParameterException(
            "The specified cluster name is invalid: up to 255 letters (uppercase and lowercase), numbers, underscores, "
            "and hyphens are allowed."
        )
    try:
        cluster = Cluster(name=name, created_at=cp.clock())
        cp.table.commit([clusters.created(cluster)])
        return {"cluster": describe_cluster(cluster, cp.arns, instances=(), tasks=(), services=())}
    except ItemChangedError:
        existing = clusters.load(cp.table, name)
        if existing is None:
            raise
        return {"cluster": _described(cp, existing)}


def describe_clusters(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {clusters, failures}; of the cluster `default` if the request names none."""
    names = list(dict.fromkeys(request.get("clusters") or [DEFAULT_CLUSTER]))
    found = {name: clusters.load(cp.table, resource_name(name)) for name in names}
    return {
        "clusters": [_described(cp, cluster) for cluster in found.values() if cluster],
        "failures": [
            {"arn": cp.arns.cluster(resource_name(name)), "reason": "MISSING"}
            for name, cluster in found.items()
            if cluster is None
        ],
    }


def list_clusters(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {clusterArns, nextToken}."""
    names = [cluster.name for cluster in clusters.every(cp.table)]
    page, token = page_of(names, request.get("nextToken"), request.get("maxResults", 100))
    answer: dict[str, Any] = {"clusterArns": [cp.arns.cluster(name) for name in page]}
    return {**answer, "nextToken": token} if token else answer


def _described(cp: ControlPlane, cluster: Cluster) -> dict[str, Any]:
    shards = sorted(cluster.shards)
    return describe_cluster(
        cluster,
        cp.arns,
        instances=instances.of_cluster(cp.table, cluster.name, shards) if shards else (),
        tasks=tasks.of_cluster(cp.table, cluster.name, shards) if shards else (),
        services=services.of_cluster(cp.table, cluster.name),
    )
