"""Whether a container instance's machine is there, and what it is told and asked."""

from datetime import datetime

from control_plane.domain.container_instance import (
    ContainerInstance,
    InstanceStatus,
)
from control_plane.domain.races import InstanceChangedError
from control_plane.store import keys
from control_plane.store.table import Write


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


def duplicate_found(instance: ContainerInstance, now: datetime) -> Write:
    """Two machines use its identity: no new task is placed on it."""
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #duplicateFoundAt = :now, #updatedAt = :now ADD #version :one",
        condition="attribute_exists(#pk)",
        values={":now": now, ":one": 1},
    )


def duplicate_resolved(instance: ContainerInstance, now: datetime) -> Write:
    """An operator has chosen: it takes tasks again, and services look at it."""
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #updatedAt = :now, #settingsChangedAt = :now REMOVE #duplicateFoundAt ADD #version :one",
        condition="attribute_exists(#pk)",
        values={":now": now, ":one": 1},
    )
