"""What container instances have left: taken with the tasks that are placed, given back when they stop (rules 1, 2)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from control_plane.domain.container_instance import (
    ContainerInstance,
    InstanceStatus,
    port_names,
)
from control_plane.domain.held import Left
from control_plane.domain.orphan import OrphanTask
from control_plane.domain.races import InstanceChangedError
from control_plane.domain.resources import Resources
from control_plane.store import keys
from control_plane.store.table import Write


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
    an instance below zero still takes what costs it nothing. Host ports and GPUs of one placement never clash among
    themselves: place() has counted them.
    """
    total = sum(wanted, start=Resources())
    ports = port_names(total)
    conditions = {
        "it is the registration that was decided on": "#registration = :registration",
        "it takes tasks": "#status = :active",
        "it is one machine": "attribute_not_exists(#duplicateFoundAt)",
        "CPU suffices": "#cpu >= :cpu" if total.cpu else None,
        "memory suffices": "#memory >= :memory" if total.memory else None,
    }
    beliefs = [
        f"#{name} = :believed{number}" if value else f"attribute_not_exists(#{name})"
        for number, (name, value) in enumerate((believed or {}).items())
    ]
    free_gpus = [
        f"contains(#gpus, :gpu{number}) AND NOT contains(#heldGpus, :gpu{number})"
        f" AND NOT contains(#orphanGpus, :gpu{number})"
        for number in range(len(total.gpu_ids))
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
            + (", #heldGpus :gpus" if total.gpu_ids else "")
            + (" DELETE #daemonsDue :daemon, #daemonsWaiting :daemon" if daemon else "")
        ),
        condition=" AND ".join(
            [condition for condition in conditions.values() if condition] + beliefs + free_ports + free_gpus
        ),
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
            **({":gpus": total.gpu_ids} if total.gpu_ids else {}),
            **{f":gpu{number}": gpu_id for number, gpu_id in enumerate(sorted(total.gpu_ids))},
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
        + _delete({"#ports :ports": ports, "#heldGpus :gpus": total.gpu_ids}),
        condition="#registration >= :registration",
        values={
            ":registration": registration,
            ":cpu": total.cpu,
            ":memory": total.memory,
            ":tasks": -len(given),
            ":one": 1,
            ":now": now,
            **({":ports": ports} if ports else {}),
            **({":gpus": total.gpu_ids} if total.gpu_ids else {}),
            **({":daemons": daemons} if daemons else {}),
        },
    )


_GAVE_ROOM = ", #gaveRoomAt = :now"
"""Where no task's end says so: whoever waits for capacity is told by the instance's own record of the stream."""


def _delete(sets: Mapping[str, frozenset[str]]) -> str:
    """The clause that takes members out of sets; nothing, if there are none."""
    parts = [part for part, members in sets.items() if members]
    return f" DELETE {', '.join(parts)}" if parts else ""


def held_by_orphan(instance: ContainerInstance, orphan: OrphanTask, now: datetime) -> Write:
    """It runs there already: what it takes is held even where that leaves less than nothing."""
    return _orphan_takes(instance, orphan, now, sign=-1)


def given_back_by_orphan(orphan: OrphanTask, now: datetime) -> Write:
    """Fails if the instance is gone, or is another beginning, which never held it."""
    return _orphan_takes(orphan, orphan, now, sign=1)


def orphan_adopted(orphan: OrphanTask, now: datetime) -> Write:
    """It holds what it held, and is one task more. Fails if a task was given a GPU that it runs with."""
    gpus = sorted(orphan.resources.gpu_ids)
    not_held = [f" AND NOT contains(#heldGpus, :gpu{number})" for number in range(len(gpus))]
    return Write(
        "Update",
        keys.instance(orphan.cluster, orphan.instance_id),
        InstanceChangedError(orphan.instance_id),
        update="SET #updatedAt = :now ADD #tasks :one, #version :one"
        + (", #heldGpus :gpus DELETE #orphanGpus :gpus" if gpus else ""),
        condition="#registration >= :registration AND #status <> :inactive" + "".join(not_held),
        values={
            ":now": now,
            ":one": 1,
            ":registration": orphan.registration,
            ":inactive": InstanceStatus.INACTIVE,
            **({":gpus": frozenset(gpus)} if gpus else {}),
            **{f":gpu{number}": gpu_id for number, gpu_id in enumerate(gpus)},
        },
    )


def _orphan_takes(place: ContainerInstance | OrphanTask, orphan: OrphanTask, now: datetime, *, sign: int) -> Write:
    ports, gpus = frozenset(orphan.ports), orphan.resources.gpu_ids
    sets = {"#ports :ports": ports, "#orphanGpus :gpus": gpus}
    added = "".join(f", {part}" for part, members in sets.items() if members and sign < 0)
    return Write(
        "Update",
        keys.instance(place.cluster, place.instance_id),
        InstanceChangedError(place.instance_id),
        update=f"SET #updatedAt = :now{_GAVE_ROOM if sign > 0 else ''}"
        f" ADD #cpu :cpu, #memory :memory, #version :one{added}" + (_delete(sets) if sign > 0 else ""),
        condition="#registration >= :registration AND #status <> :inactive",
        values={
            ":now": now,
            ":cpu": sign * orphan.cpu,
            ":memory": sign * orphan.memory,
            ":one": 1,
            **({":ports": ports} if ports else {}),
            **({":gpus": gpus} if gpus else {}),
            ":registration": place.registration,
            ":inactive": InstanceStatus.INACTIVE,
        },
    )


def mended(instance: ContainerInstance, left: Left, now: datetime) -> Write:
    """What it has left is what its tasks leave, if nothing was placed or released since both were read."""
    sets = {"ports": left.ports, "heldGpus": left.gpus, "orphanGpus": left.orphan_gpus}
    removed = ", ".join(f"#{name}" for name, members in sets.items() if not members)
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update=f"SET #cpu = :cpu, #memory = :memory, #tasks = :tasks, #updatedAt = :now{_GAVE_ROOM}"
        + "".join(f", #{name} = :{name}" for name, members in sets.items() if members)
        + (f" REMOVE {removed}" if removed else "")
        + " ADD #version :one",
        condition="#version = :version AND #registration = :registration",
        values={
            ":cpu": left.cpu,
            ":memory": left.memory,
            ":tasks": left.tasks,
            **{f":{name}": members for name, members in sets.items() if members},
            ":now": now,
            ":one": 1,
            ":version": instance.version,
            ":registration": instance.registration,
        },
    )
