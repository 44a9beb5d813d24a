"""DescribeTasks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.domain.cluster import Cluster
from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.task import Task
from control_plane.domain.task_description import describe_task
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import instances, keys, tasks


def describe_tasks(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {tasks, failures}, each once, in the order asked.

    A task that stopped over an hour ago, or never was, is a failure MISSING.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    wanted: dict[str, str] = {}
    for name in request["tasks"]:
        wanted.setdefault(identifier(name, cluster), name)
    shown = shown_tasks(cp, cluster, wanted)
    known = _instances(cp, shown)
    return {
        "tasks": [
            describe_task(
                shown[each],
                definition_of(cp, shown[each]),
                cp.arns,
                instance=known.get(shown[each].instance_id),
                with_tags="TAGS" in request.get("include", ()),
            )
            for each in wanted
            if each in shown
        ],
        "failures": [
            {"arn": name if name.startswith("arn:") else cp.arns.task(cluster.name, each), "reason": "MISSING"}
            for each, name in wanted.items()
            if each not in shown
        ],
    }


def shown_tasks(cp: ControlPlane, cluster: Cluster, task_ids: Iterable[str]) -> dict[str, Task]:
    """Those that Amazon ECS would still know, by id: not of a former cluster of that name, nor long stopped."""
    found = tasks.load_many(cp.table, cluster.name, {each for each in task_ids if looks_like_an_id(each)})
    now = cp.clock()
    return {
        task_id: task
        for task_id, task in found.items()
        if tasks.shown(task, now) and (not task.stopped or cluster.began_before(task.updated_at))
    }


def definition_of(cp: ControlPlane, task: Task) -> dict[str, Any]:
    """The definition that a task was made from: it is never deleted while a task refers to it."""
    definition = cp.definitions.get(task.task_definition)
    if definition is None:
        raise LookupError(f"task definition {task.task_definition} of task {task.task_id} is missing")
    return definition


def looks_like_an_id(task_id: str) -> bool:
    """32 hexadecimal digits: of anything else no key can be made."""
    return re.fullmatch(r"[0-9a-f]{32}", task_id) is not None


def _instances(cp: ControlPlane, found: Mapping[str, Task]) -> dict[str, ContainerInstance]:
    places = {keys.instance(task.cluster, task.instance_id) for task in found.values()}
    items = cp.table.get_many(list(places), consistent=False)
    return {item["instanceId"]: instances.from_item(item) for item in items.values()}
