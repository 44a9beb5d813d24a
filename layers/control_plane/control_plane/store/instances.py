"""Container instances and their registrations. What is left of them is written in instance_resources.py only."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from control_plane.domain.container_instance import (
    ContainerInstance,
    InstanceStatus,
    Registration,
)
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


def load_many(
    table: Table, wanted: Iterable[tuple[str, str]], *, consistent: bool = True
) -> dict[tuple[str, str], ContainerInstance]:
    """Those that exist, by cluster and instance id."""
    places = [keys.instance(cluster, instance_id) for cluster, instance_id in wanted]
    found = table.get_many(places, consistent=consistent)
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

    What is left is changed by the difference, not set: tasks may be placed and released meanwhile. Its GPUs are those
    that it has now; which of them tasks hold is not touched, as they hold also what is not there any more.
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
            + (", #gpus = :gpus" if after.gpus else "")
            + (", #daemonsDue = :daemonsDue, #daemonsDueAt = :now" if after.daemons_due else "")
            + " REMOVE #sessionEndedAt"
            + ("" if after.reserved_ports else ", #reservedPorts")
            + ("" if after.gpus else ", #gpus")
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
            **({":gpus": after.gpus} if after.gpus else {}),
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
