"""What Amazon's agent reports of a task, and what it makes of the task. Pure.

Its reports carry no number by which a late or repeated one could be told. So they are merged in a way that needs none:
the status of the task and of each container only moves forward, a report of a container that is behind what is known of
it says nothing, and what a report does not say stays. A report that comes again then changes nothing, and of two in the
wrong order the earlier one changes nothing. Amazon's agent sends those of a task one by one, in order, each until it is
answered; what can come late is only a copy of one whose answer was lost, and of that the later ones hold all.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from control_plane.domain.entity import Entity
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.task import Awaiting, Task
from ecs_protocol.messages import ContainerReport, NetworkBinding, TaskReport
from ecs_protocol.statuses import SUCCESSORS, StopCode, TaskStatus

LONGEST_TEXT = 1024
MOST_BINDINGS = 100
"""Amazon's limit of the ports of an instance."""
NOT_STARTED = "Task failed to start"
ESSENTIAL_EXITED = "Essential container in task exited"


class StateChange(Entity):
    """A report. `status` None: it is of containers only."""

    status: TaskStatus | None = None
    reason: str | None = None
    containers: tuple[ContainerReport, ...] = ()
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    execution_stopped_at: datetime | None = None


def change_of_task(request: Mapping[str, Any]) -> StateChange:
    """A SubmitTaskStateChange request. Raises InvalidParameterException."""
    return StateChange(
        status=_status(request.get("status")),
        reason=request.get("reason") or None,
        containers=tuple(_container(each) for each in request.get("containers", ())),
        pull_started_at=request.get("pullStartedAt"),
        pull_stopped_at=request.get("pullStoppedAt"),
        execution_stopped_at=request.get("executionStoppedAt"),
    )


def change_of_container(request: Mapping[str, Any]) -> StateChange:
    """A SubmitContainerStateChange request. Raises InvalidParameterException."""
    return StateChange(containers=(_container(request),))


def report_of(task: Task, change: StateChange) -> TaskReport | None:
    """The whole state of the task after a change, as the report that comes after all before. None: nothing is new."""
    forward = change.status is not None and change.status in SUCCESSORS[task.last_status]
    status = change.status if forward and change.status else task.last_status
    known = {container.name: container for container in task.containers}
    containers = {**known, **{each.name: _merged(known.get(each.name), each) for each in change.containers}}
    times = {
        "pull_started_at": task.pull_started_at or change.pull_started_at,
        "pull_stopped_at": task.pull_stopped_at or change.pull_stopped_at,
        "execution_stopped_at": task.execution_stopped_at or change.execution_stopped_at,
    }
    known_times = all(getattr(task, name) == at for name, at in times.items())
    nothing_new = not forward and containers == known and known_times and task.awaiting is not Awaiting.START
    if task.stopped or nothing_new:
        return None
    stopped = status is TaskStatus.STOPPED
    code, reason = _why_stopped(task, change) if stopped else (None, None)
    return TaskReport(
        task_id=task.task_id,
        epoch=max(1, task.report_epoch),
        number=task.report_number + 1,
        last_status=status,
        stop_code=code,
        stopped_reason=reason,
        containers=tuple(containers.values()),
        **times,
    )


def _merged(known: ContainerReport | None, told: ContainerReport) -> ContainerReport:
    if known is None:
        return told
    if known.last_status in SUCCESSORS[told.last_status]:
        return known
    said = {name: value for name in ContainerReport.model_fields if (value := getattr(told, name)) not in (None, ())}
    return known.model_copy(update={name: value for name, value in said.items() if name != "health_status"})


def _why_stopped(task: Task, change: StateChange) -> tuple[StopCode, str]:
    """In the words in which DescribeTasks gives it; the agent says it of containers only."""
    if task.started_at is not None:
        return StopCode.ESSENTIAL_CONTAINER_EXITED, (change.reason or ESSENTIAL_EXITED)[:LONGEST_TEXT]
    cause = change.reason or next((each.reason for each in change.containers if each.reason), None)
    return StopCode.TASK_FAILED_TO_START, f"{NOT_STARTED}: {cause}"[:LONGEST_TEXT] if cause else NOT_STARTED


def _container(told: Mapping[str, Any]) -> ContainerReport:
    name = told.get("containerName")
    if not name:
        raise InvalidParameterException("A container's state change needs its containerName.")
    if any(len(told.get(member) or "") > LONGEST_TEXT for member in ("runtimeId", "imageDigest")):
        raise InvalidParameterException(f"The runtimeId and imageDigest of a container have {LONGEST_TEXT} characters.")
    status = _status(told.get("status"))
    if status is None:
        raise InvalidParameterException("A container's state change needs its status.")
    try:
        return ContainerReport(
            name=name,
            last_status=status,
            exit_code=told.get("exitCode"),
            reason=(told.get("reason") or "")[:LONGEST_TEXT] or None,
            runtime_id=told.get("runtimeId") or None,
            image_digest=told.get("imageDigest") or None,
            network_bindings=tuple(
                NetworkBinding(
                    bind_ip=binding.get("bindIP", "")[:64],
                    container_port=binding["containerPort"],
                    host_port=binding["hostPort"],
                    protocol=binding.get("protocol", "tcp"),
                )
                for binding in told.get("networkBindings", ())[:MOST_BINDINGS]
                if "containerPort" in binding and "hostPort" in binding  # those of port ranges have neither
            ),
        )
    except ValidationError as error:
        raise InvalidParameterException(f"The state change of container {name[:255]} is not valid.") from error


def _status(text: str | None) -> TaskStatus | None:
    if not text:
        return None
    if text not in set(TaskStatus):
        raise InvalidParameterException(f"status {text[:64]} is none of a task or container.")
    return TaskStatus(text)
