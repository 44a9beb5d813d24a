"""StopTask. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.reminders import watching_command
from control_plane.domain.task import Task, request_stop
from control_plane.domain.task_description import describe_task
from control_plane.flows.again import until_answered
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import definition_of, looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import instance_presence, reminders, tasks
from ecs_protocol.statuses import StopCode

DEFAULT_REASON = "Task stopped by user"


def stop_task(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {task}. Stopping a task again, or one that has stopped, changes nothing."""
    cluster = require_cluster(cp, request.get("cluster"))
    task_id = identifier(request["task"], cluster)
    reason = request.get("reason") or DEFAULT_REASON

    def decide_and_commit(_attempt: int) -> Task:
        task = tasks.load(cp.table, cluster.name, task_id) if looks_like_an_id(task_id) else None
        if task is None:
            raise InvalidParameterException("The referenced task was not found.")
        now = cp.clock()
        after = task if task.stopped else request_stop(task, StopCode.USER_INITIATED, reason, now)
        if after is not task:
            reminders.remind(cp.table, [watching_command(task.cluster, task.instance_id, now)])
            cp.table.commit([tasks.changed(task, after), instance_presence.told(task.cluster, task.instance_id, now)])
        return after

    task = until_answered(cp, decide_and_commit, what="task")
    return {"task": describe_task(task, definition_of(cp, task), cp.arns)}
