"""Container instances. What an instance has left is only ever written here, under the conditions of rules 1 and 2."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from control_plane.domain.container_instance import (
    ContainerInstance,
    InstanceStatus,
    Registration,
    port_names,
)
from control_plane.domain.held import Left
from control_plane.domain.orphan import OrphanTask
from control_plane.domain.races import InstanceChangedError, ItemChangedError
from control_plane.domain.resources import Resources
from control_plane.store import keys
from control_plane.store.items import Item, attributes, replacing, unchanged
from control_plane.store.pages import Part, beginning
from control_plane.store.table import Table, Write

KIND = "containerInstance"
REGISTRATION_KIND = "registration"


def to_item(instance: ContainerInstance) -> Item:
    return {**attributes(instance), "kind": KIND}


def from_item(item: Item) -> ContainerInstance:
    return ContainerInstance.model_validate(item)


def load(table: Table, cluster: str, instance_id: str) -> ContainerInstance | None:
    item = table.get(keys.instance(cluster, instance_id))
    return None if item is None else from_item(item)


def load_many(table: Table, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ContainerInstance]:
    """Those that exist, by cluster and instance id."""
    found = table.get_many([keys.instance(cluster, instance_id) for cluster, instance_id in wanted])
    return {(item["cluster"], item["instanceId"]): from_item(item) for item in found.values()}


def load_registration(table: Table, cluster: str, instance_id: str) -> Registration | None:
    item = table.get(keys.registration(cluster, instance_id))
    return None if item is None else Registration.model_validate(item)


def load_registrations(table: Table, wanted: Iterable[ContainerInstance]) -> dict[str, Registration]:
    """Those that exist, by instance id; eventually consistent."""
    places = [keys.registration(instance.cluster, instance.instance_id) for instance in wanted]
    found = [Registration.model_validate(item) for item in table.get_many(places, consistent=False).values()]
    return {registration.instance_id: registration for registration in found}


def of_cluster(
    table: Table, cluster: str, shards: Sequence[int], *, consistent: bool = False
) -> list[ContainerInstance]:
    """Every instance of a cluster; unless `consistent`, candidates, never the answer (rule 3)."""
    partitions = [keys.instance_partition(cluster, shard) for shard in sorted(shards)]
    return [from_item(item) for item in table.query_many(partitions, "I#", consistent=consistent)]


def parts_of_cluster(cluster: str, shards: Iterable[int]) -> list[Part]:
    """Where a cluster's instances are, for a walk."""
    return [beginning(f"{shard:02d}", keys.instance_partition(cluster, shard), "I#") for shard in sorted(shards)]


def created(instance: ContainerInstance) -> Write:
    """An instance that the table did not know."""
    return Write(
        "Put",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        item=to_item(instance),
        condition="attribute_not_exists(#pk)",
    )


def registered_again(before: ContainerInstance, after: ContainerInstance, totals: Resources) -> Write:
    """The same instance under a new registration. `totals` is by how much its totals have grown.

    What is left is changed by the difference, not set: tasks may be placed and released meanwhile.
    """
    return Write(
        "Update",
        keys.instance(after.cluster, after.instance_id),
        InstanceChangedError(after.instance_id),
        update=(
            "SET #registration = :registration, #capabilities = :capabilities, #attributes = :attributes,"
            " #agentVersion = :agentVersion, #registeredAt = :now,"
            " #updatedAt = :now"
            + (", #agentConnected = :true" if after.agent_connected else "")
            + (", #connectionChangedAt = :now" if after.agent_connected and not before.agent_connected else "")
            + (", #reservedPorts = :reservedPorts" if after.reserved_ports else "")
            + (", #daemonsDue = :daemonsDue, #daemonsDueAt = :now" if after.daemons_due else "")
            + " REMOVE #sessionEndedAt"
            + ("" if after.reserved_ports else ", #reservedPorts")
            + " ADD #cpu :cpu, #memory :memory, #version :one, #epoch :one"
        ),
        condition="#registration = :before AND #status <> :inactive",
        values={
            ":registration": after.registration,
            ":before": before.registration,
            ":inactive": InstanceStatus.INACTIVE,
            ":capabilities": after.capabilities,
            ":attributes": after.attributes,
            ":agentVersion": after.agent_version,
            **({":reservedPorts": after.reserved_ports} if after.reserved_ports else {}),
            **({":daemonsDue": after.daemons_due} if after.daemons_due else {}),
            **({":true": True} if after.agent_connected else {}),
            ":now": after.updated_at,
            ":cpu": totals.cpu,
            ":memory": totals.memory,
            ":one": 1,
        },
    )


def described(registration: Registration, before: Registration | None) -> Write:
    """The registration item, if the tags of the one before are still those; goes with the write of the instance, whose
    condition guards the rest."""
    condition, values = unchanged("tags", before.tags if before else {})
    return Write(
        "Put",
        keys.registration(registration.cluster, registration.instance_id),
        InstanceChangedError(registration.instance_id),
        item={**attributes(registration), "kind": REGISTRATION_KIND},
        condition=condition,
        values=values,
    )


def tagged(registration: Registration, tags: Mapping[str, str]) -> Write:
    """Other tags, if they are those still that were read."""
    condition, before = unchanged("tags", registration.tags)
    update, after = replacing("tags", tags)
    return Write(
        "Update",
        keys.registration(registration.cluster, registration.instance_id),
        InstanceChangedError(registration.instance_id),
        update=update,
        condition=f"attribute_exists(#pk) AND {condition}",
        values={**before, **after},
    )


def taken(
    cluster: str,
    instance_id: str,
    registration: int,
    wanted: Sequence[Resources],
    now: datetime,
    *,
    believed: Mapping[str, int] | None = None,
    daemon: str | None = None,
) -> Write:
    """Take the resources of tasks that are placed together, if they suffice (rule 1).

    `believed`: other numbers of the item that the decision rests on, which must be as they were; 0: it has none.
    `daemon`: the DAEMON service whose task it is, which is then not due there any more.

    The conditions say what ContainerInstance.shortages says. A resource that is not wanted is not looked at, so that
    an instance below zero still takes what costs it nothing. Host ports of one placement never clash among
    themselves: place() has counted them.
    """
    total = sum(wanted, start=Resources())
    ports = port_names(total)
    conditions = {
        "it is the registration that was decided on": "#registration = :registration",
        "it takes tasks": "#status = :active",
        "CPU suffices": "#cpu >= :cpu" if total.cpu else None,
        "memory suffices": "#memory >= :memory" if total.memory else None,
    }
    beliefs = [
        f"#{name} = :believed{number}" if value else f"attribute_not_exists(#{name})"
        for number, (name, value) in enumerate((believed or {}).items())
    ]
    free_ports = [
        f"NOT contains(#{held}, :port{number})" for number in range(len(ports)) for held in ("ports", "reservedPorts")
    ]
    return Write(
        "Update",
        keys.instance(cluster, instance_id),
        InstanceChangedError(instance_id),
        update=(
            f"SET #updatedAt = :now{', #daemonsSeenAt = :now' if daemon else ''}"
            " ADD #cpu :minusCpu, #memory :minusMemory, #tasks :tasks, #version :one"
            + (", #ports :ports" if ports else "")
            + (" DELETE #daemonsDue :daemon" if daemon else "")
        ),
        condition=" AND ".join([condition for condition in conditions.values() if condition] + beliefs + free_ports),
        values={
            ":registration": registration,
            ":active": InstanceStatus.ACTIVE,
            **({":cpu": total.cpu} if total.cpu else {}),
            **({":memory": total.memory} if total.memory else {}),
            **({":daemon": frozenset({daemon})} if daemon else {}),
            ":minusCpu": -total.cpu,
            ":minusMemory": -total.memory,
            ":tasks": len(wanted),
            ":one": 1,
            ":now": now,
            **({":ports": ports} if ports else {}),
            **{f":port{number}": port for number, port in enumerate(sorted(ports))},
            **{f":believed{number}": value for number, value in enumerate((believed or {}).values()) if value},
        },
    )


def released(
    cluster: str,
    instance_id: str,
    registration: int,
    given: Sequence[Resources],
    now: datetime,
    *,
    daemons: frozenset[str] = frozenset(),
) -> Write:
    """Give back what stopped tasks took. Fails if the instance, or the registration that they took it from, is gone.

    `daemons`: the DAEMON services of which some were, which are to look at the instance before others have the room.

    A later registration of the same instance still holds what they took (registered_again adds differences), so that
    it takes it back; one with a smaller number is another beginning and never knew of them.
    """
    total = sum(given, start=Resources())
    ports = port_names(total)
    return Write(
        "Update",
        keys.instance(cluster, instance_id),
        InstanceChangedError(instance_id),
        update="SET #updatedAt = :now"
        + (", #daemonsDueAt = :now" if daemons else "")
        + " ADD #cpu :cpu, #memory :memory, #tasks :tasks, #version :one"
        + (", #daemonsDue :daemons" if daemons else "")
        + (" DELETE #ports :ports" if ports else ""),
        condition="#registration >= :registration",
        values={
            ":registration": registration,
            ":cpu": total.cpu,
            ":memory": total.memory,
            ":tasks": -len(given),
            ":one": 1,
            ":now": now,
            **({":ports": ports} if ports else {}),
            **({":daemons": daemons} if daemons else {}),
        },
    )


def held_by_orphan(instance: ContainerInstance, orphan: OrphanTask, now: datetime) -> Write:
    """It runs there already: what it takes is held even where that leaves less than nothing."""
    return _orphan_takes(instance, orphan, now, sign=-1)


def given_back_by_orphan(orphan: OrphanTask, now: datetime) -> Write:
    """Fails if the instance is gone, or is another beginning, which never held it."""
    return _orphan_takes(orphan, orphan, now, sign=1)


def orphan_adopted(orphan: OrphanTask, now: datetime) -> Write:
    """It holds what it held, and is one task more."""
    return Write(
        "Update",
        keys.instance(orphan.cluster, orphan.instance_id),
        InstanceChangedError(orphan.instance_id),
        update="SET #updatedAt = :now ADD #tasks :one, #version :one",
        condition="#registration >= :registration AND #status <> :inactive",
        values={
            ":now": now,
            ":one": 1,
            ":registration": orphan.registration,
            ":inactive": InstanceStatus.INACTIVE,
        },
    )


def _orphan_takes(place: ContainerInstance | OrphanTask, orphan: OrphanTask, now: datetime, *, sign: int) -> Write:
    ports = frozenset(orphan.ports)
    change = "ADD #ports :ports," if sign < 0 else "DELETE #ports :ports ADD"
    return Write(
        "Update",
        keys.instance(place.cluster, place.instance_id),
        InstanceChangedError(place.instance_id),
        update=f"SET #updatedAt = :now {change if ports else 'ADD'} #cpu :cpu, #memory :memory, #version :one",
        condition="#registration >= :registration AND #status <> :inactive",
        values={
            ":now": now,
            ":cpu": sign * orphan.cpu,
            ":memory": sign * orphan.memory,
            ":one": 1,
            **({":ports": ports} if ports else {}),
            ":registration": place.registration,
            ":inactive": InstanceStatus.INACTIVE,
        },
    )


def told(cluster: str, instance_id: str, now: datetime) -> Write:
    """A command for a task here is to be sent: the version that commands carry grows."""
    return Write(
        "Update",
        keys.instance(cluster, instance_id),
        InstanceChangedError(instance_id),
        update="SET #updatedAt = :now ADD #version :one",
        condition="attribute_exists(#pk)",
        values={":now": now, ":one": 1},
    )


def epoch_raised(instance: ContainerInstance, now: datetime, *, present: bool) -> Write:
    """A reconciliation begins: what the agent reports from now on is numbered under a new epoch (rule 4).

    With `present` it also proves the agent connected; only then is it a change that clients see.
    """
    appears = present and not instance.agent_connected
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="ADD #epoch :one"
        if not appears
        else "SET #agentConnected = :true, #updatedAt = :now, #connectionChangedAt = :now REMOVE #sessionEndedAt"
        " ADD #epoch :one, #version :one",
        condition="#registration = :registration AND #status <> :inactive"
        + (" AND #agentConnected = :true" if instance.agent_connected else ""),
        values={
            ":one": 1,
            ":registration": instance.registration,
            ":inactive": InstanceStatus.INACTIVE,
            **({":true": True} if instance.agent_connected or appears else {}),
            **({":now": now} if appears else {}),
        },
    )


def presence(instance: ContainerInstance, *, session: str, session_version: int, ended: bool, now: datetime) -> Write:
    """What is known of the newest connection, if nobody has learnt more since `instance` was read."""
    changes = instance.agent_connected is ended
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #session = :session, #sessionVersion = :sessionVersion, #sessionEnded = :ended,"
        " #agentConnected = :connected"
        + (", #sessionEndedAt = :now, #updatedAt = :now" if ended else ", #updatedAt = :now" if changes else "")
        + (", #connectionChangedAt = :now" if changes else "")
        + ("" if ended else " REMOVE #sessionEndedAt")
        + (" ADD #version :one" if changes else ""),
        condition="#registration = :registration AND #epoch = :epoch"
        + (" AND #session = :before" if instance.session else " AND attribute_not_exists(#session)"),
        values={
            ":session": session,
            ":sessionVersion": session_version,
            ":ended": ended,
            ":connected": not ended,
            ":registration": instance.registration,
            ":epoch": instance.epoch,
            **({":before": instance.session} if instance.session else {}),
            **({":now": now} if changes or ended else {}),
            **({":one": 1} if changes else {}),
        },
    )


def silent(instance: ContainerInstance, now: datetime) -> Write:
    """Its agent did not answer a probe, unless it has reconciled since."""
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #agentConnected = :false, #updatedAt = :now, #connectionChangedAt = :now ADD #version :one",
        condition="#registration = :registration AND #epoch = :epoch AND #agentConnected = :true",
        values={
            ":registration": instance.registration,
            ":epoch": instance.epoch,
            ":true": True,
            ":false": False,
            ":now": now,
            ":one": 1,
        },
    )


def heard(instance: ContainerInstance, now: datetime) -> Write:
    """Its agent has said something: it is connected, whatever it seemed."""
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #agentConnected = :true, #updatedAt = :now, #connectionChangedAt = :now REMOVE #sessionEndedAt"
        " ADD #version :one",
        condition="#registration = :registration AND #epoch = :epoch AND #status <> :inactive",
        values={
            ":registration": instance.registration,
            ":epoch": instance.epoch,
            ":inactive": InstanceStatus.INACTIVE,
            ":true": True,
            ":now": now,
            ":one": 1,
        },
    )


def mended(instance: ContainerInstance, left: Left, now: datetime) -> Write:
    """What it has left is what its tasks leave, if nothing was placed or released since both were read."""
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #cpu = :cpu, #memory = :memory, #tasks = :tasks, #updatedAt = :now"
        + (", #ports = :ports ADD #version :one" if left.ports else " REMOVE #ports ADD #version :one"),
        condition="#version = :version AND #registration = :registration",
        values={
            ":cpu": left.cpu,
            ":memory": left.memory,
            ":tasks": left.tasks,
            **({":ports": left.ports} if left.ports else {}),
            ":now": now,
            ":one": 1,
            ":version": instance.version,
            ":registration": instance.registration,
        },
    )


def deregistered(instance: ContainerInstance, now: datetime, *, force: bool) -> Write:
    """INACTIVE for good; without `force` only if no task is on it."""
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #status = :inactive, #agentConnected = :false, #updatedAt = :now, #connectionChangedAt = :now"
        " ADD #version :one",
        condition="#status <> :inactive" + ("" if force else " AND #tasks = :none"),
        values={
            ":inactive": InstanceStatus.INACTIVE,
            ":false": False,
            ":now": now,
            ":one": 1,
            **({} if force else {":none": 0}),
        },
    )


def store_capabilities(table: Table, digest: str, names: Sequence[str]) -> None:
    """Each distinct set is stored once, under its digest: writing it again changes nothing."""
    key = keys.capabilities(digest)
    if table.get(key, consistent=False) is None:
        table.commit([Write("Put", key, ItemChangedError(digest), item={"names": list(names)})])


def load_capabilities(table: Table, digest: str) -> frozenset[str]:
    item = table.get(keys.capabilities(digest), consistent=False) or table.get(keys.capabilities(digest))
    return frozenset(item["names"]) if item else frozenset()
