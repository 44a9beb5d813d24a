"""What to do about a service: snapshot in, plan out. Whoever carries it out may die anywhere; the next run plans anew.

Whether a task counts is for standing.py to say; here is what follows from it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from control_plane.domain.scheduling.census import CONNECTED, Census, is_of, running, take_census
from control_plane.domain.scheduling.ranking import Groups, ranked
from control_plane.domain.scheduling.rollout import Checks, bounds, had_run_well, progress, proved_at
from control_plane.domain.scheduling.standing import Connection, standing
from control_plane.domain.scheduling.throttle import throttle
from control_plane.domain.service import Deployment, RolloutState, Service, ServiceStatus
from control_plane.domain.task import Task
from ecs_protocol.statuses import TaskStatus

Order = Callable[[Sequence[Task]], Sequence[Task]]
"""Those of some tasks that may be stopped, in the order in which they go."""


@dataclass(frozen=True)
class ServicePlan:
    """`start` tasks to place now, `stop` tasks to end, `ended` tasks to strike off the service's list."""

    start: int
    substitutes: int
    """How many of those take the place of tasks whose machines are away."""
    stop: tuple[Task, ...]
    """The surplus, and tasks of former deployments."""
    sick: tuple[Task, ...]
    """Tasks to end for their health. Not counted as failures yet: whoever tells them to stop counts those."""
    ailing: tuple[Task, ...]
    """Those that are to be replaced for their health, and run on until then: who goes first, first."""
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
    deployment: Deployment
    """The PRIMARY one, with its counts."""
    former: tuple[Task, ...]
    """Tasks of former deployments that are to run until others have taken their place."""
    older: tuple[Deployment, ...]
    """Those of the former ones that still have tasks, with their counts."""
    tripped: bool
    """The circuit breaker has had enough of the PRIMARY deployment."""
    leaving: bool
    """Tasks have been told to stop on machines that are connected, and have not."""
    stuck: bool
    """The bounds of the deployment allow no step, and nothing is on its way that could change that."""
    protected: int
    """How many tasks are to stop and are protected, where nothing else is left to do."""
    waits: bool
    """Something is to happen on a machine that is connected."""
    until: datetime | None
    """When time alone may change what is to be done."""
    crowded: bool
    """It is stuck for want of room that tasks of the former deployment have. Not known before it is tried."""

    @property
    def at_rest(self) -> bool:
        """Tasks of former deployments are there, none is to stop, and no new one is on its way."""
        return bool(self.older) and not (self.stop or self.sick or self.deployment.pending_count or self.leaving)

    @property
    def steady(self) -> bool:
        """Nothing is left to do, and nothing to wait for but machines that are away."""
        return not (self.start or self.stop or self.sick or self.give_up or self.waits or self.not_before)


def plan(
    service: Service,
    tasks: Sequence[Task],
    now: datetime,
    connections: Mapping[str, Connection] | None = None,
    delays: Mapping[str, timedelta | None] | None = None,
    *,
    checks: Checks | None = None,
    groups: Groups | None = None,
) -> ServicePlan:
    """Compare what runs with what should.

    `tasks` are those on the service's list, stopped ones included: one that has stopped is counted as an end exactly
    once, since striking it off is part of the same commit as what the end leads to. `groups` as in ranked(), the others
    as in take_census().
    """
    places, waits_of = connections or {}, delays or {}
    census = take_census(service, tasks, now, connections=places, delays=waits_of, checks=checks or {})
    wanted = service.desired_count if service.status is ServiceStatus.ACTIVE else 0
    own_ends = [task for task in census.ended if is_of(service.deployment, task)]
    failed_starts, not_before = throttle(service, own_ends, now, all_run=running(census.staying) >= wanted)
    order = partial(ranked, census=census, places=places, groups=groups or {})
    steps = _steps(service, census, wanted, order, throttled=not_before is not None)
    well = [task for task in census.current if task.task_id in census.healthy]
    proofs = [*well, *(task for task in own_ends if had_run_well(service, task, checks or {}))]
    went = progress(service, own_ends, proofs, 0, now)
    if went.tripped:
        steps = _Steps()
    older = _still_there(service, census)
    proving = [at for task in well if _in_progress(service) and (at := proved_at(service, task)) and at > now]
    done = _is_done(service, census)
    kept_running = running(census.kept)
    return ServicePlan(
        start=steps.start,
        substitutes=max(0, min(steps.start, len(census.missed) - sum(bool(task.substitute) for task in census.kept))),
        stop=steps.stop,
        sick=steps.sick,
        ailing=tuple(task for task in order(census.current) if task.task_id in census.sick and task not in steps.sick),
        give_up=_given_up(service, census),
        ended=(*census.ended, *census.leaving) if done else census.ended,
        running=kept_running,
        pending=len(census.kept) - kept_running,
        away=sum(census.away(task) for task in census.wanted_to_run),
        missed=len(census.missed),
        held=_held(census, places, waits_of, now),
        failed_starts=failed_starts,
        not_before=not_before if steps.missing else None,
        status=ServiceStatus.INACTIVE if done else service.status,
        deployment=_counted(service.deployment, census.current).model_copy(
            update={"failed_tasks": went.failed_tasks, "has_run": went.has_run}
        ),
        former=tuple(task for task in census.former if task not in steps.stop),
        older=older,
        tripped=went.tripped,
        leaving=any(not census.away(task) for task in census.leaving),
        stuck=not (not_before or went.tripped) and _is_stuck(service, census, steps),
        crowded=False,
        protected=len(steps.blocking) if _is_quiet(service, census, steps) else 0,
        waits=wanted > len(census.staying)
        or bool(older or proving or census.draining or steps.blocking)
        or not _all_well(service, census),
        until=_next_change(census, [*proving, *(_protected_until(task) for task in steps.blocking)]),
    )


@dataclass(frozen=True)
class _Steps:
    """What is to be done now, and how many tasks of the PRIMARY deployment are `missing`."""

    start: int = 0
    stop: tuple[Task, ...] = ()
    sick: tuple[Task, ...] = ()
    missing: int = 0
    blocking: tuple[Task, ...] = ()
    """Tasks that are to stop and stay for as long as they are protected."""


def _steps(service: Service, census: Census, wanted: int, order: Order, *, throttled: bool) -> _Steps:
    """Within the bounds of the deployment: never more than `most` that run or are about to, never fewer than `least`
    that are healthy by our doing."""
    limits = bounds(service, wanted)
    missing = max(0, wanted - len(census.staying) - census.holding)
    room = max(0, limits.most - census.occupied)
    failed = service.deployment.rollout_state is RolloutState.FAILED
    stops = _Stops(census.healthy, spare=len(census.healthy) - limits.least)
    former = order(census.former)
    # What a failed deployment has not replaced goes on, as far as it is wanted.
    stops.take(former[: max(0, len(census.kept) - wanted)] if failed else former)
    shielded = [task for task in census.current if task.task_id in census.protected]
    # One that is to be replaced, and protected, is none of those wanted: no other one has to go for it.
    outlasting = [task for task in shielded if task.task_id in census.replaced]
    first_to_end = sorted((task for task in shielded if task not in outlasting), key=_protected_until)
    in_order = order(census.current)
    surplus = max(0, len(census.current) - len(outlasting) - wanted)
    # An unhealthy one stays until another is well in its place.
    relieved = max(0, len(census.healthy) - (wanted - len(census.sick)))
    too_many = in_order[:surplus]
    stops.take([task for task in too_many if task.task_id in census.sick][:relieved])
    stops.take([task for task in too_many if task.task_id not in census.sick])
    # Where there is no room for its replacement beside it, a task ends first; and at once, if it does not run yet. One
    # that is unhealthy is better than none for as long as nothing is started.
    to_replace = census.draining if throttled or failed else census.replaced
    crowded = [task for task in in_order[surplus:] if task.task_id in to_replace]
    room_soon = max(0, limits.most - len(census.kept) + len(stops.chosen))
    first = max(0, wanted - len(census.staying) - min(missing, room_soon))
    stops.take(crowded[:first])
    stops.take([task for task in crowded[first:] if task.last_status is not TaskStatus.RUNNING])
    return _Steps(
        start=0 if throttled or failed else min(missing, room),
        stop=tuple(task for task in stops.chosen if task.task_id not in census.sick),
        sick=tuple(task for task in stops.chosen if task.task_id in census.sick),
        missing=missing,
        blocking=(
            *(task for task in census.former if task.task_id in census.protected and not failed),
            *outlasting,
            *first_to_end[: max(0, surplus - len(in_order))],
        ),
    )


def _protected_until(task: Task) -> datetime:
    return task.protected_until or task.created_at


@dataclass
class _Stops:
    """Which tasks end. A healthy one only as long as enough others stay (`spare`)."""

    healthy: Collection[str]
    spare: int
    chosen: list[Task] = field(default_factory=list)

    def take(self, candidates: Sequence[Task]) -> None:
        for task in candidates:
            if task.task_id not in self.healthy:
                self.chosen.append(task)
            elif self.spare > 0:
                self.spare -= 1
                self.chosen.append(task)


def _in_progress(service: Service) -> bool:
    return service.deployment.rollout_state is RolloutState.IN_PROGRESS


def _counted(deployment: Deployment, kept: Sequence[Task]) -> Deployment:
    count = running(kept)
    return deployment.model_copy(update={"running_count": count, "pending_count": len(kept) - count})


def _still_there(service: Service, census: Census) -> tuple[Deployment, ...]:
    """The older deployments with tasks, those on machines that are away and have been told to stop left aside."""
    leaving = {task.deployment_id for task in census.leaving if census.counts(task) or not census.away(task)}
    found = leaving | {task.deployment_id for task in census.former}
    return tuple(
        _counted(each, [task for task in census.former if task.deployment_id == each.deployment_id])
        for each in service.older
        if each.deployment_id in found
    )


def _given_up(service: Service, census: Census) -> tuple[Task, ...]:
    """A task that does not count now would, once its machine is back: nobody would look after a deleted service's."""
    ending = service.status is not ServiceStatus.ACTIVE
    return tuple(
        task
        for task in census.wanted_to_run
        if census.standings[task.task_id].given_up or (ending and not census.counts(task))
    )


def _all_well(service: Service, census: Census) -> bool:
    """Whether all on machines that are connected run, and are healthy while a deployment is on its way."""
    here = [task for task in census.kept if not census.away(task)]
    if _in_progress(service):
        return all(task.task_id in census.healthy for task in here)
    return running(here) == len(here)


def _is_stuck(service: Service, census: Census, steps: _Steps) -> bool:
    """Whether tasks that are to be replaced stay, since neither may one of them stop nor one of the new ones start."""
    to_go = {task.task_id for task in census.former} | census.draining
    if service.deployment.rollout_state is RolloutState.FAILED or not to_go - census.protected:
        return False
    # One that did not run when its machine went away may run by now: no number would bring that on.
    return _is_quiet(service, census, steps) and all(task.task_id in census.healthy for task in census.staying)


def _is_quiet(service: Service, census: Census, steps: _Steps) -> bool:
    """Whether nothing is done now, and nothing is on its way."""
    moves = steps.start or steps.stop or steps.sick
    leaving = any(not census.away(task) for task in census.leaving)
    return not (moves or leaving) and _all_well(service, census)


def _held(
    census: Census, places: Mapping[str, Connection], delays: Mapping[str, timedelta | None], now: datetime
) -> int:
    """How many would not count any more if their machines' absence had not been put off."""
    held = [task for task in (*census.kept, *census.leaving) if delays.get(task.instance_id, timedelta()) is None]
    return sum(
        census.counts(task) and not standing(task, places.get(task.instance_id, CONNECTED), now).counts for task in held
    )


def _is_done(service: Service, census: Census) -> bool:
    """Whether a deleted service's tasks are gone, or on machines that are away and know what to do."""
    if service.status is ServiceStatus.ACTIVE or census.kept or census.missed:
        return False
    return all(census.away(task) and not census.counts(task) for task in census.leaving)


def _next_change(census: Census, proving: Sequence[datetime]) -> datetime | None:
    of_absences = (each.until for each in census.standings.values() if each.until is not None)
    return min((*of_absences, *census.sick_later, *proving), default=None)
