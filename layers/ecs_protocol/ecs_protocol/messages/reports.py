"""What an agent reports of its tasks."""

from typing import Literal

from pydantic import Field

from ecs_protocol.messages.base import Message, NetworkBinding, TaskId, Timestamp
from ecs_protocol.statuses import HealthStatus, StopCode, TaskStatus


class ContainerReport(Message):
    """One container of a TaskReport."""

    name: str
    last_status: TaskStatus
    exit_code: int | None = None
    reason: str | None = Field(default=None, max_length=1024)
    runtime_id: str | None = None
    image_digest: str | None = None
    network_bindings: tuple[NetworkBinding, ...] = ()
    health_status: HealthStatus = HealthStatus.UNKNOWN


class RestartsInPlace(Message):
    """How often a machine that was cut off has started a task's containers again, in the task's life."""

    count: int = Field(ge=1)
    exit_codes: dict[str, int] = Field(default_factory=dict)
    """By container: with what each last ended."""
    first_at: Timestamp
    last_at: Timestamp


class TaskReport(Message):
    """The whole state of one task. (epoch, number), compared as a pair, orders a task's reports."""

    task_id: TaskId
    epoch: int = Field(ge=1)
    number: int = Field(ge=1)
    command_version: int = Field(default=0, ge=0)
    """The version of the newest command for this task that the agent has seen: the report answers it."""
    last_status: TaskStatus
    stop_code: StopCode | None = None
    """Set with STOPPED: why, as the machine saw it."""
    stopped_reason: str | None = Field(default=None, max_length=1024)
    containers: tuple[ContainerReport, ...] = ()
    pull_started_at: Timestamp | None = None
    pull_stopped_at: Timestamp | None = None
    started_at: Timestamp | None = None
    stopping_at: Timestamp | None = None
    execution_stopped_at: Timestamp | None = None
    stopped_at: Timestamp | None = None
    restarts: RestartsInPlace | None = None


class TaskStateChanges(Message):
    """One or more reports; each stands for itself."""

    v: int = 1
    type: Literal["TaskStateChanges"] = "TaskStateChanges"
    reports: tuple[TaskReport, ...] = Field(min_length=1, max_length=100)
