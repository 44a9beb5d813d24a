"""What to do about a DAEMON service: one task on each container instance that is ACTIVE and satisfies its constraints.

    places (instance, line, task) ──► verdict on each ──► within the bounds ──► a step for each place that changes

A line is what the service has on one instance, and how it was counted: so a change of one instance is decided and
counted with that instance's place and the sum of the others, however many they are. With all places it is the same
decision. Pure; whoever carries it out may die anywhere, and the next look plans anew.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.entity import Entity
from control_plane.domain.scheduling.census import is_of
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
    due: bool = False
    """Any change of the instance is to wake the service, since its task is missing there."""

    @property
    def newly_lacks(self) -> bool:
        """Whether it is news that the instance cannot take the task."""
        before, after = self.place.line, self.line
        if after is None or not after.lacks:
            return False
        return before is None or (before.lacks, before.deployment_id) != (after.lacks, after.deployment_id)


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
    until: datetime | None
    """When time alone may change what is to be done at these places."""


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
    here = [(place, verdict, _line(service, place, verdict, now, known)) for place, verdict in verdicts]
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
        after = _leaving(line) if stop and line is not None else line
        steps += _step(service, place, after, start=verdict is Verdict.FREE, stop=stop)
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
        until=min((at for each in verdicts for at in _times(service, *each, known, now)), default=None),
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
    if not place.matches:
        last = place.instance.status is InstanceStatus.DRAINING and place.others
        return Verdict.STAYS if last or task.protected(now) else Verdict.OUSTED
    if not place.connected:
        return Verdict.STAYS
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


def _line(service: Service, place: Place, verdict: Verdict, now: datetime, checks: Checks) -> Line | None:
    """The place's line if its task is left alone."""
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
        status="RUNNING" if task.last_status is TaskStatus.RUNNING else "PENDING",
        healthy=healthy and place.matches,
        away=away,
        behind=verdict is Verdict.BEHIND and not task.protected(now),
        settled=away or (place.matches and (_failed(service) or (current and healthy and not proving))),
        failed_starts=0 if healthy else _failures(service, place),
    )


def _leaving(line: Line) -> Line:
    return line.model_copy(
        update={"status": None, "leaving": True, "healthy": False, "behind": False, "settled": line.away}
    )


def _order(each: tuple[Place, Verdict, Line | None]) -> tuple[bool, str]:
    """What is not healthy goes first, as it costs nothing."""
    place, _, line = each
    return (bool(line and line.healthy), place.instance_id)


def _step(service: Service, place: Place, after: Line | None, *, start: bool, stop: Verdict | None) -> list[Step]:
    there = place.task is not None and not place.task.stopped
    missing = place.matches and not there and service.status is ServiceStatus.ACTIVE and not _failed(service)
    known = place.instance is not None and service.name in place.instance.daemons_due
    step = Step(
        place,
        after,
        start=start,
        stop=stop,
        seen=known and not missing,
        due=missing and not start and not known,
    )
    return [step] if start or stop or step.seen or step.due or after != place.line else []


def started(line: Line, task: Task) -> Line:
    """The line of a place once a task starts there."""
    return line.model_copy(
        update={
            "task_id": task.task_id,
            "deployment_id": task.deployment_id,
            "status": "PENDING",
            "not_before": None,
            "settled": False,
        }
    )


def _times(service: Service, place: Place, verdict: Verdict, checks: Checks, now: datetime) -> list[datetime]:
    task = place.task
    if verdict is Verdict.WAITS:
        found = [_not_before(service, place, now)]
    elif task is None or verdict not in {Verdict.STAYS, Verdict.BEHIND}:
        return []
    else:
        proved = proved_at(service, task) if service.deployment.rollout_state is RolloutState.IN_PROGRESS else None
        found = [unhealthy_at(service, task, checks), proved, task.protected_until]
    return [at for at in found if at is not None and at > now]
