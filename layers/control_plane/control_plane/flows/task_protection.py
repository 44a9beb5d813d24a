"""UpdateTaskProtection and GetTaskProtection: tasks of services that scaling in and deployments are to leave alone.

What protection holds off is decided in domain/scheduling. The change of a task wakes its service's scheduler, which
also looks again when the protection of a task that is to stop ends.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from control_plane.domain.cluster import Cluster
from control_plane.domain.description import Described
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.task import Task, protect
from control_plane.domain.task_description import describe_protection
from control_plane.flows.again import until_answered
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import shown_tasks
from control_plane.runtime import ControlPlane
from control_plane.store import services, tasks
from ecs_protocol.statuses import DesiredStatus

DEFAULT_MINUTES = 120

NOT_OF_A_SERVICE = "The specified task isn't part of an Amazon ECS service."
STOPPING = "The specified task is stopping or has stopped."
BLOCKED = (
    "Can't set task protection as one or more protected tasks are preventing the service deployment from reaching a "
    "steady state. Unset task protection on existing tasks or wait until task protection expires."
)


def update_task_protection(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {protectedTasks, failures}. Set again, protection counts from now.

    Each task is committed by itself: a request that dies half-way is made good by the same request.
    """
    cluster = require_cluster(cp, request["cluster"])
    minutes = request.get("expiresInMinutes", DEFAULT_MINUTES) if request["protectionEnabled"] else None

    def update(name: str, task_id: str) -> Task | Described:
        def decide_and_commit(_attempt: int) -> Task | Described:
            task = shown_tasks(cp, cluster, [task_id]).get(task_id)
            if task is None:
                return _failure(cp, cluster, name, "MISSING")
            why = _refusal(cp, task, enable=minutes is not None)
            if why is not None:
                return _failure(cp, cluster, name, *why)
            now = cp.clock()
            after = protect(task, None if minutes is None else now + timedelta(minutes=minutes), now)
            if after.protected_until != task.protected_until:
                cp.table.commit([tasks.changed(task, after)])
            return after

        return until_answered(cp, decide_and_commit, what="task")

    wanted = {name: identifier(name, cluster) for name in request["tasks"]}
    return _answer(cp, [update(name, task_id) for name, task_id in wanted.items()])


def get_task_protection(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {protectedTasks, failures}: of each task whether it is protected now, and until when."""
    cluster = require_cluster(cp, request["cluster"])
    if not request.get("tasks"):
        raise InvalidParameterException("Tasks cannot be empty.")
    wanted = {name: identifier(name, cluster) for name in request["tasks"]}
    found = shown_tasks(cp, cluster, wanted.values())

    def look(name: str, task_id: str) -> Task | Described:
        task = found.get(task_id)
        if task is None:
            return _failure(cp, cluster, name, "MISSING")
        return task if task.service else _failure(cp, cluster, name, "TASK_NOT_VALID", NOT_OF_A_SERVICE)

    return _answer(cp, [look(name, task_id) for name, task_id in wanted.items()])


def _refusal(cp: ControlPlane, task: Task, *, enable: bool) -> tuple[str, str] | None:
    """Why protection cannot be set or taken away: reason and detail."""
    if task.service is None:
        return "TASK_NOT_VALID", NOT_OF_A_SERVICE
    if task.stopped or task.desired_status is DesiredStatus.STOPPED:
        return "TASK_NOT_VALID", STOPPING
    if not enable:
        return None
    service = services.load(cp.table, task.cluster, task.service)
    # What the scheduler last saw is enough: who comes a moment before it looks prolongs the wait by that once.
    return ("DEPLOYMENT_BLOCKED", BLOCKED) if service is not None and service.protected_count else None


def _failure(cp: ControlPlane, cluster: Cluster, name: str, reason: str, detail: str | None = None) -> Described:
    arn = name if name.startswith("arn:") else cp.arns.task(cluster.name, name)
    return {"arn": arn, "reason": reason, **({"detail": detail} if detail else {})}


def _answer(cp: ControlPlane, each: list[Task | Described]) -> dict[str, Any]:
    now = cp.clock()
    return {
        "protectedTasks": [describe_protection(one, cp.arns, now) for one in each if isinstance(one, Task)],
        "failures": [one for one in each if not isinstance(one, Task)],
    }
