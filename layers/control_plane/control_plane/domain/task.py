"""A task, and what a report or a request makes of it. Pure: the flows commit what is decided here.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from control_plane.domain.entity import Entity
from control_plane.domain.gpus import all_gpu_ids
from control_plane.domain.resources import Resources
from ecs_protocol.messages import ContainerReport, ListedTask, RestartsInPlace, TaskReport
from ecs_protocol.statuses import SUCCESSORS, DesiredStatus, StopCode, TaskStatus


class Awaiting(StrEnum):
    """What the task's machine has been told, or is to be told, and has not answered."""

    START = "START"
    STOP = "STOP"


class Verdict(StrEnum):
    """What a report is worth."""

    ADVANCE = "ADVANCE"
    LATE = "LATE"
    """Not newer than what is stored: a repetition, or overtaken by a later one. It changes nothing."""
    TOO_LATE = "TOO_LATE"
    """The task has STOPPED, and a machine that had not heard so has taken it up again: it is to be told."""


class Task(Entity):
    """One item of at most 1 KB for a plain task; `containers` is empty until its machine has reported."""

    task_id: str
    cluster: str
    instance_id: str
    registration: int
    """The instance's registration that the resources were taken from, and go back to."""
    task_definition: str
    """`family:revision`."""
    capacity_provider_name: str = "EXTERNAL"
    by_strategy: bool | None = None
    """Started by a capacity provider strategy, and not by a launch type; None: no."""
    group: str
    service: str | None = None
    deployment_id: str | None = None
    daemon: bool | None = None
    """Of a DAEMON service; None: no."""
    started_by: str | None = None
    reference_id: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    disconnect: str | None = None
    """What the tag ecs-anywhere:disconnect said when it was started; None: keep."""
    stop_timeout: int | None = None
    """The longest of its containers, in seconds; of stop-after tasks only."""
    restarts_offline: bool | None = None
    """Whether its machine starts it again while it is cut off; None: no."""
    substitute: bool | None = None
    """Started in place of one whose machine is away; None: no."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    cpu: int
    memory: int
    ports: tuple[str, ...] = ()
    """Static host ports that it holds, as `8080/tcp`."""
    gpu_ids: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """GPUs that it holds, by container."""
    desired_status: DesiredStatus = DesiredStatus.RUNNING
    last_status: TaskStatus = TaskStatus.PENDING
    awaiting: Awaiting | None = None
    awaiting_since: datetime | None = None
    version: int = 1
    report_epoch: int = 0
    report_number: int = 0
    containers: tuple[ContainerReport, ...] = ()
    created_at: datetime
    updated_at: datetime
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    restarts: RestartsInPlace | None = None
    execute_command: bool | None = None
    """Whether commands may be run in it, as ECS's enableExecuteCommand; None: no."""
    protected_until: datetime | None = None
    """Until when neither scaling in nor a deployment stops it."""

    @property
    def resources(self) -> Resources:
        """What it takes of its instance."""
        pairs = (port.split("/") for port in self.ports)
        return Resources(
            cpu=self.cpu,
            memory=self.memory,
            ports=frozenset((int(number), protocol) for number, protocol in pairs),
            gpu_ids=all_gpu_ids(self.gpu_ids),
        )

    @property
    def stopped(self) -> bool:
        return self.last_status is TaskStatus.STOPPED

    def protected(self, now: datetime) -> bool:
        """Protection ends by itself: nobody has to take it away."""
        return self.protected_until is not None and now < self.protected_until

    def listed(self) -> ListedTask:
        """Its line in the list that an agent reconciles with."""
        return ListedTask(
            task_id=self.task_id,
            desired_status=self.desired_status,
            task_definition=self.task_definition,
            report_epoch=self.report_epoch,
            report_number=self.report_number,
        )


def judge(task: Task, report: TaskReport) -> Verdict:
    """Whether a report says something new. (epoch, number) is compared as a pair (rule 4)."""
    if (report.epoch, report.number) <= (task.report_epoch, task.report_number):
        return Verdict.LATE
    if task.stopped:
        return Verdict.LATE if report.last_status is TaskStatus.STOPPED else Verdict.TOO_LATE
    return Verdict.ADVANCE


def came_back(task: Task, report: TaskReport) -> bool:
    """Whether a machine runs a task that was said to be on its way down: what was said first stands (rule 4)."""
    return (
        task.desired_status is DesiredStatus.RUNNING
        and task.last_status is not report.last_status
        and report.last_status not in SUCCESSORS[task.last_status]
        and task.last_status in SUCCESSORS[TaskStatus.RUNNING]
    )


def apply_report(task: Task, report: TaskReport, now: datetime) -> Task:
    """The task after a report that was judged ADVANCE.

    The status only moves forward: a machine whose own memory was restored may truthfully report an earlier one, which
    is recorded as heard (epoch and number) and moves nothing. Why the task was stopped is the control plane's word if
    it has said so, else the machine's.
    """
    status = report.last_status if report.last_status in SUCCESSORS[task.last_status] else task.last_status
    stopped = status is TaskStatus.STOPPED
    return task.model_copy(
        update={
            "last_status": status,
            "desired_status": DesiredStatus.STOPPED if stopped else task.desired_status,
            "awaiting": _still_awaiting(task, status),
            "version": task.version + 1,
            "report_epoch": report.epoch,
            "report_number": report.number,
            "containers": report.containers or task.containers,
            "restarts": report.restarts or task.restarts,
            "updated_at": now,
            "pull_started_at": report.pull_started_at or task.pull_started_at,
            "pull_stopped_at": report.pull_stopped_at or task.pull_stopped_at,
            "started_at": task.started_at or report.started_at or (now if status is TaskStatus.RUNNING else None),
            "stopping_at": task.stopping_at or report.stopping_at or (now if stopped else None),
            "execution_stopped_at": report.execution_stopped_at or task.execution_stopped_at,
            "stopped_at": (report.stopped_at or now) if stopped else None,
            "stop_code": task.stop_code or (report.stop_code if stopped else None),
            "stopped_reason": task.stopped_reason or (report.stopped_reason if stopped else None),
        }
    )


def _still_awaiting(task: Task, status: TaskStatus) -> Awaiting | None:
    """Any report answers a start: its machine knows the task. Only a task on its way down answers a stop."""
    if task.awaiting is Awaiting.STOP and status in SUCCESSORS[TaskStatus.RUNNING]:
        return None
    return None if task.awaiting is Awaiting.START else task.awaiting


def request_stop(task: Task, code: StopCode, reason: str, now: datetime) -> Task:
    """The task as it is once somebody wants it stopped. The first reason given stays."""
    if task.desired_status is DesiredStatus.STOPPED:
        return task
    return task.model_copy(
        update={
            "desired_status": DesiredStatus.STOPPED,
            "awaiting": Awaiting.STOP,
            "awaiting_since": now,
            "version": task.version + 1,
            "updated_at": now,
            "stopping_at": now,
            "stop_code": code,
            "stopped_reason": reason,
        }
    )


def protect(task: Task, until: datetime | None, now: datetime) -> Task:
    """The task once its protection is set, prolonged, or (None) taken away."""
    return task.model_copy(update={"protected_until": until, "version": task.version + 1, "updated_at": now})


def stop_without_its_machine(task: Task, code: StopCode, reason: str, now: datetime) -> Task:
    """The task as it is once its instance is gone: nobody is left to report its end."""
    return task.model_copy(
        update={
            "desired_status": DesiredStatus.STOPPED,
            "last_status": TaskStatus.STOPPED,
            "awaiting": None,
            "version": task.version + 1,
            "updated_at": now,
            "stopping_at": task.stopping_at or now,
            "stopped_at": now,
            "stop_code": task.stop_code or code,
            "stopped_reason": task.stopped_reason or reason,
        }
    )
