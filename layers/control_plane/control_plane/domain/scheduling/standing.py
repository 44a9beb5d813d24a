"""Whether a task counts, and for what: the one rule that starting, stopping, deployments and limits share. Pure.

    its machine is connected          it counts as long as it is to run
    its machine is away    keep             it counts
                           replace-after=D  it counts until D has passed since the machine was found disconnected
                           stop-after=D     it counts until the machine must have stopped it, whatever is wanted of it
    nobody has heard its start        it counts for a minute; then it is never to start

What the tag said when a task was started is stored with the task. See docs/offline.md.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.tags import KEEP, Absence, parse_absence
from control_plane.domain.task import Awaiting, Task
from ecs_protocol.statuses import DesiredStatus, TaskStatus

START_HEARD_WITHIN = timedelta(seconds=60)
STOP_MARGIN = timedelta(seconds=30)
"""For the machine's kills, once a container's stopTimeout is over, and for clocks that do not run alike."""


@dataclass(frozen=True)
class Connection:
    """What is known of a container instance's connection, and whether it is to be emptied."""

    connected: bool
    changed_at: datetime | None = None
    """When it was found connected or disconnected."""
    session_ended_at: datetime | None = None
    """When a lifecycle event said that its session had ended. A machine that only does not answer has none."""
    draining: bool = False


@dataclass(frozen=True)
class Standing:
    """What a task that has not stopped is to its service."""

    counts: bool
    """As one of those wanted: nothing is to be started in its place."""
    away: bool = False
    """Its machine is disconnected: nothing that is wanted of it happens soon."""
    given_up: bool = False
    """It is never to run (again): its desired status is to be STOPPED."""
    until: datetime | None = None
    """When this may change by itself."""


def connection_of(instance: ContainerInstance | None) -> Connection:
    if instance is None:
        return Connection(connected=False)
    return Connection(
        instance.agent_connected,
        instance.connection_changed_at,
        instance.session_ended_at,
        draining=instance.status is InstanceStatus.DRAINING,
    )


def absence_of_task(task: Task) -> Absence:
    return KEEP if task.disconnect is None else parse_absence(task.disconnect)


def stopped_by(task: Task, connection: Connection) -> datetime | None:
    """When a machine that was cut off must have stopped a stop-after task. None: nobody can say yet."""
    if connection.session_ended_at is None:
        return None
    stopping = timedelta(seconds=task.stop_timeout or 0) + STOP_MARGIN
    return connection.session_ended_at + absence_of_task(task).after + stopping


def standing(task: Task, connection: Connection, now: datetime, *, delay: timedelta | None = timedelta()) -> Standing:
    """What the task is to its service at `now`.

    `delay` is how much later than it says an absence ends for this machine; None: it does not, for now.
    """
    absence = absence_of_task(task)
    wanted = task.desired_status is DesiredStatus.RUNNING
    if connection.connected:
        return Standing(counts=wanted or absence.kind == "stop-after")
    if absence.kind == "stop-after":
        return _while_it_may_run(task, connection, now, delay)
    if not wanted:
        return Standing(counts=False, away=True)
    if task.awaiting is Awaiting.START and task.last_status is TaskStatus.PENDING:
        return _unheard(task, now)
    if absence.kind == "replace-after":
        return _until(connection.changed_at and connection.changed_at + absence.after, now, delay)
    return Standing(counts=True, away=True)


def _until(due: datetime | None, now: datetime, delay: timedelta | None) -> Standing:
    """Counts until then, and `delay` longer. Held, it is looked at then all the same, so that it can be said."""
    if due is None:
        return Standing(counts=True, away=True)
    if delay is None:
        return Standing(counts=True, away=True, until=due if now < due else None)
    due += delay
    return Standing(counts=now < due, away=True, until=due if now < due else None)


def _while_it_may_run(task: Task, connection: Connection, now: datetime, delay: timedelta | None) -> Standing:
    found = _until(stopped_by(task, connection), now, delay)
    return found if found.counts else replace(found, given_up=task.desired_status is DesiredStatus.RUNNING)


def _unheard(task: Task, now: datetime) -> Standing:
    due = (task.awaiting_since or task.created_at) + START_HEARD_WITHIN
    if now < due:
        return Standing(counts=True, away=True, until=due)
    return Standing(counts=False, away=True, given_up=True)
