"""Access keys. None is ever taken out: a revoked one says when it was revoked."""

from datetime import datetime

from control_plane.domain.access_key import AccessKey
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write


def load(table: Table, access_key_id: str) -> AccessKey | None:
    item = table.get(keys.access_key(access_key_id))
    return None if item is None else AccessKey.model_validate(item)


def created(key: AccessKey) -> Write:
    return Write(
        "Put",
        keys.access_key(key.access_key_id),
        ItemChangedError(key.access_key_id),
        item=attributes(key),
        condition="attribute_not_exists(#pk)",
    )


def revoked(access_key_id: str, now: datetime) -> Write:
    """From now on. Raises ItemChangedError if there is no such key, or it is revoked already."""
    return Write(
        "Update",
        keys.access_key(access_key_id),
        ItemChangedError(access_key_id),
        update="SET #revokedAt = :now",
        condition="attribute_exists(#pk) AND attribute_not_exists(#revokedAt)",
        values={":now": now},
    )


def every(table: Table) -> list[AccessKey]:
    """The oldest first."""
    found = (AccessKey.model_validate(item) for item in table.query_many(keys.access_key_partitions()))
    return sorted(found, key=lambda key: (key.created_at, key.access_key_id))
