"""Bring services to what is wanted of them. Each run reads all afresh, plans, and commits in bounded chunks.

    keys of a batch ──► distinct services ──► read ──► plan ──► place ──► commit a chunk ──┐
                                               ▲         ▲                                │
                                               │         └── more to do, the lock held ◄──┤
                                               └──────────────── lost the lock ◄──────────┘

Two runs may work on one service: every chunk is committed under the service's lock, so that one of them loses and
begins anew with what the other did. A run that dies has committed whole chunks, and the next one sees them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from aws_lambda_powertools import Logger

from control_plane.domain.health import checked_containers
from control_plane.domain.inbox import ServiceKey
from control_plane.domain.placement.filters import DAEMONS_FIRST, WAIT_FOR_DAEMONS
from control_plane.domain.placement.place import Placed, Unplaced
from control_plane.domain.placement.rules import SERVICE_DEFAULT, parse_strategy
from control_plane.domain.races import InstanceChangedError
from control_plane.domain.reminders import Reminder, watching_command, watching_service
from control_plane.domain.scheduling import departures, service_events
from control_plane.domain.scheduling.aftermath import service_after
from control_plane.domain.scheduling.in_the_way import in_the_way, make_way
from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.task_sets import TaskSetsPlan, parts_of, plan_task_sets
from control_plane.domain.service import Service, ServiceEvent, ServiceStatus
from control_plane.domain.task import Task, request_stop
from control_plane.domain.waiting import ROLE, Waiting
from control_plane.flows.again import until_won
from control_plane.flows.choose_instances import choose_instances
from control_plane.flows.look_at_service import set_timer
from control_plane.flows.new_tasks import new_task, placing, watching
from control_plane.flows.require_roles import refusal_of_roles
from control_plane.flows.schedule_daemon import go_on, let_go_of, look_at_daemons
from control_plane.flows.service_demand import definition_of_service, demand_of_service, waits_for_room
from control_plane.flows.service_snapshot import KEPT, Snapshot, read
from control_plane.flows.tasks_to_be import absence_members, definition_for, tags_of_tasks
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instance_presence, reminders, service_deployments, services, tasks
from control_plane.store import waiting as waiting_store
from control_plane.store.fleet import NOW
from control_plane.store.table import Write
from ecs_protocol.statuses import StopCode

logger = Logger(child=True)

CHUNK = 20
"""Tasks that one transaction starts or stops: with instances, list items and events fewer than 100 writes."""

MAX_CHUNKS = 25
"""Of one run; with what is left then, a message to itself goes on."""

GIVEN_UP = "The container instance was disconnected for too long, and the task is not to run there again."


def schedule_services(cp: ControlPlane, wanted: Sequence[ServiceKey]) -> set[ServiceKey]:
    """Bring each service as far as it goes now. Returns those that failed and are to come again."""
    by_service: dict[ServiceKey, list[ServiceKey]] = defaultdict(list)
    for key in dict.fromkeys(wanted):
        by_service[ServiceKey(key.cluster, key.service)].append(key)
    failed: set[ServiceKey] = set()
    for service, keys in by_service.items():
        named = [key.instance_id for key in keys if key.instance_id is not None]
        try:
            schedule_service(cp, service, named if len(named) == len(keys) else None)
        except Exception:  # a service that cannot be seen to must not keep the others of its batch from it
            logger.exception("Service failed", extra={"cluster": service.cluster, "service": service.service})
            failed.update(keys)
    return failed


def schedule_service(cp: ControlPlane, key: ServiceKey, changed: Sequence[str] | None = None) -> None:
    """Commit chunk after chunk until there is nothing to do, or a message of its own goes on with the rest.

    `changed`: the instances that it is about; None: all.
    """
    seen: Snapshot | None = None
    for left in reversed(range(MAX_CHUNKS)):
        goes_on, seen = until_won(cp, partial(_one_chunk, cp, key, changed, seen))
        if goes_on is None:
            return
        if left == 0:
            go_on(cp, goes_on)
        changed = None if changed is None else ()  # these have been seen to


@dataclass
class _Chunk:
    """What one transaction will write, and what is told of it."""

    writes: list[Write] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    events: list[ServiceEvent] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)
    """Tasks, by deployment or task set; of one of them only."""
    tasks: list[Task] = field(default_factory=list)
    """As it leaves them: those that it starts, and those that it tells to stop."""
    new: list[Task] = field(default_factory=list)
    """Those that it starts."""
    waiting: dict[str, Waiting | None] = field(default_factory=dict)
    """By deployment or task set, what it wanted and could not place; None: nothing. Who is not in it was not tried."""
    in_the_way: list[Task] = field(default_factory=list)
    """Tasks that are to be replaced, and have the room that those wanted in their place lack."""
    after_daemons: bool = False
    """An instance has room that is kept for DAEMON services, for a while."""


def _one_chunk(
    cp: ControlPlane, key: ServiceKey, changed: Sequence[str] | None, kept: Snapshot | None, attempt: int
) -> tuple[Service | None, Snapshot | None]:
    """The service, if there may be more to do, and what is known of it then. `kept`: what the chunk before has left."""
    now = cp.clock()
    if kept is not None and attempt == 0 and now - kept.read_at < KEPT:
        seen = kept
    else:
        found = services.load(cp.table, key.cluster, key.service)
        if found is None or found.status is ServiceStatus.INACTIVE:
            let_go_of(cp, key, changed or ())
            return None, None
        if found.is_daemon:
            return look_at_daemons(cp, found, changed), None
        seen = read(cp.table, found, now)
    service, listed = seen.service, seen.listed
    stopped = [task for task in seen.tasks if task.stopped]
    # No more ends than are struck off the list with what they lead to: each is counted once.
    planned = _plan(cp, seen, [*seen.alive, *stopped[:CHUNK]], now)
    chunk = _Chunk()
    parts = parts_of(service, planned)
    for whose, part in parts:
        if not (chunk.started and part.start):  # an item may occur once in a transaction: one of them starts tasks
            waits = _start(cp, whose, part, chunk, now, seen=seen, fresh=attempt > 1)
            chunk.waiting[whose.deployment.deployment_id] = waits
    if chunk.in_the_way and not chunk.started:
        planned = make_way(planned, chunk.in_the_way)
    startable = sum(part.start for whose, part in parts if not chunk.waiting.get(whose.deployment.deployment_id))
    stopping = [
        *((task, service_events.scaling_activity(service, task)) for task in planned.stop),
        *((task, service_events.UNHEALTHY) for task in planned.sick),
        *((task, GIVEN_UP) for task in planned.give_up),
    ]
    # An instance might both get a task and lose one: stops come later.
    now_stopping = [] if chunk.started else stopping[:CHUNK]
    _stop(cp, service, now_stopping, chunk, now)
    told = {task.task_id for task, _ in now_stopping}
    planned = replace(planned, sick=tuple(task for task in planned.sick if task.task_id in told))
    ended = [listed[task.task_id][0] for task in planned.ended] + [at for at, task in listed.values() if task is None]
    struck = ended[: CHUNK if chunk.writes else 2 * CHUNK]
    chunk.writes += [services.struck(service, each) for each in struck]

    # What it tells to stop it looks at once more as if it read it: the stream does not wake it for that.
    more = len(ended) > len(struck) or len(stopped) > CHUNK or sum(chunk.started.values()) < startable
    more = more or bool(stopping) or planned.tripped
    after = _after(cp, service, planned, chunk, now, more=more)
    chunk.writes += _who_waits(cp, service, parts, chunk, now)
    if after == service and not chunk.writes:
        return None, None
    if after.look_at is not None and after.look_at != service.look_at:
        chunk.reminders.append(watching_service(service.cluster, service.name, after.look_at))
    reminders.remind(cp.table, chunk.reminders)
    try:
        events = map(services.told, service_events.in_order(chunk.events))
        cp.table.commit([services.changed(service, after), *chunk.writes, *events])
    except InstanceChangedError:
        cp.fleet.look_again(service.cluster, {task.instance_id for task in chunk.new})
        raise
    cp.fleet.took(chunk.new)
    set_timer(cp, service, after, now)
    # It has just said that it waits: room that came between the decision and that was shown to nobody.
    goes_on = more or any(
        chunk.waiting.get(whose.deployment.deployment_id) and whose.waiting_since is None for whose, _ in parts
    )
    left = seen.after(after, chunk.tasks, struck)
    return left.service if goes_on else None, left


def _who_waits(
    cp: ControlPlane, service: Service, parts: Sequence[tuple[Service, ServicePlan]], chunk: _Chunk, now: datetime
) -> list[Write]:
    """A shortage begins or ends, or what is wanted, or lacked, has changed meanwhile."""
    if any(chunk.waiting.values()):
        waiting_store.note(cp.table, service.cluster, now)
    writes: list[Write] = []
    for whose, _ in parts:
        if whose.deployment.deployment_id not in chunk.waiting:
            continue
        waits = chunk.waiting[whose.deployment.deployment_id]
        if waits is not None and not (whose.waiting_since and waiting_store.is_said(cp.table, waits)):
            writes.append(waiting_store.begun(waits))
        elif waits is None and whose.waiting_since is not None:
            task_set = whose.deployment.deployment_id if service.external else None
            since = whose.waiting_since
            writes.append(waiting_store.ended(service.cluster, since, service=service.name, task_set=task_set))
    return writes


def _plan(cp: ControlPlane, seen: Snapshot, some: Sequence[Task], now: datetime) -> ServicePlan:
    """With what is true of the machines that its tasks are on; of those that are away, how many others are, too."""
    service, alive = seen.service, seen.alive
    connections = seen.connections(cp.table)
    delays: Mapping[str, timedelta | None] = {}
    away = {task.instance_id for task in alive if task.disconnect and not connections[task.instance_id].connected}
    if away:
        delays = _delays(cp, service.cluster, away, now)
    revisions = {task.task_definition for task in some}
    checks = {name: checked_containers(definition_for(cp, service, name)) for name in revisions}
    groups = seen.groups(parse_strategy(service.placement_strategy) or SERVICE_DEFAULT)
    decide = plan_task_sets if service.external else plan
    return decide(service, some, now, connections, delays, checks=checks, groups=groups)


def _delays(cp: ControlPlane, name: str, away: Set[str], now: datetime) -> Mapping[str, timedelta | None]:
    cluster = clusters.load(cp.table, name)
    for fresh in (False, True):
        fleet = [each.instance for each in cp.fleet.candidates(name, now, age=NOW, fresh=fresh)]
        delays = departures.delays(fleet, cp.limits, cluster.resumed_at if cluster else None)
        if away <= delays.keys():  # else what is remembered of the fleet has not heard of it yet
            break
    return delays


def _start(
    cp: ControlPlane,
    service: Service,
    planned: ServicePlan,
    chunk: _Chunk,
    now: datetime,
    *,
    seen: Snapshot,
    fresh: bool,
) -> Waiting | None:
    """`service`: as a task set sees it, if it has some. `seen`: all of it.

    Answers what could not be placed.
    """
    if not planned.start:
        return None
    definition = definition_of_service(cp, service)
    demand = replace(demand_of_service(service, definition), after_daemons_at=now)
    refusal = refusal_of_roles(cp, service.cluster, definition, {})
    if refusal is not None:
        if not service.short:
            chunk.events.append(service_events.not_launched(service, refusal, now=now, new_id=cp.new_id))
        return waits_for_room(service, demand, {ROLE: 1}, now)
    count = min(planned.start, CHUNK)
    answers = choose_instances(cp, service.cluster, demand, count, fresh=fresh, of_service=seen.alive)
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
            execute_command=service.execute_command,
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
    chunk.tasks += new
    chunk.new += new
    if new:
        chunk.started[service.deployment.deployment_id] = len(new)
        chunk.events.append(service_events.started(service, new, now=now, new_id=cp.new_id))
    unplaced = next((answer for answer in answers if isinstance(answer, Unplaced)), None)
    if unplaced is None:
        return None
    some = [*planned.ailing, *planned.former]
    chunk.in_the_way += in_the_way(some, demand, unplaced, of_service=seen.alive, instances=seen.instances)
    chunk.after_daemons |= (DAEMONS_FIRST,) in unplaced.refusals.values()
    if not service.short:
        chunk.events.append(service_events.short(service, unplaced, now=now, new_id=cp.new_id))
    return waits_for_room(service, demand, unplaced.counted, now)


def _stop(
    cp: ControlPlane, service: Service, stopping: Sequence[tuple[Task, str]], chunk: _Chunk, now: datetime
) -> None:
    """`stopping`: tasks, and why each."""
    if not stopping:
        return
    told = [(task, request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, reason, now)) for task, reason in stopping]
    chunk.writes += [tasks.changed(task, after) for task, after in told]
    chunk.tasks += [after for _, after in told]
    places = sorted({task.instance_id for task, _ in stopping})
    chunk.reminders += [watching_command(service.cluster, instance_id, now) for instance_id in places]
    chunk.writes += [instance_presence.told(service.cluster, instance_id, now) for instance_id in places]
    gone = [task for task, _ in stopping]
    chunk.events.append(service_events.stopped(service, gone, now=now, new_id=cp.new_id))


def _after(
    cp: ControlPlane, service: Service, planned: ServicePlan, chunk: _Chunk, now: datetime, *, more: bool
) -> Service:
    """The service as the commit leaves it; equal to what it was if nobody needs to know."""
    waiting_since = {name: None if each is None else each.since for name, each in chunk.waiting.items()}
    after = service_after(service, planned, now, started=chunk.started, waiting_since=waiting_since, more=more)
    if chunk.after_daemons and after.look_at is not None:
        after = after.model_copy(update={"look_at": min(after.look_at, now + WAIT_FOR_DAEMONS)})
    chunk.events += service_events.of_plan(service, planned, steady=after.steady, now=now, new_id=cp.new_id)
    if isinstance(planned, TaskSetsPlan):
        chunk.events += service_events.of_task_sets(planned, after.task_sets, now=now, new_id=cp.new_id)
    if after.deployment.rollout_state is not service.deployment.rollout_state or planned.tripped:
        chunk.events += service_events.of_deployments(service, after, now=now, new_id=cp.new_id)
    if after.service_deployment != service.service_deployment:
        chunk.writes += service_deployments.recorded(after, after.service_deployment)
    return after
