"""Bring services to what is wanted of them. Each run reads all afresh, plans, and commits in bounded chunks.

    keys of a batch ──► distinct services ──► read ──► plan ──► place ──► commit a chunk ──┐
                                               ▲                                          │ more to do
                                               └──────────────── lost the lock ◄──────────┘

Two runs may work on one service: every chunk is committed under the service's lock, so that one of them loses and
begins anew with what the other did. A run that dies has committed whole chunks, and the next one sees them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.placement.place import Placed, Unplaced
from control_plane.domain.placement.rules import SERVICE_DEFAULT, parse_strategy
from control_plane.domain.reminders import Reminder, watching_command, watching_service
from control_plane.domain.scheduling import departures
from control_plane.domain.scheduling.events import unable_to_place
from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.standing import connection_of
from control_plane.domain.service import RolloutState, Service, ServiceEvent, ServiceStatus
from control_plane.domain.task import Task, request_stop
from control_plane.flows.again import until_won
from control_plane.flows.choose_instances import choose_instances
from control_plane.flows.run_task import demand_of, new_task, placing, watching
from control_plane.flows.services import deployment_event, tags_of_tasks
from control_plane.flows.tasks_to_be import absence_members
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, reminders, services, tasks
from control_plane.store.table import Write
from ecs_protocol.statuses import StopCode

logger = Logger(child=True)

CHUNK = 20
"""Tasks that one transaction starts or stops: with instances, list items and events fewer than 100 writes."""

MAX_CHUNKS = 40
"""Of one run; what is left then, the sweeper brings back."""

LOOK_AGAIN = timedelta(seconds=30)
"""After which a service that could not place all its tasks is looked at again: FIRST_GAP of domain/reminders.py."""

GIVEN_UP = "The container instance was disconnected for too long, and the task is not to run there again."

LOOK_ANYWAY = timedelta(hours=1)
"""After which a service that wants nothing is looked at, in case that nobody said so when it began to."""


def schedule_services(cp: ControlPlane, wanted: Sequence[ServiceKey]) -> set[ServiceKey]:
    """Bring each service as far as it goes now. Returns those that failed and are to come again."""
    failed: set[ServiceKey] = set()
    for key in dict.fromkeys(wanted):
        try:
            schedule_service(cp, key)
        except Exception:  # a service that cannot be seen to must not keep the others of its batch from it
            logger.exception("Service failed", extra={"cluster": key.cluster, "service": key.service})
            failed.add(key)
    return failed


def schedule_service(cp: ControlPlane, key: ServiceKey) -> None:
    """Commit chunk after chunk until there is nothing to do."""
    for _ in range(MAX_CHUNKS):
        if not until_won(cp, lambda attempt: _one_chunk(cp, key, attempt)):
            return


@dataclass
class _Chunk:
    """What one transaction will write, and what is told of it."""

    writes: list[Write] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    events: list[ServiceEvent] = field(default_factory=list)
    started: int = 0
    short: bool = False


def _one_chunk(cp: ControlPlane, key: ServiceKey, attempt: int) -> bool:
    """Whether there may be more to do."""
    service = services.load(cp.table, key.cluster, key.service)
    if service is None or service.status is ServiceStatus.INACTIVE:
        return False
    now = cp.clock()
    listed = services.list_of(cp.table, service)
    planned = _plan(cp, service, [task for _, task in listed.values() if task is not None], now)
    chunk = _Chunk()
    alive = [task for _, task in listed.values() if task is not None and not task.stopped]
    _start(cp, service, planned, chunk, now, alive=alive, fresh=attempt > 0)
    deployment = service.deployment.deployment_id
    scaled = f"Scaling activity initiated by (deployment {deployment})"
    # An item may occur once in a transaction, and an instance might both get a task and lose one: stops come later.
    room = 0 if chunk.started else CHUNK
    surplus = planned.stop[:room]
    given_up = planned.give_up[: room - len(surplus)]
    stopping = [*((task, scaled) for task in surplus), *((task, GIVEN_UP) for task in given_up)]
    _stop(cp, service, stopping, chunk, now)
    ended = [listed[task.task_id][0] for task in planned.ended] + [at for at, task in listed.values() if task is None]
    struck = ended[: CHUNK if chunk.writes else 2 * CHUNK]
    chunk.writes += [services.struck(service, each) for each in struck]

    more = (
        len(ended) > len(struck)
        or len(planned.stop) + len(planned.give_up) > room
        or (chunk.started < planned.start and not chunk.short)
    )
    after = _after(cp, service, planned, chunk, now, more=more)
    if after == service and not chunk.writes:
        return False
    if after.look_at is not None and after.look_at != service.look_at:
        chunk.reminders.append(watching_service(service.cluster, service.name, after.look_at))
    reminders.remind(cp.table, chunk.reminders)
    cp.table.commit(
        [services.changed(service, after), *chunk.writes, *(services.told(event) for event in chunk.events)]
    )
    return more


def _plan(cp: ControlPlane, service: Service, tasks: Sequence[Task], now: datetime) -> ServicePlan:
    """With what is true of the machines that its tasks are on; of those that are away, how many others are, too."""
    places = {(task.cluster, task.instance_id) for task in tasks if not task.stopped}
    found = instances.load_many(cp.table, places)
    connections = {instance_id: connection_of(found.get((cluster, instance_id))) for cluster, instance_id in places}
    delays: Mapping[str, timedelta | None] = {}
    if any(task.disconnect and not connections[task.instance_id].connected for task in tasks if not task.stopped):
        cluster = clusters.load(cp.table, service.cluster)
        fleet = [each.instance for each in cp.fleet.candidates(service.cluster, now, fresh=True)]
        delays = departures.delays(fleet, cp.limits, cluster.resumed_at if cluster else None)
    return plan(service, tasks, now, connections, delays)


def _start(
    cp: ControlPlane,
    service: Service,
    planned: ServicePlan,
    chunk: _Chunk,
    now: datetime,
    *,
    alive: Sequence[Task],
    fresh: bool,
) -> None:
    """`alive`: all tasks of the service that have not stopped."""
    if not planned.start:
        return
    propagates = service.propagate_tags == "TASK_DEFINITION"
    definition = cp.definitions.get(service.task_definition, with_tags=propagates)
    if definition is None:
        raise LookupError(f"task definition {service.task_definition} of service {service.name} is missing")
    demand = demand_of(
        definition,
        {},
        group=f"service:{service.name}",
        constraints=service.placement_constraints,
        strategy=parse_strategy(service.placement_strategy) or SERVICE_DEFAULT,
    )
    count = min(planned.start, CHUNK)
    answers = choose_instances(cp, service.cluster, demand, count, fresh=fresh, of_service=alive)
    placed = [answer for answer in answers if isinstance(answer, Placed)]
    new = [
        new_task(
            cp,
            service.cluster,
            each,
            definition,
            demand,
            group=demand.group,
            service=service.name,
            started_by=service.deployment.deployment_id,
            deployment_id=service.deployment.deployment_id,
            by_strategy=bool(service.deployment.capacity_provider_strategy) or None,
            substitute=number < planned.substitutes or None,
            **absence_members(definition, *tags_of_tasks(service, definition), in_service=True),
        )
        for number, each in enumerate(placed)
    ]
    chunk.reminders += watching(new)
    chunk.writes += placing(new, placed, now) + [services.listed(service, task.task_id) for task in new]
    chunk.started = len(new)
    if new:
        names = " ".join(f"(task {task.task_id})" for task in new)
        chunk.events.append(_told(cp, service, now, f"(service {service.name}) has started {len(new)} tasks: {names}."))
        cp.fleet.took(new)  # should the commit be lost, the next attempt reads the fleet afresh
    unplaced = next((answer for answer in answers if isinstance(answer, Unplaced)), None)
    if unplaced is not None:
        chunk.short = True
        if not service.short:
            chunk.events.append(_short(cp, service, unplaced, now))


def _short(cp: ControlPlane, service: Service, unplaced: Unplaced, now: datetime) -> ServiceEvent:
    event = _told(cp, service, now, unable_to_place(service.name, unplaced))
    closest = unplaced.closest
    reason = "MISSING" if closest is None else unplaced.refusals[closest][0]
    return event.model_copy(
        update={
            "detail_type": "ECS Service Action",
            "event_name": "SERVICE_TASK_PLACEMENT_FAILURE",
            "event_type": "ERROR",
            "reason": reason,
        }
    )


def _stop(
    cp: ControlPlane, service: Service, stopping: Sequence[tuple[Task, str]], chunk: _Chunk, now: datetime
) -> None:
    """`stopping`: tasks, and why each."""
    if not stopping:
        return
    chunk.writes += [
        tasks.changed(task, request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, reason, now))
        for task, reason in stopping
    ]
    places = sorted({task.instance_id for task, _ in stopping})
    chunk.reminders += [watching_command(service.cluster, instance_id, now) for instance_id in places]
    chunk.writes += [instances.told(service.cluster, instance_id, now) for instance_id in places]
    names = " ".join(f"(task {task.task_id})" for task, _ in stopping)
    chunk.events.append(
        _told(cp, service, now, f"(service {service.name}) has stopped {len(stopping)} running tasks: {names}.")
    )


def _after(
    cp: ControlPlane, service: Service, planned: ServicePlan, chunk: _Chunk, now: datetime, *, more: bool
) -> Service:
    """The service as the commit leaves it; equal to what it was if nobody needs to know."""
    steady = planned.steady and not more and service.status is ServiceStatus.ACTIVE
    if planned.missed > service.missed_count:
        chunk.events.append(_missed(cp, service, planned.missed, now))
    if planned.held > service.held_count:
        chunk.events.append(_held(cp, service, planned.held, now))
    deployment = service.deployment
    if steady and not service.steady:
        chunk.events.append(
            _told(cp, service, now, f"(service {service.name}) has reached a steady state.").model_copy(
                update={"detail_type": "ECS Service Action", "event_name": "SERVICE_STEADY_STATE"}
            )
        )
        if deployment.rollout_state is RolloutState.IN_PROGRESS:
            chunk.events.append(deployment_event(service, cp.new_id(), RolloutState.COMPLETED, now))
            deployment = deployment.model_copy(update={"rollout_state": RolloutState.COMPLETED, "updated_at": now})
    if planned.not_before is not None and service.not_before is None:
        chunk.events.append(
            _told(
                cp, service, now, f"(service {service.name}) is unable to consistently start tasks successfully."
            ).model_copy(
                update={
                    "detail_type": "ECS Service Action",
                    "event_name": "SERVICE_TASK_START_IMPAIRED",
                    "event_type": "WARN",
                }
            )
        )
    return service.model_copy(
        update={
            "status": service.status if more else planned.status,
            "away_count": planned.away,
            "missed_count": planned.missed,
            "held_count": planned.held,
            "deployment": deployment,
            "running_count": planned.running,
            "pending_count": planned.pending + chunk.started,
            "steady": steady,
            "planned": True,
            "failed_starts": planned.failed_starts,
            "not_before": planned.not_before,
            "short": chunk.short,
            "look_at": _next_look(service, planned, now, soon=chunk.short or more),
        }
    )


def _next_look(service: Service, planned: ServicePlan, now: datetime, *, soon: bool) -> datetime | None:
    """A time that still lies ahead stays, so that a run with nothing to do writes nothing."""
    if planned.status is ServiceStatus.INACTIVE:
        return None
    if planned.not_before is not None:
        return planned.not_before
    latest = now + (LOOK_AGAIN if soon or planned.held else LOOK_ANYWAY)
    if planned.until is not None and planned.until < latest:
        return planned.until
    ahead = service.planned and service.look_at is not None and now < service.look_at <= latest
    return service.look_at if ahead else latest


def _missed(cp: ControlPlane, service: Service, count: int, now: datetime) -> ServiceEvent:
    message = (
        f"(service {service.name}) does not count {count} tasks any more, whose container instances have been "
        "disconnected for longer than their tag ecs-anywhere:disconnect allows."
    )
    return _told(cp, service, now, message).model_copy(
        update={
            "detail_type": "ECS Service Action",
            "event_name": "ECS_ANYWHERE_TASKS_MISSED",
            "event_type": "WARN",
            "reason": "DISCONNECTED",
        }
    )


def _held(cp: ControlPlane, service: Service, count: int, now: datetime) -> ServiceEvent:
    message = (
        f"(service {service.name}) starts nothing in place of {count} tasks whose container instances are "
        "disconnected: too many vanished within five minutes. It goes on when they return, or after "
        f"`ecs-anywhere resume --cluster {service.cluster}`."
    )
    return _told(cp, service, now, message).model_copy(
        update={
            "detail_type": "ECS Service Action",
            "event_name": "ECS_ANYWHERE_REPLACEMENT_HELD",
            "event_type": "WARN",
            "reason": "MASS_DISCONNECT",
        }
    )


def _told(cp: ControlPlane, service: Service, now: datetime, message: str) -> ServiceEvent:
    return ServiceEvent(
        event_id=cp.new_id(), cluster=service.cluster, service=service.name, created_at=now, message=message
    )
