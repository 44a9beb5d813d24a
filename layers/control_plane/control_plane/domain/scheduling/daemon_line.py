"""What a DAEMON service has on one container instance, as it was last counted. Pure.

The service's item holds the sum over its lines (its tally): so a change of one instance is decided and counted with its
line alone, however many there are.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from control_plane.domain.entity import Entity
from control_plane.domain.task import Task


class Line(Entity):
    """What the service has on one container instance, as it was last counted."""

    instance_id: str
    task_id: str | None = None
    deployment_id: str | None = None
    """Of the task."""
    wanted: bool = False
    """It is to have a task: one of the desiredCount."""
    status: Literal["PENDING", "RUNNING"] | None = None
    """Of a task that is to run."""
    leaving: bool = False
    """The task is to stop, and has not."""
    healthy: bool = False
    away: bool = False
    """The task's machine is disconnected: nothing that is wanted of it happens soon."""
    behind: bool = False
    """The task is of a former deployment, and may be stopped as far as the bounds allow it."""
    settled: bool = False
    """Nothing is left to do here, or to wait for."""
    lacks: tuple[str, ...] = ()
    """Why the instance cannot take the task that it is to have."""
    failed_starts: int = 0
    """Tasks of a deployment that ended here, one after the other, before they were RUNNING."""
    not_before: datetime | None = None
    """No task is started here earlier: starts that fail are spaced out, on each instance by itself."""
    look_at: datetime | None = None
    """When time alone may change what is to be done here: a reminder for then names this instance."""


def started(line: Line, task: Task) -> Line:
    """The line of a place once a task starts there."""
    return line.model_copy(
        update={
            "task_id": task.task_id,
            "deployment_id": task.deployment_id,
            "status": "PENDING",
            "not_before": None,
            "look_at": None,
            "settled": False,
        }
    )


def told_to_stop(line: Line) -> Line:
    """The line of a place once its task is told to stop."""
    return line.model_copy(
        update={
            "status": None,
            "leaving": True,
            "healthy": False,
            "behind": False,
            "look_at": None,
            "settled": line.away,
        }
    )


def total(lines: Iterable[Line]) -> Counter[str]:
    """The sum over lines: what a service's counts are made from."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update({name: 1 for name, counted in _counted(line).items() if counted})
    return counts


def _counted(line: Line) -> dict[str, bool]:
    return {
        "open": not (line.leaving and line.away),
        "wanted": line.wanted,
        "healthy": line.healthy,
        "away": line.away,
        "behind": line.behind,
        "unsettled": not line.settled,
        "lacking": bool(line.lacks),
        str(line.status): line.status is not None,
        f"{line.status} {line.deployment_id}": line.status is not None,
        held_by(line.deployment_id): line.task_id is not None and not line.away,
    }


def held_by(deployment_id: str | None) -> str:
    """Under which the tasks are counted that keep a former deployment from being over: those of machines that are away
    do not."""
    return f"HELD {deployment_id}"
