"""Orphans, beside their instance. Each write goes with the one that holds or gives back what they take."""

from control_plane.domain.orphan import OrphanTask
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write


def of_instance(table: Table, cluster: str, instance_id: str) -> dict[str, OrphanTask]:
    """By task id, strongly consistent."""
    key = keys.instance_orphans(cluster, instance_id)
    found = [OrphanTask.model_validate(item) for item in table.query(key.pk, key.sk)]
    return {orphan.task_id: orphan for orphan in found}


def of_cluster(table: Table, cluster: str, shards: list[int]) -> list[OrphanTask]:
    partitions = [keys.instance_partition(cluster, shard) for shard in shards]
    return [OrphanTask.model_validate(item) for item in table.query_many(partitions, "O#")]


def found(orphan: OrphanTask) -> Write:
    return Write(
        "Put",
        _key(orphan),
        ItemChangedError(orphan.task_id),
        item=attributes(orphan),
        condition="attribute_not_exists(#pk)",
    )


def to_stop(orphan: OrphanTask) -> Write:
    return Write(
        "Update",
        _key(orphan),
        ItemChangedError(orphan.task_id),
        update="SET #stopping = :true",
        condition="attribute_exists(#pk)",
        values={":true": True},
    )


def gone(orphan: OrphanTask) -> Write:
    """It has stopped, or is a task again."""
    return Write("Delete", _key(orphan), ItemChangedError(orphan.task_id), condition="attribute_exists(#pk)")


def _key(orphan: OrphanTask) -> keys.Key:
    return keys.orphan(orphan.cluster, orphan.instance_id, orphan.task_id)
