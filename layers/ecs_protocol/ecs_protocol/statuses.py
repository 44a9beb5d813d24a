"""Amazon ECS's task states, in their order, and which may follow which.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class TaskStatus(StrEnum):
    """A task's lastStatus. A task passes these in order, and may skip any but the last."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


class DesiredStatus(StrEnum):
    """What the control plane wants of a task. It only ever goes from RUNNING to STOPPED."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class HealthStatus(StrEnum):
    """A container's healthStatus."""

    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"


class StopCode(StrEnum):
    """Why a task stopped, as DescribeTasks gives it."""

    TASK_FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_CONTAINER_EXITED = "EssentialContainerExited"
    USER_INITIATED = "UserInitiated"
    SERVICE_SCHEDULER_INITIATED = "ServiceSchedulerInitiated"
    SPOT_INTERRUPTION = "SpotInterruption"
    TERMINATION_NOTICE = "TerminationNotice"


_S = TaskStatus

SUCCESSORS: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        _S.PROVISIONING: frozenset(
            {_S.PENDING, _S.ACTIVATING, _S.RUNNING, _S.DEACTIVATING, _S.STOPPING, _S.DEPROVISIONING, _S.STOPPED}
        ),
        _S.PENDING: frozenset({_S.ACTIVATING, _S.RUNNING, _S.DEACTIVATING, _S.STOPPING, _S.DEPROVISIONING, _S.STOPPED}),
        _S.ACTIVATING: frozenset({_S.RUNNING, _S.DEACTIVATING, _S.STOPPING, _S.DEPROVISIONING, _S.STOPPED}),
        _S.RUNNING: frozenset({_S.DEACTIVATING, _S.STOPPING, _S.DEPROVISIONING, _S.STOPPED}),
        _S.DEACTIVATING: frozenset({_S.STOPPING, _S.DEPROVISIONING, _S.STOPPED}),
        _S.STOPPING: frozenset({_S.DEPROVISIONING, _S.STOPPED}),
        _S.DEPROVISIONING: frozenset({_S.STOPPED}),
        _S.STOPPED: frozenset(),
    }
)
