"""Services, the list of each one's tasks, and what their users are told."""

from collections.abc import Iterable
from datetime import timedelta

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.races import ServiceChangedError
from control_plane.domain.service import Service, ServiceEvent
from control_plane.domain.task import Task
from control_plane.store import keys, tasks
from control_plane.store.items import Item, attributes
from control_plane.store.table import Table, Write

KIND = "service"
EVENT_KIND = "serviceEvent"
EVENTS_KEPT = timedelta(days=30)
EVENTS_SHOWN = 100


def to_item(service: Service) -> Item:
    return {**attributes(service), "kind": KIND}


def load(table: Table, cluster: str, name: str, *, consistent: bool = True) -> Service | None:
    item = table.get(keys.service(cluster, name), consistent=consistent)
    return None if item is None else Service.model_validate(item)


def load_many(table: Table, wanted: Iterable[ServiceKey]) -> dict[ServiceKey, Service]:
    """Those that exist."""
    found = table.get_many([keys.service(key.cluster, key.service) for key in wanted])
    loaded = [Service.model_validate(item) for item in found.values()]
    return {ServiceKey(service.cluster, service.name): service for service in loaded}


def of_cluster(table: Table, cluster: str, *, consistent: bool = False) -> list[Service]:
    items = table.query_many(keys.service_partitions(cluster), consistent=consistent)
    return sorted((Service.model_validate(item) for item in items), key=lambda service: service.name)


def created(service: Service, replaces: Service | None) -> Write:
    """A new service; its name may be that of one that is INACTIVE."""
    return Write(
        "Put",
        keys.service(service.cluster, service.name),
        ServiceChangedError(service.name),
        item=to_item(service),
        condition="#lock = :lock" if replaces else "attribute_not_exists(#pk)",
        values={":lock": replaces.lock} if replaces else {},
    )


def changed(before: Service, after: Service) -> Write:
    """The service as it is now, if nobody wrote it since `before` was read."""
    return Write(
        "Put",
        keys.service(after.cluster, after.name),
        ServiceChangedError(after.name),
        item={**to_item(after), "lock": before.lock + 1},
        condition="#lock = :lock",
        values={":lock": before.lock},
    )


def line_of(service: Service, task_id: str) -> keys.Key:
    """Where a task that joins the service's list is listed."""
    return keys.service_task(service.cluster, service.name, service.shards, task_id)


def listed(service: Service, task_id: str) -> Write:
    """A task joins the service's list, in the transaction that creates it."""
    return Write(
        "Put",
        line_of(service, task_id),
        ServiceChangedError(service.name),
        item={"shards": service.shards},
    )


def struck(service: Service, key: keys.Key) -> Write:
    """A task that has stopped leaves the list, in the commit that counts its end."""
    return Write("Delete", key, ServiceChangedError(service.name), condition="attribute_exists(#pk)")


def list_of(table: Table, service: Service) -> dict[str, tuple[keys.Key, Task | None]]:
    """The tasks on a service's list, strongly consistent, by id, with the key that lists each."""
    partitions = keys.service_task_partitions(service.cluster, service.name, service.shards)
    items = table.query_many(partitions)
    lines = {str(item.get("taskId") or item["sk"]): keys.Key(item["pk"], item["sk"]) for item in items}
    found = tasks.load_listed(table, service.cluster, lines)
    return {task_id: (key, found.get(task_id)) for task_id, key in lines.items()}


def told(event: ServiceEvent) -> Write:
    """A service event. Its key is its time and id, so that writing it again changes nothing."""
    return Write(
        "Put",
        keys.service_event(event.cluster, event.service, event.created_at, event.event_id),
        ServiceChangedError(event.service),
        item={
            **attributes(event),
            "kind": EVENT_KIND,
            "expiresAt": int((event.created_at + EVENTS_KEPT).timestamp()),
        },
    )


def events(table: Table, cluster: str, name: str, limit: int = EVENTS_SHOWN) -> list[ServiceEvent]:
    """The newest first."""
    partition = keys.service_events_partition(cluster, name)
    items = table.query(partition, consistent=False, newest_first=True, limit=limit)
    return [ServiceEvent.model_validate(item) for item in items]
