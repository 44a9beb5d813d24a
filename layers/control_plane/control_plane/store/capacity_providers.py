"""Capacity providers of one's own. Each write states the version that it was decided on."""

from collections.abc import Collection

from control_plane.domain.own_capacity_provider import CapacityProvider, ProviderStatus
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write


def load(table: Table, name: str) -> CapacityProvider | None:
    item = table.get(keys.capacity_provider(name))
    return None if item is None else CapacityProvider.model_validate(item)


def load_many(table: Table, names: Collection[str]) -> dict[str, CapacityProvider]:
    """Those that exist, by name."""
    found = table.get_many([keys.capacity_provider(name) for name in names]).values()
    return {provider.name: provider for provider in map(CapacityProvider.model_validate, found)}


def everyone(table: Table) -> dict[str, CapacityProvider]:
    """By name; those that are deleted, too, for as long as they are kept."""
    found = table.query_many(keys.capacity_provider_partitions())
    return {provider.name: provider for provider in map(CapacityProvider.model_validate, found)}


def written(after: CapacityProvider, before: CapacityProvider | None) -> Write:
    """As it is now, if it is still what was read."""
    return Write(
        "Put",
        keys.capacity_provider(after.name),
        ItemChangedError(after.name),
        item=attributes(after),
        condition="#version = :before" if before else "attribute_not_exists(#pk)",
        values={":before": before.version} if before else {},
    )


def still_active(name: str) -> Write:
    """For a cluster that is to have it: no deletion has begun, and one that begins later sees the cluster."""
    return Write(
        "ConditionCheck",
        keys.capacity_provider(name),
        ItemChangedError(name),
        condition="#status = :active",
        values={":active": ProviderStatus.ACTIVE},
    )
