"""Where ListTasks finds tasks, as parts that are walked one after another (store/pages.py).

Tasks that have not stopped come first, the ends of the last hour after them. A task that stops while they are walked
has been met among the first or is met among the second: its end is noted before it moves.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from control_plane.domain.service import Service
from control_plane.domain.task import Task
from control_plane.store import keys, tasks
from control_plane.store.items import Item
from control_plane.store.pages import Part, beginning
from control_plane.store.table import Table

_TASKS, _ENDS = "tasks", "the ends"
"""What the names of parts begin with, in this order."""


def of_cluster(cluster: str, shards: Iterable[int]) -> list[Part]:
    """A cluster's tasks that have not stopped."""
    return [
        beginning(f"{_TASKS} {shard:02d}", keys.instance_partition(cluster, shard), "T#") for shard in sorted(shards)
    ]


def of_instance(cluster: str, instance_id: str) -> list[Part]:
    """An instance's tasks that have not stopped, and with them those of another, once in 4 billion."""
    key = keys.instance_tasks(cluster, instance_id)
    return [beginning(_TASKS, key.pk, key.sk)]


def of_service(service: Service) -> list[Part]:
    """The lines of a service's list: also tasks that have stopped, until the scheduler has counted their ends."""
    partitions = keys.service_task_partitions(service.cluster, service.name, service.shards)
    return [Part(f"{_TASKS} {number:02d}", partition) for number, partition in enumerate(partitions)]


def ends(cluster: str, now: datetime) -> list[Part]:
    """The ends of a cluster's tasks within the last hour."""
    since = keys.time_key(int((now - tasks.SHOWN).timestamp()))
    partitions = keys.end_partitions(cluster)
    return [Part(f"{_ENDS} {number:02d}", partition, low=since) for number, partition in enumerate(partitions)]


def load(table: Table, cluster: str, lines: Sequence[Item], now: datetime) -> list[Task | None]:
    """The task that each item of such parts stands for; eventually consistent.

    A line of a service's list stands for a task that has not stopped. One of the ends is only a hint, and a task may
    have several: it stands for a task if it is the one that says when that stopped.
    """
    places = {line["sk"]: _place(cluster, line) for line in lines if line.get("kind") != tasks.KIND}
    found = table.get_many(list(places.values()), consistent=False) if places else {}

    def task_of(line: Item) -> Task | None:
        if line["sk"] not in places:
            return tasks.from_item(line)
        item = found.get(places[line["sk"]])
        task = None if item is None else tasks.from_item(item)
        if task is None or not _is_end(line):
            return task
        return task if tasks.end_of(task).sk == line["sk"] and tasks.shown(task, now) else None

    return [task_of(line) for line in lines]


def _place(cluster: str, line: Item) -> keys.Key:
    if _is_end(line):
        return keys.stopped_task(cluster, keys.task_of(line["sk"]))
    return keys.task(cluster, line.get("taskId") or keys.task_of(line["sk"]))


def _is_end(line: Item) -> bool:
    """And not the line of a DAEMON service, whose key is an instance's (store/daemons.py)."""
    return "taskId" in line and "instanceId" not in line
