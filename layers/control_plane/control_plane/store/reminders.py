"""Reminders, ordered by time within each of a fixed number of keys, so that the sweeper reads only what is due."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from control_plane.domain.inbox import InstanceLook, Look, ServiceKey
from control_plane.domain.reminders import EventLook, Reminder, ServiceLook
from control_plane.store import keys
from control_plane.store.items import Item
from control_plane.store.table import Table


def remind(table: Table, reminders: Iterable[Reminder]) -> None:
    """Store reminders, before the deed that they watch over. Storing one again changes nothing."""
    table.put_many({_key(reminder): _item(reminder) for reminder in reminders})


def due(table: Table, now: datetime) -> Iterator[Reminder]:
    """Those whose time has come."""
    for partition in keys.reminder_partitions():
        for item in table.query_before(partition, keys.time_key(int(now.timestamp()) + 1)):
            yield _from_item(item)


def forget(table: Table, reminders: Iterable[Reminder]) -> None:
    """They have been handed on."""
    table.delete_many([_key(reminder) for reminder in reminders])


def _key(reminder: Reminder) -> keys.Key:
    match reminder:
        case InstanceLook():
            return keys.reminder(reminder.at, f"I#{reminder.look}", reminder.cluster, reminder.instance_id)
        case ServiceLook():
            return keys.reminder(reminder.at, *_of_service(reminder.service))
        case EventLook():
            return keys.reminder(reminder.at, "E", reminder.cluster, reminder.request_id)


def _of_service(key: ServiceKey) -> tuple[str, str, str]:
    """Those of one service about its instances do not all lie in one partition."""
    if key.instance_id is None:
        return "S", key.cluster, key.service
    return "D", key.cluster, f"{key.service}#{key.instance_id}"


def _item(reminder: Reminder) -> Item:
    match reminder:
        case InstanceLook():
            return {
                "at": reminder.at,
                "cluster": reminder.cluster,
                "instanceId": reminder.instance_id,
                "look": reminder.look,
                "epoch": reminder.epoch,
            }
        case ServiceLook():
            key = reminder.service
            about = {"at": reminder.at, "cluster": key.cluster, "service": key.service}
            return about | ({"instanceId": key.instance_id} if key.instance_id else {})
        case EventLook():
            return {"at": reminder.at, "cluster": reminder.cluster, "requestId": reminder.request_id}


def _from_item(item: Item) -> Reminder:
    if "service" in item:
        return ServiceLook(ServiceKey(item["cluster"], item["service"], item.get("instanceId")), item["at"])
    if "requestId" in item:
        return EventLook(item["cluster"], item["requestId"], item["at"])
    return InstanceLook(item["cluster"], item["instanceId"], Look(item["look"]), item["at"], item["epoch"])
