"""Clusters."""

from datetime import datetime

from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write


def load(table: Table, name: str, *, consistent: bool = True) -> Cluster | None:
    item = table.get(keys.cluster(name), consistent=consistent)
    return None if item is None else Cluster.model_validate(item)


def created(cluster: Cluster) -> Write:
    return Write(
        "Put",
        keys.cluster(cluster.name),
        ItemChangedError(cluster.name),
        item=attributes(cluster),
        condition="attribute_not_exists(#pk)",
    )


def holds_instances_in(name: str, shard: int) -> Write:
    """Note, once for each, that a key of the cluster holds an instance."""
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="ADD #shards :shards",
        condition="#status = :active",
        values={":shards": {shard}, ":active": ClusterStatus.ACTIVE},
    )


def resumed(name: str, now: datetime) -> Write:
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="SET #resumedAt = :now",
        condition="attribute_exists(#pk)",
        values={":now": now},
    )


def every(table: Table) -> list[Cluster]:
    items = table.query_many(keys.cluster_partitions(), consistent=False)
    return sorted((Cluster.model_validate(item) for item in items), key=lambda cluster: cluster.name)
