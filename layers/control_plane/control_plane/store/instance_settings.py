"""What people say of container instances: their status, and attributes. Each such write shows when it was
(settingsChangedAt), so that the stream's reader knows whom it concerns from the item alone."""

from datetime import datetime

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.races import InstanceChangedError
from control_plane.store import keys
from control_plane.store.table import Write

_DUE = ", #daemonsDue = :daemons, #daemonsDueAt = :now"


def status_changed(
    instance: ContainerInstance, status: InstanceStatus, now: datetime, *, daemons: frozenset[str]
) -> Write:
    """ACTIVE or DRAINING, if it is still what it was: one that has been deregistered meanwhile stays so.

    `daemons`: the DAEMON services of its cluster, which are to look at it first.
    """
    return Write(
        "Update",
        keys.instance(instance.cluster, instance.instance_id),
        InstanceChangedError(instance.instance_id),
        update="SET #status = :status, #updatedAt = :now, #settingsChangedAt = :now"
        + (f"{_DUE} ADD #version :one" if daemons else " ADD #version :one"),
        condition="#status = :before",
        values={
            ":status": status,
            ":before": instance.status,
            ":now": now,
            ":one": 1,
            **({":daemons": daemons} if daemons else {}),
        },
    )


def attributes_changed(
    before: ContainerInstance, after: ContainerInstance, now: datetime, *, daemons: frozenset[str]
) -> Write:
    """What the API says of its attributes, if neither it nor the agent has said anything since `before` was read."""
    deleted = after.deleted_attributes
    return Write(
        "Update",
        keys.instance(after.cluster, after.instance_id),
        InstanceChangedError(after.instance_id),
        update="SET #putAttributes = :put, #updatedAt = :now, #settingsChangedAt = :now"
        + (_DUE if daemons else "")
        + (", #deletedAttributes = :deleted" if deleted else " REMOVE #deletedAttributes")
        + " ADD #attributesVersion :one, #version :one",
        condition="#registration = :registration AND #status <> :inactive AND "
        + ("#attributesVersion = :before" if before.attributes_version else "attribute_not_exists(#attributesVersion)"),
        values={
            ":put": after.put_attributes,
            ":now": now,
            ":one": 1,
            **({":daemons": daemons} if daemons else {}),
            ":registration": before.registration,
            ":inactive": InstanceStatus.INACTIVE,
            **({":deleted": deleted} if deleted else {}),
            **({":before": before.attributes_version} if before.attributes_version else {}),
        },
    )
