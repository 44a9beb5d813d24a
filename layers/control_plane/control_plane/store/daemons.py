"""The lines of DAEMON services: what each has on a container instance. They stand in the list of the service's tasks.

A line's key is its instance's, so that a service has one line, and by the condition of its write one task, on an
instance, however many look at it at once.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from control_plane.domain.races import InstanceChangedError, ServiceChangedError
from control_plane.domain.scheduling.daemon_line import Line
from control_plane.domain.service import Service
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write

PAGE = 40
"""Lines that are read at once in search of some: 10 KB, about."""

_FIRST, _LAST = "0", "g"
"""Instance ids are hexadecimal."""


def lines_of(table: Table, service: Service) -> dict[str, Line]:
    """All of a service's lines by instance, strongly consistent."""
    partitions = keys.service_task_partitions(service.cluster, service.name, service.shards)
    lines = [Line.model_validate(item) for item in table.query_many(partitions)]
    return {line.instance_id: line for line in lines}


def lines_on(table: Table, service: Service, instance_ids: Iterable[str]) -> dict[str, Line]:
    """Those on these instances."""
    found = table.get_many([_key(service, instance_id) for instance_id in instance_ids])
    lines = [Line.model_validate(item) for item in found.values()]
    return {line.instance_id: line for line in lines}


def behind(table: Table, service: Service, count: int) -> list[str]:
    """Instances whose tasks are to be replaced, at most so many: those that come after the last ones of such an answer
    (`rolled_up_to`), round and round. So a deployment reads each line once, however few may be down at a time.

    Candidates, never the answer (rule 3).
    """
    partitions = keys.service_task_partitions(service.cluster, service.name, service.shards)
    last = service.rolled_up_to
    if last is None:
        parts = [(partition, _FIRST, _LAST) for partition in partitions]
    else:
        here = partitions.index(_key(service, last).pk)
        others = [*partitions[here + 1 :], *partitions[:here]]
        parts = [
            (partitions[here], _after(last), _LAST),
            *((partition, _FIRST, _LAST) for partition in others),
            (partitions[here], _FIRST, last),
        ]
    found = (line.instance_id for part in parts for line in _lines_between(table, *part) if line.behind)
    return list(islice(found, count))


def _lines_between(table: Table, partition: str, low: str, high: str) -> Iterator[Line]:
    """No more are read than are asked for, by the page."""
    is_all = False
    while not is_all:
        items, is_all = table.query_some(partition, low, high, newest_first=False, limit=PAGE)
        yield from map(Line.model_validate, items)
        low = _after(items[-1]["sk"]) if items else high


def _after(instance_id: str) -> str:
    return f"{instance_id} "


def written(service: Service, instance_id: str, before: Line | None, after: Line | None) -> Write:
    """The line on an instance as it is now (None: none), if its task is still the one that was read."""
    had = before.task_id if before is not None else None
    return Write(
        "Put" if after is not None else "Delete",
        _key(service, instance_id),
        ServiceChangedError(service.name),
        item=attributes(after) if after is not None else {},
        condition="#taskId = :taskId" if had else "attribute_not_exists(#taskId)",
        values={":taskId": had} if had else {},
    )


def waits(cluster: str, instance_id: str, service: str, now: datetime) -> Write:
    """Any change of the instance is to wake the service; and this one does, should there have been one meanwhile."""
    return _looked(cluster, instance_id, service, "ADD #daemonsWaiting :service DELETE #daemonsDue :service", now)


def seen(cluster: str, instance_id: str, service: str, now: datetime) -> Write:
    """The service is done with the instance."""
    return _looked(cluster, instance_id, service, "DELETE #daemonsDue :service, #daemonsWaiting :service", now)


def _looked(cluster: str, instance_id: str, service: str, update: str, now: datetime) -> Write:
    return Write(
        "Update",
        keys.instance(cluster, instance_id),
        InstanceChangedError(instance_id),
        update=f"SET #daemonsSeenAt = :now, #updatedAt = :now {update}",
        condition="attribute_exists(#pk)",
        values={":service": frozenset({service}), ":now": now},
    )


def _key(service: Service, instance_id: str) -> keys.Key:
    return keys.service_task(service.cluster, service.name, service.shards, instance_id)
