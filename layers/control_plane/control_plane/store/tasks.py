"""Tasks. One that has not stopped lies beside its instance; once STOPPED it moves to a key of its own.

The move is what releases once (rule 2): the task can be taken away from its instance's key a single time.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from control_plane.domain.races import TaskChangedError
from control_plane.domain.task import Task
from control_plane.store import keys
from control_plane.store.items import Item, attributes
from control_plane.store.keys import Key
from control_plane.store.table import Table, Write

KIND = "task"
KEPT = timedelta(days=30)
"""How long a stopped task's item lives, so that an agent that was cut off is told STOPPED and not «no such task»."""

READ_TOGETHER = 4
"""From how many of the wanted tasks on one instance on all that are on it are read."""

SHOWN = timedelta(hours=1)
"""How long List and Describe show a stopped task."""


def to_item(task: Task) -> Item:
    return {**attributes(task), "kind": KIND}


def from_item(item: Item) -> Task:
    return Task.model_validate(item)


def placed(task: Task) -> Write:
    """A new task; goes with the write that takes its resources."""
    return Write(
        "Put",
        keys.task(task.cluster, task.task_id),
        TaskChangedError(task.task_id),
        item=to_item(task),
        condition="attribute_not_exists(#pk)",
    )


def changed(before: Task, after: Task) -> Write:
    """A task that has not stopped, as it is now, if nobody wrote it since `before` was read."""
    return Write(
        "Put",
        keys.task(after.cluster, after.task_id),
        TaskChangedError(after.task_id),
        item=to_item(after),
        condition="#version = :version",
        values={":version": before.version},
    )


def stopped(before: Task, after: Task) -> list[Write]:
    """The move of a task that has STOPPED; goes with the write that gives its resources back."""
    return [
        Write(
            "Delete",
            keys.task(before.cluster, before.task_id),
            TaskChangedError(before.task_id),
            condition="#version = :version",
            values={":version": before.version},
        ),
        Write(
            "Put",
            keys.stopped_task(after.cluster, after.task_id),
            TaskChangedError(after.task_id),
            item={
                **to_item(after),
                "expiresAt": int((_ended(after) + KEPT).timestamp()),
            },
        ),
    ]


def note_ends(table: Table, ending: Iterable[Task]) -> None:
    """Where ListTasks finds tasks that have stopped. Goes before `stopped`, so that none is missing there; it is only a
    hint, which stays if the task turns out not to stop just now."""
    table.put_many(
        {
            end_of(task): {
                "taskId": task.task_id,
                "expiresAt": int((_ended(task) + 2 * SHOWN).timestamp()),
            }
            for task in ending
        }
    )


def end_of(task: Task) -> Key:
    """Of the line that says that it has stopped."""
    return keys.end(task.cluster, task.task_id, int(_ended(task).timestamp()))


def _ended(task: Task) -> datetime:
    return task.stopped_at or task.updated_at


def load(table: Table, cluster: str, task_id: str) -> Task | None:
    """Where it lies beside its instance first: a task moves only from there, so that it cannot be missed."""
    item = table.get(keys.task(cluster, task_id)) or table.get(keys.stopped_task(cluster, task_id))
    return from_item(item) if item is not None and item["cluster"] == cluster else None


def load_many(table: Table, cluster: str, task_ids: Iterable[str], *, consistent: bool = True) -> dict[str, Task]:
    """Those that exist, by id, stopped or not. Two looks, in the order that `load` explains."""
    wanted = list(task_ids)
    found = table.get_many([keys.task(cluster, task_id) for task_id in wanted], consistent=consistent)
    tasks = {item["taskId"]: from_item(item) for item in found.values()}
    gone = [task_id for task_id in wanted if task_id not in tasks]
    return {**tasks, **_load_stopped(table, cluster, gone, consistent=consistent)}


def _load_stopped(table: Table, cluster: str, task_ids: Iterable[str], *, consistent: bool = True) -> dict[str, Task]:
    places = [keys.stopped_task(cluster, task_id) for task_id in task_ids]
    items = table.get_many(places, consistent=consistent).values()
    return {item["taskId"]: from_item(item) for item in items if item["cluster"] == cluster}


def load_listed(table: Table, cluster: str, task_ids: Iterable[str]) -> dict[str, Task]:
    """The same, for a list that may be long. Some tasks on one instance are read with all that are on it: a query pays
    for what it reads by the 4 KB, a task that is asked for by name costs as much alone."""
    wanted = set(task_ids)
    together = Counter(task_id[-keys.TAIL :] for task_id in wanted)
    places = [keys.tasks_with_tail(cluster, tail) for tail, count in together.items() if count >= READ_TOGETHER]
    items = table.query_each(places) if places else []
    found = {item["taskId"]: from_item(item) for item in items if item["taskId"] in wanted}
    others = [task_id for task_id in wanted if together[task_id[-keys.TAIL :]] < READ_TOGETHER]
    ended = [task_id for task_id in wanted if task_id not in found and task_id not in set(others)]
    return {**found, **load_many(table, cluster, others), **_load_stopped(table, cluster, ended)}


def of_instance(table: Table, cluster: str, instance_id: str) -> list[Task]:
    """An instance's tasks that have not stopped, strongly consistent."""
    key = keys.instance_tasks(cluster, instance_id)
    items = table.query(key.pk, key.sk)
    return [from_item(item) for item in items if item["instanceId"] == instance_id]


def of_cluster(table: Table, cluster: str, shards: Sequence[int], *, consistent: bool = False) -> list[Task]:
    """A cluster's tasks that have not stopped; unless `consistent`, for List and Describe."""
    partitions = [keys.instance_partition(cluster, shard) for shard in sorted(shards)]
    return [from_item(item) for item in table.query_many(partitions, "T#", consistent=consistent)]


def shown(task: Task, now: datetime) -> bool:
    """Whether Describe shows it still."""
    return task.stopped_at is None or now - task.stopped_at < SHOWN
