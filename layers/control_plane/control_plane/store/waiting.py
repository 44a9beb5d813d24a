"""Who waits for capacity, oldest first within each of a few keys, and whether anybody does."""

from datetime import datetime, timedelta

from control_plane.domain.races import ItemChangedError
from control_plane.domain.waiting import Waiting, WaitingEvent
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write

NOTED = timedelta(hours=1)
"""How long the note says that somebody may wait. Whoever waits looks again several times within it, and renews it."""


def begun(waiting: Waiting) -> Write:
    """Or begun anew, with other wants."""
    return Write("Put", _key(waiting), ItemChangedError(waiting.name), item=attributes(waiting))


def is_said(table: Table, waiting: Waiting) -> bool:
    """Whether it stands in the line already, with the same wants."""
    item = table.get(_key(waiting))
    return item is not None and waiting.wants_the_same(Waiting.model_validate(item))


def ended(
    cluster: str,
    since: datetime,
    *,
    service: str | None = None,
    task_set: str | None = None,
    request_id: str | None = None,
) -> Write:
    key = _key(Waiting(cluster=cluster, since=since, service=service, task_set=task_set, request_id=request_id))
    return Write("Delete", key, ItemChangedError(key.sk))


def of_cluster(table: Table, cluster: str) -> list[Waiting]:
    items = table.query_many(keys.waiting_partitions(cluster), consistent=False)
    return [Waiting.model_validate(item) for item in items]


def note(table: Table, cluster: str, now: datetime) -> None:
    """Say that somebody may wait in the cluster, before saying who. Mostly somebody has said so before."""
    key = keys.waiting_note(cluster)
    noted = table.get(key)
    if noted is None or noted["until"] < (now + NOTED / 2).timestamp():
        until = int((now + NOTED).timestamp())
        item = {"until": until, "expiresAt": until}
        table.commit([Write("Put", key, ItemChangedError(cluster), item=item)])


def anybody(table: Table, cluster: str, now: datetime) -> bool:
    """Whether somebody may wait in the cluster: half a read unit, for whoever sees capacity appear."""
    noted = table.get(keys.waiting_note(cluster), consistent=False)
    return noted is not None and bool(noted["until"] >= now.timestamp())


def load_event(table: Table, request_id: str) -> WaitingEvent | None:
    item = table.get(keys.waiting_event(request_id))
    return None if item is None else WaitingEvent.model_validate(item)


def event_changed(before: WaitingEvent | None, after: WaitingEvent) -> Write:
    """The event as it waits now, if nobody has taken it further since `before` was read."""
    return Write(
        "Put",
        keys.waiting_event(after.request_id),
        ItemChangedError(after.request_id),
        item=attributes(after),
        condition="#placed = :placed" if before else "attribute_not_exists(#pk)",
        values={":placed": before.placed} if before else {},
    )


def event_ended(event: WaitingEvent) -> list[Write]:
    """Nothing is left to do for it: both of its items go, unless somebody has taken it further."""
    return [
        Write(
            "Delete",
            keys.waiting_event(event.request_id),
            ItemChangedError(event.request_id),
            condition="attribute_not_exists(#pk) OR #placed = :placed",
            values={":placed": event.placed},
        ),
        ended(event.cluster, event.since, request_id=event.request_id),
    ]


def _key(waiting: Waiting) -> keys.Key:
    return keys.waiting(waiting.cluster, waiting.since, waiting.name)
