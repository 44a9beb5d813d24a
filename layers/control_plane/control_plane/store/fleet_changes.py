"""What has changed of a large cluster's instances, logged for whoever remembers them.

    the table's stream ──► one item for each batch and cluster ──► what came since one last looked

It only saves reading: what is chosen by it is committed under conditions (rules 1 and 3). A small cluster has no log:
reading it whole costs as little, and a log would cost a write for each change.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeGuard

from control_plane.domain.cluster import Cluster
from control_plane.domain.fleet_change import Change, decoded, encoded
from control_plane.domain.races import ItemChangedError
from control_plane.store import clusters, fleet_snapshots, keys
from control_plane.store.table import Table, Write

OVERLAP = timedelta(seconds=5)
"""Changes that were logged so long before one looked may be seen only now: clocks differ, and reads lag."""
LOOKS_AGAIN = timedelta(minutes=1)
"""How long a function of the stream goes by what a cluster was."""
SETTLING = 2 * LOOKS_AGAIN
"""After this every function of the stream logs."""


@dataclass
class _Known:
    """A cluster, as a function of the stream remembers it."""

    cluster: Cluster | None = None
    cluster_at: datetime | None = None
    """When it was read; the next, when the head of its snapshot was."""
    snapshot: fleet_snapshots.Head | None = None
    snapshot_at: datetime | None = None
    logged: int = 0
    """Batches, since that snapshot was first seen here."""


class FollowedClusters:
    """Which clusters' changes are to be logged, and when the log is to be shortened, for a function of the stream."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[str, _Known] = {}

    def follows(self, name: str, now: datetime) -> bool:
        """Once a cluster has instances under all of its keys, some hundreds, it is followed for good."""
        known = self._known.setdefault(name, _Known())
        if known.cluster_at is None or now - known.cluster_at >= LOOKS_AGAIN:
            known.cluster, known.cluster_at = clusters.load(self._table, name, consistent=False), now
            if _is_large(known.cluster) and known.cluster.followed_since is None:
                with suppress(ItemChangedError):  # another one has said so, or the cluster is gone
                    self._table.commit([clusters.followed(name, now)])
        return _is_large(known.cluster)

    def outgrown(self, name: str, now: datetime) -> str | None:
        """To be asked once for each batch that was logged: the id of the snapshot that is to be replaced, empty if
        there is none; None: there is a good one, as far as is known here."""
        known = self._known[name]
        known.logged += 1
        many = known.logged >= fleet_snapshots.MANY
        if known.snapshot_at is not None and now - known.snapshot_at < (OVERLAP if many else LOOKS_AGAIN):
            return None
        head, known.snapshot_at = fleet_snapshots.head(self._table, name), now
        if head is None:
            return ""
        if head != known.snapshot:
            known.snapshot, known.logged, many = head, 0, False
        since = known.cluster.followed_since if known.cluster else None
        good = not many and not head.is_old(now) and (since is None or head.is_of_use(since, now))
        return None if good else head.snapshot_id


def _is_large(cluster: Cluster | None) -> TypeGuard[Cluster]:
    return cluster is not None and len(cluster.shards) == keys.INSTANCE_SHARDS


def is_complete(cluster: Cluster, now: datetime) -> bool:
    """Whether every change from now on is logged."""
    return cluster.followed_since is not None and now - cluster.followed_since >= SETTLING


def log(table: Table, cluster: str, changes: Iterable[Change], now: datetime, name: str) -> None:
    """`name` tells entries of the same moment apart; the same one again is the same entry."""
    item = {"changes": encoded(changes), "expiresAt": fleet_snapshots.expires(now)}
    table.commit([Write("Put", keys.changes(cluster, now, name), ItemChangedError(name), item=item)])


def since(table: Table, cluster: str, at: datetime) -> list[Change]:
    """What was logged since `at`, and some of what was before; in no order, and some of it more than once."""
    beginnings = keys.changes_since(cluster, at - OVERLAP)
    with ThreadPoolExecutor(max_workers=len(beginnings)) as threads:
        found = threads.map(lambda key: list(table.query_from(key.pk, key.sk, consistent=False)), beginnings)
    return [change for items in found for item in items for change in decoded(item["changes"])]
