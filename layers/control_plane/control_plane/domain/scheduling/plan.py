"""What to do about a service: snapshot in, plan out. Whoever carries it out may die anywhere; the next run plans anew.

Whether a task counts is for standing.py to say; here is what follows from it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.scheduling.standing import Connection, Standing, absence_of_task, standing
from control_plane.domain.service import Service, ServiceStatus
from control_plane.domain.tags import Prefer
from control_plane.domain.task import Task
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus

STARTS_BEFORE_THROTTLING = 3
FIRST_WAIT_SECONDS = 10
LONGEST_WAIT_SECONDS = 900

MINIMUM_HEALTHY_PERCENT = 100
MAXIMUM_PERCENT = 200
"""Of desiredCount: no other values of a service's deployment configuration are supported."""

CONNECTED = Connection(connected=True)


@dataclass(frozen=True)
class ServicePlan:
    """`start` tasks to place now, `stop` tasks to end, `ended` tasks to strike off the service's list."""

    start: int
    substitutes: int
    """How many of those take the place of tasks whose machines are away."""
    stop: tuple[Task, ...]
    """The surplus, and what may leave container instances that are DRAINING."""
    give_up: tuple[Task, ...]
    """Tasks that are never to run again, if their machines ever return."""
    ended: tuple[Task, ...]
    running: int
    pending: int
    away: int
    """Tasks to run whose machines are disconnected."""
    missed: int
    """Of those, how many do not count any more."""
    held: int
    """How many would not count if their machines had not vanished together with too many others."""
    failed_starts: int
    not_before: datetime | None
    status: ServiceStatus
    waits: bool
    """Something is to happen on a machine that is connected."""
    until: datetime | None
    """When time alone may change what is to be done."""

    @property
    def steady(self) -> bool:
        """Nothing is left to do, and nothing to wait for but machines that are away."""
        return not (self.start or self.stop or self.give_up or self.waits or self.not_before)


def plan(
    service: Service,
    tasks: Sequence[Task],
    now: datetime,
    connections: Mapping[str, Connection] | None = None,
    delays: Mapping[str, timedelta | None] | None = None,
) -> ServicePlan:
    """Compare what runs with what should.

    `tasks` are those on the service's list, stopped ones included: one that has stopped is counted as an end exactly
    once, since striking it off is part of the same commit as what the end leads to. `connections` and `delays`
    (departures.py) are by container instance; one that is not named is connected.
    """
    ended = tuple(task for task in tasks if task.stopped)
    alive = [task for task in tasks if not task.stopped]
    places = connections or {}

    def of(task: Task) -> Standing:
        place = places.get(task.instance_id, CONNECTED)
        return standing(task, place, now, delay=(delays or {}).get(task.instance_id, timedelta()))

    standings = {task.task_id: of(task) for task in alive}
    wanted_to_run = [task for task in alive if task.desired_status is DesiredStatus.RUNNING]
    counted = [task for task in wanted_to_run if standings[task.task_id].counts]
    # Tasks on instances that are DRAINING run on until others have taken their place, and are none of those wanted.
    draining = [task for task in counted if places.get(task.instance_id, CONNECTED).draining]
    kept = [task for task in counted if not places.get(task.instance_id, CONNECTED).draining]
    leaving = [task for task in alive if task.desired_status is DesiredStatus.STOPPED]
    in_the_way = sum(standings[task.task_id].counts for task in leaving)
    wanted = service.desired_count if service.status is ServiceStatus.ACTIVE else 0
    running = sum(map(_runs, counted))
    missed = [task for task in wanted_to_run if not standings[task.task_id].counts]

    failed_starts = service.failed_starts + sum(_failed_to_start(task) for task in ended)
    not_before = service.not_before
    if sum(map(_runs, kept)) >= wanted and not any(_failed_to_start(task) for task in ended):
        failed_starts, not_before = 0, None
    elif failed_starts > service.failed_starts:
        not_before = _wait_until(failed_starts, now)
    throttled = not_before is not None and now < not_before
    if not throttled:
        not_before = None

    away = {task.task_id for task in wanted_to_run if standings[task.task_id].away}
    surplus = _surplus(kept, len(kept) - wanted, away, places)
    leaving_now = _leaving(draining, sum(map(_runs, kept)) - sum(map(_runs, surplus)), wanted)
    missing = max(0, wanted - len(kept) - in_the_way - _must_end_first(draining))
    running_on = len(kept) + len(draining) - len(leaving_now) + in_the_way
    start = 0 if throttled else min(missing, max(0, wanted * MAXIMUM_PERCENT // 100 - running_on))
    ending = service.status is not ServiceStatus.ACTIVE
    # A task that does not count now would, once its machine is back, and nobody would look after it any more.
    given_up = [task for task in wanted_to_run if standings[task.task_id].given_up or (ending and task in missed)]
    done = ending and not counted and not missed and not in_the_way
    done = done and all(standings[task.task_id].away for task in leaving)
    return ServicePlan(
        start=start,
        substitutes=max(0, min(start, len(missed) - sum(bool(task.substitute) for task in kept))),
        stop=(*surplus, *leaving_now),
        give_up=tuple(given_up),
        ended=(*ended, *leaving) if done else ended,
        running=running,
        pending=len(counted) - running,
        away=len(away),
        missed=len(missed),
        held=sum(_is_held(task, places, delays or {}, now) for task in alive if standings[task.task_id].counts),
        failed_starts=failed_starts,
        not_before=not_before if missing else None,
        status=ServiceStatus.INACTIVE if done else service.status,
        waits=wanted > len(kept)
        or bool(draining)
        or any(task.last_status is not TaskStatus.RUNNING for task in kept if task.task_id not in away),
        until=min((each.until for each in standings.values() if each.until is not None), default=None),
    )


def _is_held(
    task: Task,
    places: Mapping[str, Connection],
    delays: Mapping[str, timedelta | None],
    now: datetime,
) -> bool:
    if delays.get(task.instance_id, timedelta()) is not None:
        return False
    return not standing(task, places.get(task.instance_id, CONNECTED), now).counts


def _failed_to_start(task: Task) -> bool:
    asked_for = task.stop_code in {StopCode.USER_INITIATED, StopCode.SERVICE_SCHEDULER_INITIATED}
    return task.started_at is None and not asked_for


def _wait_until(failed_starts: int, now: datetime) -> datetime | None:
    excess = failed_starts - STARTS_BEFORE_THROTTLING
    if excess < 0:
        return None
    seconds = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(excess, 10))
    return now + timedelta(seconds=seconds)


def _runs(task: Task) -> bool:
    return task.last_status is TaskStatus.RUNNING


def _leaving(draining: Sequence[Task], running_elsewhere: int, wanted: int) -> tuple[Task, ...]:
    """Which tasks leave their DRAINING instances now.

    One that does not run yet at once, one that runs as soon as enough run besides: stopping it leaves at least
    MINIMUM_HEALTHY_PERCENT of those wanted. A stop-after task has at most one copy, so that it ends first.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-draining.html
    """
    run_on = [task for task in draining if _runs(task) and not _is_single(task)]
    at_once = [task for task in draining if not _runs(task) or _is_single(task)]
    needed = math.ceil(wanted * MINIMUM_HEALTHY_PERCENT / 100)
    spare = max(0, running_elsewhere + len(run_on) - needed)
    return (*at_once, *sorted(run_on, key=lambda task: (task.created_at, task.task_id))[:spare])


def _must_end_first(draining: Sequence[Task]) -> int:
    """How many tasks nothing is started for before they have ended: they are to have one copy."""
    return sum(_is_single(task) for task in draining)


def _is_single(task: Task) -> bool:
    return absence_of_task(task).kind == "stop-after"


def _surplus(kept: Sequence[Task], count: int, away: set[str], places: Mapping[str, Connection]) -> tuple[Task, ...]:
    """Who goes first: whose machine is away, who runs least, who is the copy that is not preferred once a machine is
    back, who is on the fullest instance, and then the newest."""
    if count <= 0:
        return ()
    on_instance = Counter(task.instance_id for task in kept)
    copies = any(task.substitute for task in kept)
    not_preferred = _copy_rank(places) if copies else lambda _task: 0.0
    ranked = sorted(
        kept,
        key=lambda task: (
            task.task_id not in away,
            task.last_status is TaskStatus.RUNNING,
            not_preferred(task),
            -on_instance[task.instance_id],
            -task.created_at.timestamp(),
            task.task_id,
        ),
    )
    return tuple(ranked[:count])


def _copy_rank(places: Mapping[str, Connection]) -> Callable[[Task], float]:
    """Smaller goes first: a substitute, or, if substitutes are preferred, who came back last."""

    def rank(task: Task) -> float:
        if absence_of_task(task).prefer is Prefer.ORIGINAL:
            return 0.0 if task.substitute else 1.0
        back = places.get(task.instance_id, CONNECTED).changed_at
        return 0.0 if task.substitute or back is None else -back.timestamp()

    return rank
