"""DescribeTasks and ListTasks.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.cluster import Cluster
from control_plane.domain.pages import page_of
from control_plane.domain.task import Task
from control_plane.domain.task_description import describe_task
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import instances, keys, tasks


def describe_tasks(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {tasks, failures}; a task that stopped over an hour ago, or never was, is a failure MISSING."""
    cluster = require_cluster(cp, request.get("cluster"))
    wanted = {name: identifier(name, cluster) for name in request["tasks"]}
    shown = shown_tasks(cp, cluster, wanted.values())
    connected = _agents_connected(cp, shown)
    return {
        "tasks": [
            describe_task(
                shown[each],
                definition_of(cp, shown[each]),
                cp.arns,
                agent_connected=connected.get(shown[each].instance_id),
                with_tags="TAGS" in request.get("include", ()),
            )
            for each in wanted.values()
            if each in shown
        ],
        "failures": [
            {"arn": name if name.startswith("arn:") else cp.arns.task(cluster.name, each), "reason": "MISSING"}
            for name, each in wanted.items()
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


def list_tasks(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskArns, nextToken}, by default of tasks whose desired status is RUNNING."""
    cluster = require_cluster(cp, request.get("cluster"))
    desired = request.get("desiredStatus", "RUNNING")
    found = tasks.of_cluster(cp.table, cluster.name, sorted(cluster.shards)) if cluster.shards else []
    if desired == "STOPPED":
        ended = tasks.stopped_in_cluster(cp.table, cluster.name, cp.clock())
        found += [task for task in ended if cluster.began_before(task.updated_at)]
    ids = {
        task.task_id
        for task in found
        if str(task.desired_status) == desired and all(matches(task) for matches in _filters(request))
    }
    page, token = page_of(sorted(ids), request.get("nextToken"), request.get("maxResults", 100))
    answer: dict[str, Any] = {"taskArns": [cp.arns.task(cluster.name, task_id) for task_id in page]}
    return {**answer, "nextToken": token} if token else answer


def _filters(request: Mapping[str, Any]) -> list[Any]:
    """Those of ListTasks; a launch type other than EXTERNAL has no tasks here."""
    instance, service = (resource_name(request.get(name, "")) for name in ("containerInstance", "serviceName"))
    wanted = {
        "containerInstance": lambda task: task.instance_id == instance,
        "serviceName": lambda task: task.service == service,
        "family": lambda task: task.task_definition.rpartition(":")[0] == request["family"],
        "startedBy": lambda task: task.started_by == request["startedBy"],
        "launchType": lambda _task: request["launchType"] == "EXTERNAL",
    }
    return [matches for name, matches in wanted.items() if request.get(name)]


def definition_of(cp: ControlPlane, task: Task) -> dict[str, Any]:
    """The definition that a task was made from: it is never deleted while a task refers to it."""
    definition = cp.definitions.get(task.task_definition)
    if definition is None:
        raise LookupError(f"task definition {task.task_definition} of task {task.task_id} is missing")
    return definition


def looks_like_an_id(task_id: str) -> bool:
    """32 hexadecimal digits: of anything else no key can be made."""
    return re.fullmatch(r"[0-9a-f]{32}", task_id) is not None


def _agents_connected(cp: ControlPlane, found: Mapping[str, Task]) -> dict[str, bool]:
    places = {keys.instance(task.cluster, task.instance_id) for task in found.values() if not task.stopped}
    items = cp.table.get_many(list(places), consistent=False)
    return {item["instanceId"]: instances.from_item(item).agent_connected for item in items.values()}
