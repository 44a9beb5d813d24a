"""Identities: which certificate speaks for a container instance. Read anew for each message, never from memory."""

from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write


def load(table: Table, instance_id: str) -> InstanceIdentity | None:
    item = table.get(keys.identity(instance_id))
    return None if item is None else InstanceIdentity.model_validate(item)


def written(before: InstanceIdentity | None, after: InstanceIdentity) -> Write:
    """`after`, if the identity is still what was read: `before`, or none."""
    values: dict[str, object] = {}
    if before is None:
        condition = "attribute_not_exists(#pk)"
    elif before.version:
        condition, values = "#version = :before", {":before": before.version}
    else:
        # By a release in which identities had no versions.
        condition = "#principal = :principal AND attribute_not_exists(#version)"
        values = {":principal": before.principal}
    numbered = after.model_copy(update={"version": before.version + 1 if before else 1})
    return Write(
        "Put",
        keys.identity(after.instance_id),
        ItemChangedError(after.instance_id),
        item=attributes(numbered),
        condition=condition,
        values=values,
    )
