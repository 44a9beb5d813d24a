"""What to do about a DAEMON service: one task on each container instance that is ACTIVE and satisfies its constraints.

    places (instance, line, task) ──► verdict on each ──► within the bounds ──► a step for each place that changes

A change of one instance is decided with that instance's place and the sum over the lines of the others
(daemon_line.py), however many they are. With all places it is the same decision. Pure; whoever carries it out may die
anywhere, and the next look plans anew.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.scheduling.census import is_of
from control_plane.domain.scheduling.daemon_line import Line, told_to_stop, total
from control_plane.domain.scheduling.rollout import (
    Checks,
    bounds,
    failed_to_start,
    is_healthy,
    proved_at,
    unhealthy_at,
)
from control_plane.domain.scheduling.throttle import wait_until
from control_plane.domain.service import RolloutState, Service, ServiceStatus
from control_plane.domain.task import Task
from ecs_protocol.statuses import DesiredStatus, TaskStatus


@dataclass(frozen=True)
class Place:
    """A container instance as the service sees it."""

    instance_id: str
    line: Line | None = None
    task: Task | None = None
    """The one on its line, stopped or not."""
    instance: ContainerInstance | None = None
    matches: bool = False
    """It is ACTIVE and satisfies the constraints."""
    lacks: tuple[str, ...] = ()
    """Why it could not take a task now."""
    others: bool = False
    """It holds tasks of services that are no daemons. Known only where it is DRAINING."""

    @property
    def connected(self) -> bool:
        return self.instance is not None and self.instance.agent_connected


class Verdict(StrEnum):
    """What is to become of a place."""

    NOTHING = "NOTHING"
    """No task is there, and none is to be."""
    FREE = "FREE"
    """A task is to start."""
    WAITS = "WAITS"
    """A task is to be there, and cannot start yet."""
    LEAVING = "LEAVING"
    """Its task has been told to stop."""
    STAYS = "STAYS"
    BEHIND = "BEHIND"
    """Its task is to be replaced, within the bounds of the deployment."""
    SICK = "SICK"
    """Its task is to be replaced for its health."""
    OUSTED = "OUSTED"
    """Its task has no business there any more."""


@dataclass(frozen=True)
class Step:
    """A place that changes, and its line as it will be; None: it has none then."""

    place: Place
    line: Line | None
    start: bool = False
    stop: Verdict | None = None
    seen: bool = False
    """The service is done with the instance, which may be given other tasks."""
    waits: bool = False
    """Any change of the instance is to wake the service, for whose task others need not wait there: it has no room, or
    its machine is away."""

    @property
    def newly_short(self) -> bool:
        """Whether it is news that the instance cannot take the task of this deployment."""
        return self.newly_lacks and not self._lacked

    @property
    def newly_lacks(self) -> bool:
        """Whether it is news why: an event names the first reason."""
        return self.line is not None and bool(self.line.lacks) and self._lacked != self.line.lacks[:1]

    @property
    def _lacked(self) -> tuple[str, ...]:
        """The first reason as it was."""
        before, after = self.place.line, self.line
        return before.lacks[:1] if before and after and before.deployment_id == after.deployment_id else ()


@dataclass(frozen=True)
class DaemonPlan:
    """What is to be done, place by place, each independent of the others."""

    steps: tuple[Step, ...]
    well: tuple[Task, ...]
    """Tasks of the PRIMARY deployment that run, and are healthy if that is checked."""
    wanted: int
    """How many instances are to have a task, here and elsewhere."""
    stuck: bool
    """The bounds of the deployment allow no step, and nothing is on its way that could change that."""


def plan_daemons(
    service: Service,
    places: Sequence[Place],
    now: datetime,
    *,
    elsewhere: Mapping[str, int] | None = None,
    checks: Checks | None = None,
) -> DaemonPlan:
    """`elsewhere` is the sum over the lines of all other places; a task of which nobody knows the end has no place."""
    known = checks or {}
    verdicts = [(place, _verdict(service, place, now, known)) for place in places]
    here = [(place, verdict, _timed(service, place, verdict, now, known)) for place, verdict in verdicts]
    counts = Counter(elsewhere or {}) + total(line for _, _, line in here if line)
    spare = counts["healthy"] - bounds(service, counts["wanted"]).least
    steps: list[Step] = []
    for place, verdict, line in sorted(here, key=_order):
        stop: Verdict | None = None
        if verdict in {Verdict.OUSTED, Verdict.SICK}:
            stop = verdict
        elif verdict is Verdict.BEHIND and line is not None and line.behind and (spare > 0 or not line.healthy):
            stop = verdict
            spare -= line.healthy
        after = told_to_stop(line) if stop and line is not None else line
        steps += _step(service, place, verdict, after, stop)
    moves = any(step.start or step.stop for step in steps)
    return DaemonPlan(
        steps=tuple(steps),
        well=tuple(
            place.task
            for place, _, line in here
            if line is not None and line.healthy and place.task is not None and _is_current(service, place.task)
        ),
        wanted=counts["wanted"],
        stuck=not moves and 0 < counts["behind"] == counts["unsettled"] - counts["lacking"],
    )


def _is_current(service: Service, task: Task) -> bool:
    return is_of(service.deployment, task)


def _failed(service: Service) -> bool:
    return service.deployment.rollout_state is RolloutState.FAILED


def _verdict(service: Service, place: Place, now: datetime, checks: Checks) -> Verdict:
    task, ending = place.task, service.status is not ServiceStatus.ACTIVE
    if task is None or task.stopped:
        if ending or not place.matches or not place.connected:
            return Verdict.NOTHING
        waits = place.lacks or _failed(service) or (_not_before(service, place, now) or now) > now
        return Verdict.WAITS if waits else Verdict.FREE
    if task.desired_status is DesiredStatus.STOPPED:
        return Verdict.LEAVING
    if ending:
        return Verdict.OUSTED
    if place.instance is None or place.instance.status is InstanceStatus.INACTIVE:
        return Verdict.STAYS  # whoever deregistered the instance ends its tasks
    if not place.connected:
        return Verdict.STAYS  # what is to become of it is decided once its machine is back, by what is true then
    if not place.matches:
        last = place.instance.status is InstanceStatus.DRAINING and place.others
        return Verdict.STAYS if last or task.protected(now) else Verdict.OUSTED
    if not _is_current(service, task):
        return Verdict.STAYS if _failed(service) else Verdict.BEHIND
    sick_at = unhealthy_at(service, task, checks)
    return Verdict.SICK if sick_at is not None and sick_at <= now else Verdict.STAYS


def _failures(service: Service, place: Place) -> int:
    """Starts that have failed here in a row: of another deployment, or before somebody changed the service, none do."""
    before = place.line
    if before is None or before.deployment_id != service.deployment.deployment_id or not service.planned:
        return 0
    return before.failed_starts


def _not_before(service: Service, place: Place, now: datetime) -> datetime | None:
    if place.task is not None and place.task.stopped and failed_to_start(place.task):
        return wait_until(_failures(service, place) + 1, now) if _is_current(service, place.task) else None
    return place.line.not_before if place.line and _failures(service, place) else None


def _timed(service: Service, place: Place, verdict: Verdict, now: datetime, checks: Checks) -> Line | None:
    """The place's line if its task is left alone."""
    line = _line(service, place, verdict, now, checks)
    if line is None:
        return None
    times = [at for at in _times(service, place, verdict, now, checks) if at is not None and at > now]
    return line.model_copy(update={"look_at": min(times, default=None)})


def _line(service: Service, place: Place, verdict: Verdict, now: datetime, checks: Checks) -> Line | None:
    task = place.task
    if verdict is Verdict.NOTHING:
        return None
    if task is None or task.stopped:
        failed = task is not None and failed_to_start(task) and _is_current(service, task)
        return Line(
            instance_id=place.instance_id,
            deployment_id=service.deployment.deployment_id,
            wanted=True,
            settled=_failed(service),
            lacks=place.lacks,
            failed_starts=_failures(service, place) + failed,
            not_before=_not_before(service, place, now),
        )
    away = not place.connected
    if verdict is Verdict.LEAVING:
        return Line(
            instance_id=place.instance_id,
            task_id=task.task_id,
            deployment_id=task.deployment_id,
            wanted=place.matches and not away,
            leaving=True,
            away=away,
            settled=away,
            failed_starts=_failures(service, place),
        )
    healthy = is_healthy(task, checks)
    proved = proved_at(service, task)
    proving = service.deployment.rollout_state is RolloutState.IN_PROGRESS and (proved is None or proved > now)
    current = _is_current(service, task)
    return Line(
        instance_id=place.instance_id,
        task_id=task.task_id,
        deployment_id=task.deployment_id or service.deployment.deployment_id,
        wanted=place.matches,
        status=_counted_as(task) if place.matches or not away else None,
        healthy=healthy and place.matches,
        away=away,
        behind=verdict is Verdict.BEHIND and not task.protected(now),
        settled=away or (place.matches and (_failed(service) or (current and healthy and not proving))),
        failed_starts=0 if healthy else _failures(service, place),
    )


def _counted_as(task: Task) -> Literal["PENDING", "RUNNING"]:
    return "RUNNING" if task.last_status is TaskStatus.RUNNING else "PENDING"


def _order(each: tuple[Place, Verdict, Line | None]) -> tuple[bool, str]:
    """What is not healthy goes first, as it costs nothing."""
    place, _, line = each
    return (bool(line and line.healthy), place.instance_id)


def _step(service: Service, place: Place, verdict: Verdict, after: Line | None, stop: Verdict | None) -> list[Step]:
    there = place.task is not None and not place.task.stopped
    start = verdict is Verdict.FREE
    missing = place.matches and not there and service.status is ServiceStatus.ACTIVE and not _failed(service)
    exists = place.instance is not None and place.instance.status is not InstanceStatus.INACTIVE
    undecided = exists and verdict is Verdict.STAYS and not (place.matches or place.connected)
    due = place.instance is not None and service.name in place.instance.daemons_due
    waits = place.instance is not None and service.name in place.instance.daemons_waiting
    step = Step(
        place,
        after,
        start=start,
        stop=stop,
        seen=(due or waits) and not (missing or undecided),
        waits=(missing or undecided) and not start and (bool(place.lacks) if due else not waits),
    )
    return [step] if start or stop or step.seen or step.waits or after != place.line else []


def _times(
    service: Service, place: Place, verdict: Verdict, now: datetime, checks: Checks
) -> Sequence[datetime | None]:
    """When time alone may lead to another verdict. Of a machine that is away nothing is to be decided."""
    task = place.task
    if verdict is Verdict.WAITS and not _failed(service):
        return [_not_before(service, place, now)]
    if task is None or not place.connected or verdict not in {Verdict.STAYS, Verdict.BEHIND}:
        return ()
    proved = proved_at(service, task) if service.deployment.rollout_state is RolloutState.IN_PROGRESS else None
    to_go = verdict is Verdict.BEHIND or not place.matches
    return [unhealthy_at(service, task, checks), proved, task.protected_until if to_go else None]
