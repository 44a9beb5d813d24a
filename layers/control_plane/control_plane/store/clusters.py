"""Clusters. What puts a first thing into one goes with `open_for`; see flows/delete_cluster.py."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes, replacing, unchanged
from control_plane.store.table import Table, Write

KEPT = timedelta(days=30)
"""How long a deleted cluster is described as INACTIVE, unless its name is used again."""


def load(table: Table, name: str, *, consistent: bool = True) -> Cluster | None:
    item = table.get(keys.cluster(name), consistent=consistent)
    return None if item is None else Cluster.model_validate(item)


def everyone(table: Table) -> list[Cluster]:
    """Strongly consistent; those that are INACTIVE, too."""
    return [Cluster.model_validate(item) for item in table.query_many(keys.cluster_partitions())]


def created(cluster: Cluster, replaces: Cluster | None) -> Write:
    """A new cluster; its name may be that of one that is INACTIVE."""
    return Write(
        "Put",
        keys.cluster(cluster.name),
        ItemChangedError(cluster.name),
        item=attributes(cluster),
        condition="#status = :inactive AND #createdAt = :before" if replaces else "attribute_not_exists(#pk)",
        values={":inactive": ClusterStatus.INACTIVE, ":before": replaces.created_at} if replaces else {},
    )


def changed(after: Cluster, members: Iterable[str]) -> Write:
    """These members as they are now, whole, and no others: nobody else's change is lost."""
    now = after.model_dump(by_alias=True, include=set(members))
    return Write(
        "Update",
        keys.cluster(after.name),
        ItemChangedError(after.name),
        update="SET " + ", ".join(f"#{member} = :{member}" for member in now),
        condition="#status = :active",
        values={":active": ClusterStatus.ACTIVE, **{f":{member}": value for member, value in now.items()}},
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


def followed(name: str, now: datetime) -> Write:
    """Note, once for all, that changes of its instances are logged from now on."""
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="SET #followedSince = :now",
        condition="#status = :active AND attribute_not_exists(#followedSince)",
        values={":now": now, ":active": ClusterStatus.ACTIVE},
    )


def open_for(cluster: Cluster, *, daemon: str | None = None) -> Write:
    """The cluster is the one that was read, and no deletion has closed it. `daemon`: a DAEMON service comes into it."""
    return Write(
        "Update" if daemon else "ConditionCheck",
        keys.cluster(cluster.name),
        ItemChangedError(cluster.name),
        update="ADD #daemons :daemon" if daemon else None,
        condition="#status = :active AND #createdAt = :createdAt AND attribute_not_exists(#closedBy)",
        values={
            ":active": ClusterStatus.ACTIVE,
            ":createdAt": cluster.created_at,
            **({":daemon": {daemon}} if daemon else {}),
        },
    )


def without_daemon(name: str, daemon: str) -> Write:
    """The DAEMON service is ACTIVE no more."""
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="DELETE #daemons :daemon",
        condition="attribute_exists(#pk)",
        values={":daemon": {daemon}},
    )


def closed(name: str, deletion: str, now: datetime) -> Write:
    """For one deletion at a time; closing it again for the same one changes nothing."""
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="SET #closedBy = :deletion, #closedAt = :now",
        condition="#status = :active AND (attribute_not_exists(#closedBy) OR #closedBy = :deletion)",
        values={":deletion": deletion, ":now": now, ":active": ClusterStatus.ACTIVE},
    )


def opened(name: str, deletion: str) -> Write:
    """Raises ItemChangedError if it is not closed for this deletion any more."""
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="REMOVE #closedBy, #closedAt",
        condition="#closedBy = :deletion",
        values={":deletion": deletion},
    )


def deleted(name: str, deletion: str, now: datetime) -> Write:
    """INACTIVE, if it has been closed for this deletion all the while. Nothing is in it: its keys go, and its tags."""
    return Write(
        "Update",
        keys.cluster(name),
        ItemChangedError(name),
        update="SET #status = :inactive, #expiresAt = :expiresAt"
        " REMOVE #closedBy, #closedAt, #shards, #followedSince, #tags",
        condition="#closedBy = :deletion",
        values={
            ":inactive": ClusterStatus.INACTIVE,
            ":expiresAt": int((now + KEPT).timestamp()),
            ":deletion": deletion,
        },
    )


def tagged(cluster: Cluster, tags: Mapping[str, str]) -> Write:
    """Other tags, if they are those still that were read."""
    condition, before = unchanged("tags", cluster.tags)
    update, after = replacing("tags", tags)
    return Write(
        "Update",
        keys.cluster(cluster.name),
        ItemChangedError(cluster.name),
        update=update,
        condition=f"#status = :active AND {condition}",
        values={":active": ClusterStatus.ACTIVE, **before, **after},
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
