"""What has changed of a large cluster's instances, logged for ten minutes; and, made from time to time, all of them.

    the table's stream ──► one item for each batch and cluster ──► whoever remembers the fleet reads what came since
    a function that has read every instance ──► a snapshot ──► a function that begins

Both only save reading: what is chosen by them is committed under conditions (rules 1 and 3). Small clusters have
neither: reading them whole costs as little, and a log would cost a write for each change.
"""

import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from control_plane.domain.cluster import Cluster
from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.fleet_change import OF_NO_PLACEMENT, Change, decoded, encoded
from control_plane.domain.races import ItemChangedError
from control_plane.store import clusters, keys
from control_plane.store.table import Table, Write

KEPT = timedelta(minutes=10)
"""At least: how long changes and snapshots can be relied upon. DynamoDB removes them within days."""
OVERLAP = timedelta(seconds=5)
"""Changes that were logged so long before one looked may be seen only now: clocks differ, and reads lag."""
LOOKS_AGAIN = timedelta(minutes=1)
"""How long a function of the stream goes by what a cluster was."""
SETTLING = 2 * LOOKS_AGAIN
"""After this every function of the stream logs."""
CLAIMED = timedelta(seconds=30)
_PART_BYTES = 300_000
"""An item has at most 400 KB."""
_FLEET = TypeAdapter(list[ContainerInstance])
_LEFT_OUT = {"__all__": set(OF_NO_PLACEMENT) - {"updated_at"}}


class FollowedClusters:
    """Which clusters' changes are to be logged, for a function that reads the stream."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[str, tuple[datetime, bool]] = {}

    def follows(self, name: str, now: datetime) -> bool:
        """Once a cluster has instances under all of its keys, some hundreds, it is followed for good."""
        at, follows = self._known.get(name, (now - LOOKS_AGAIN, False))
        if not follows and now - at >= LOOKS_AGAIN:
            cluster = clusters.load(self._table, name, consistent=False)
            follows = cluster is not None and len(cluster.shards) == keys.INSTANCE_SHARDS
            if cluster is not None and follows and cluster.followed_since is None:
                with suppress(ItemChangedError):  # another one has said so, or the cluster is gone
                    self._table.commit([clusters.followed(name, now)])
            self._known[name] = (now, follows)
        return follows


def is_complete(cluster: Cluster, now: datetime) -> bool:
    """Whether every change from now on is logged."""
    return cluster.followed_since is not None and now - cluster.followed_since >= SETTLING


def log(table: Table, cluster: str, changes: Iterable[Change], now: datetime, name: str) -> None:
    """`name` tells entries of the same moment apart; the same one again is the same entry."""
    item = {"changes": encoded(changes), "expiresAt": _expires(now)}
    table.commit([Write("Put", keys.changes(cluster, now, name), ItemChangedError(name), item=item)])


def since(table: Table, cluster: str, at: datetime) -> list[Change]:
    """What was logged since `at`, and some of what was before; in no order, and some of it more than once."""
    beginnings = keys.changes_since(cluster, at - OVERLAP)
    with ThreadPoolExecutor(max_workers=len(beginnings)) as threads:
        found = threads.map(lambda key: list(table.query_from(key.pk, key.sk, consistent=False)), beginnings)
    return [change for items in found for item in items for change in decoded(item["changes"])]


def snapshot(table: Table, cluster: str, now: datetime) -> tuple[datetime, list[ContainerInstance]] | None:
    """The instances as placement sees them, and as of when; None if there is none that changes can be applied to."""
    head = table.get(keys.snapshot(cluster), consistent=False)
    if head is None or now - (at := datetime.fromisoformat(head["at"])) >= KEPT - OVERLAP:
        return None
    wanted = [keys.snapshot_part(cluster, head["id"], part) for part in range(head["parts"])]
    with ThreadPoolExecutor(max_workers=len(wanted)) as threads:
        found = list(threads.map(lambda key: table.get(key, consistent=False), wanted))
    if any(part is None for part in found):
        return None
    return at, _FLEET.validate_json(zlib.decompress(b"".join(part["content"] for part in found if part)))


def claim_snapshot(table: Table, cluster: str, now: datetime) -> bool:
    """Whether the caller is to make one: of many functions that begin at once, one does."""
    claim = Write(
        "Put",
        keys.snapshot_claim(cluster),
        ItemChangedError(cluster),
        item={"until": int((now + CLAIMED).timestamp()), "expiresAt": _expires(now)},
        condition="attribute_not_exists(#pk) OR #until < :now",
        values={":now": int(now.timestamp())},
    )
    try:
        table.commit([claim])
    except ItemChangedError:
        return False
    return True


def keep_snapshot(
    table: Table, cluster: str, members: Iterable[ContainerInstance], at: datetime, snapshot_id: str
) -> None:
    """The head comes last: who finds it finds all parts, or, where reads lag, reads the instances themselves."""
    content = zlib.compress(_FLEET.dump_json(list(members), by_alias=True, exclude_defaults=True, exclude=_LEFT_OUT))
    parts = [content[start : start + _PART_BYTES] for start in range(0, len(content), _PART_BYTES)]
    expires = _expires(at)
    for number, part in enumerate(parts):
        key = keys.snapshot_part(cluster, snapshot_id, number)
        item = {"content": part, "expiresAt": expires}
        table.commit([Write("Put", key, ItemChangedError(cluster), item=item)])
    head = {"at": at, "id": snapshot_id, "parts": len(parts), "expiresAt": expires}
    table.commit([Write("Put", keys.snapshot(cluster), ItemChangedError(cluster), item=head)])


def _expires(now: datetime) -> int:
    return int((now + 2 * KEPT).timestamp())
