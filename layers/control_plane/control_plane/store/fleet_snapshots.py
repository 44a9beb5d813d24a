"""All instances of a large cluster in a few items, for a function that begins: it reads these, and then the log.

    the log has grown ──► the scheduler's queue ──► every instance is read ──► parts, then the head ──► who begins
                                                                                        └──► the former one's parts go

Reading 10,000 instances takes a function most of a second, and 643 units. So it is done behind the scenes, and only
where something changes: as long as nothing does, a snapshot with an empty log after it is what there is.
"""

import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.fleet_change import OF_NO_PLACEMENT
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.table import Table, Write

KEPT = timedelta(days=1)
"""How long a snapshot, and what was logged after it, can be relied upon."""
OLD = timedelta(minutes=30)
"""After which the next change has a new one made. What the log has missed is found by then."""
MANY = 500
"""Batches that one function has logged, after which there is a new one made, too: whoever begins reads them all."""
_PART_BYTES = 300_000
"""An item has at most 400 KB."""
_FLEET = TypeAdapter(list[ContainerInstance])
_LEFT_OUT = {"__all__": set(OF_NO_PLACEMENT) - {"updated_at"}}


@dataclass(frozen=True)
class Head:
    """What says that there is a snapshot."""

    snapshot_id: str
    at: datetime
    """Every instance was read after this."""
    parts: int

    def is_of_use(self, followed_since: datetime, now: datetime) -> bool:
        """Whether all changes since are still there. One from before is of a former cluster of that name."""
        return followed_since <= self.at and now - self.at < KEPT

    def is_old(self, now: datetime) -> bool:
        return now - self.at >= OLD


def head(table: Table, cluster: str, *, consistent: bool = False) -> Head | None:
    item = table.get(keys.snapshot(cluster), consistent=consistent)
    return None if item is None else Head(item["id"], datetime.fromisoformat(item["at"]), item["parts"])


def load(
    table: Table, cluster: str, followed_since: datetime, now: datetime
) -> tuple[datetime, list[ContainerInstance]] | None:
    """As of when, and the instances as placement sees them; None if there is none that the log can be applied to."""
    for consistent in (False, True):  # a newer one may take its place, and its parts away, while it is being read
        found = head(table, cluster, consistent=consistent)
        if found is None or not found.is_of_use(followed_since, now):
            return None
        content = _content(table, cluster, found, consistent=consistent)
        if content is not None:
            return found.at, _FLEET.validate_json(zlib.decompress(content))
    return None


def keep(
    table: Table,
    cluster: str,
    members: Iterable[ContainerInstance],
    *,
    at: datetime,
    snapshot_id: str,
    former: Head | None,
) -> None:
    """In the place of the former one, if that is still there.

    The head comes last: who finds it finds all parts. What this leaves behind where it dies expires; of two at once the
    second finds that the head is another one.
    """
    content = zlib.compress(_FLEET.dump_json(list(members), by_alias=True, exclude_defaults=True, exclude=_LEFT_OUT))
    parts = [content[start : start + _PART_BYTES] for start in range(0, len(content), _PART_BYTES)]
    made = Head(snapshot_id, at, len(parts))
    places = _places(cluster, made)
    table.put_many(
        {place: {"content": part, "expiresAt": expires(at)} for place, part in zip(places, parts, strict=True)}
    )
    try:
        table.commit(
            [
                Write(
                    "Put",
                    keys.snapshot(cluster),
                    ItemChangedError(cluster),
                    item={"at": at, "id": snapshot_id, "parts": made.parts, "expiresAt": expires(at)},
                    condition="#id = :former" if former else "attribute_not_exists(#pk)",
                    values={":former": former.snapshot_id} if former else {},
                )
            ]
        )
    except ItemChangedError:
        there = head(table, cluster, consistent=True)
        if there is None or there.snapshot_id != snapshot_id:  # else it was written, and came again
            table.delete_many(places)
            return
    if former is not None:
        table.delete_many(_places(cluster, former))


def expires(at: datetime) -> int:
    """Some time after it can be relied upon; DynamoDB removes it then, or days later."""
    return int((at + 2 * KEPT).timestamp())


def _places(cluster: str, found: Head) -> list[keys.Key]:
    return [keys.snapshot_part(cluster, found.snapshot_id, number) for number in range(found.parts)]


def _content(table: Table, cluster: str, found: Head, *, consistent: bool) -> bytes | None:
    """None if a part is missing."""
    with ThreadPoolExecutor(max_workers=found.parts) as threads:
        parts = list(threads.map(lambda key: table.get(key, consistent=consistent), _places(cluster, found)))
    content = [part["content"] for part in parts if part is not None]
    return b"".join(content) if len(content) == found.parts else None
