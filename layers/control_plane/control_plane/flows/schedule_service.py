"""Bring services to what is wanted of them. Each run reads all afresh, plans, and commits in bounded chunks.

    keys of a batch ──► distinct services ──► read ──► plan ──► place ──► commit a chunk ──┐
                                               ▲                                          │ more to do
                                               └──────────────── lost the lock ◄──────────┘

Two runs may work on one service: every chunk is committed under the service's lock, so that one of them loses and
begins anew with what the other did. A run that dies has committed whole chunks, and the next one sees them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.health import checked_containers
from control_plane.domain.inbox import ServiceKey
from control_plane.domain.placement.filters import DAEMONS_FIRST, WAIT_FOR_DAEMONS
from control_plane.domain.placement.place import Demand, Placed, Unplaced
from control_plane.domain.placement.rules import SERVICE_DEFAULT, parse_strategy
from control_plane.domain.reminders import Reminder, watching_command, watching_service
from control_plane.domain.scheduling import departures, service_events
from control_plane.domain.scheduling.aftermath import deployments_after, next_look
from control_plane.domain.scheduling.history import followed
from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.ranking import group_of
from control_plane.domain.scheduling.standing import connection_of
from control_plane.domain.scheduling.task_sets import TaskSetsPlan, plan_task_sets, task_sets_after
from control_plane.domain.service import Service, ServiceEvent, ServiceStatus
from control_plane.domain.task import Task, request_stop
from control_plane.domain.waiting import Waiting, waiting
from control_plane.flows.again import until_won
from control_plane.flows.choose_instances import choose_instances
from control_plane.flows.run_task import demand_of, new_task, placing, watching
from control_plane.flows.schedule_daemon import let_go_of, look_at_daemons
from control_plane.flows.tasks_to_be import absence_members, definition_for, tags_of_tasks
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, reminders, service_deployments, services, tasks
from control_plane.store import waiting as waiting_store
from control_plane.store.table import Write
from ecs_protocol.statuses import StopCode

logger = Logger(child=True)

CHUNK = 20
"""Tasks that one transaction starts or stops: with instances, list items and events fewer than 100 writes."""

MAX_CHUNKS = 40
"""Of one run; what is left then, the sweeper brings back."""

UNHEALTHY = "Task failed container health checks"

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
    """Commit chunk after chunk until there is nothing to do. `changed`: the instances that it is about; None: all."""
    for _ in range(MAX_CHUNKS):
        if not until_won(cp, lambda attempt: _one_chunk(cp, key, changed, attempt)):
            return


@dataclass
class _Chunk:
    """What one transaction will write, and what is told of it."""

    writes: list[Write] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    events: list[ServiceEvent] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)
    """Tasks, by deployment or task set; of one of them only."""
    short: set[str] = field(default_factory=set)
    """Deployments and task sets that found no room for all that they want."""
    waiting: Waiting | None = None
    """What the first of these wanted and could not be placed; None: nothing."""
    in_its_own_way: bool = False
    """Room for a task is only missing where tasks of the service's former deployments are."""
    after_daemons: bool = False
    """An instance has room that is kept for DAEMON services, for a while."""


def _one_chunk(cp: ControlPlane, key: ServiceKey, changed: Sequence[str] | None, attempt: int) -> bool:
    """Whether there may be more to do."""
    service = services.load(cp.table, key.cluster, key.service)
    if service is None or service.status is ServiceStatus.INACTIVE:
        let_go_of(cp, key, changed or ())
        return False
    if service.is_daemon:
        return look_at_daemons(cp, service, changed)
    now = cp.clock()
    listed = services.list_of(cp.table, service)
    planned = _plan(cp, service, [task for _, task in listed.values() if task is not None], now)
    chunk = _Chunk()
    alive = [task for _, task in listed.values() if task is not None and not task.stopped]
    parts = _parts(service, planned)
    for whose, part in parts:
        if not chunk.started:
            _start(cp, whose, part, chunk, now, alive=alive, fresh=attempt > 0)
    startable = sum(part.start for whose, part in parts if whose.deployment.deployment_id not in chunk.short)
    if chunk.in_its_own_way and planned.at_rest and not chunk.started:
        planned = replace(planned, stuck=True, crowded=True)
    stopping = [
        *((task, _scaled(service, task)) for task in planned.stop),
        *((task, UNHEALTHY) for task in planned.sick),
        *((task, GIVEN_UP) for task in planned.give_up),
    ]
    # An item may occur once in a transaction, and an instance might both get a task and lose one: stops come later.
    now_stopping = [] if chunk.started else stopping[:CHUNK]
    _stop(cp, service, now_stopping, chunk, now)
    ended = [listed[task.task_id][0] for task in planned.ended] + [at for at, task in listed.values() if task is None]
    struck = ended[: CHUNK if chunk.writes else 2 * CHUNK]
    chunk.writes += [services.struck(service, each) for each in struck]

    more = (
        len(ended) > len(struck)
        or len(stopping) > len(now_stopping)
        or sum(chunk.started.values()) < startable
        or planned.tripped
    )
    after = _after(cp, service, planned, chunk, now, more=more)
    chunk.writes += _who_waits(cp, service, after, chunk, now)
    if after == service and not chunk.writes:
        return False
    if after.look_at is not None and after.look_at != service.look_at:
        chunk.reminders.append(watching_service(service.cluster, service.name, after.look_at))
    reminders.remind(cp.table, chunk.reminders)
    cp.table.commit(
        [services.changed(service, after), *chunk.writes, *(services.told(event) for event in chunk.events)]
    )
    # It has just said that it waits: room that came between the decision and that was shown to nobody.
    return more or (after.waiting_since is not None and service.waiting_since is None)


def _who_waits(cp: ControlPlane, service: Service, after: Service, chunk: _Chunk, now: datetime) -> list[Write]:
    """A shortage begins or ends, or what is wanted has changed meanwhile."""
    if chunk.waiting is not None:
        waiting_store.note(cp.table, service.cluster, now)
        said = service.planned and service.waiting_since and not service.external  # of task sets it may be another
        return [] if said else [waiting_store.begun(chunk.waiting)]
    if service.waiting_since is None:
        return []
    return [waiting_store.ended(service.cluster, service.waiting_since, service=service.name)]


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
    revisions = {task.task_definition for task in tasks if not task.stopped}
    checks = {name: checked_containers(definition_for(cp, service, name)) for name in revisions}
    strategy = parse_strategy(service.placement_strategy) or SERVICE_DEFAULT
    groups = {each.instance_id: group_of(each, strategy) for each in found.values()}
    decide = plan_task_sets if service.external else plan
    return decide(service, tasks, now, connections, delays, checks=checks, groups=groups)


def _parts(service: Service, planned: ServicePlan) -> list[tuple[Service, ServicePlan]]:
    """Who starts tasks, and how many: the service, or each of its task sets."""
    if isinstance(planned, TaskSetsPlan):
        return [(each.service, each.plan) for each in planned.parts]
    return [(service, planned)]


def _scaled(service: Service, task: Task) -> str:
    whose = f"deployment {service.deployment.deployment_id}"
    if service.external:
        whose = f"taskSet {task.deployment_id}" if task.deployment_id else f"service {service.name}"
    return f"Scaling activity initiated by ({whose})"


def definition_of_service(cp: ControlPlane, service: Service) -> dict[str, Any]:
    """From which its next task is made; with its tags as they are now, if tasks get them."""
    return definition_for(cp, service, service.task_definition, with_tags=service.propagate_tags == "TASK_DEFINITION")


def demand_of_service(service: Service, definition: Mapping[str, Any]) -> Demand:
    """What its next task asks of an instance."""
    return demand_of(
        definition,
        {},
        group=f"service:{service.name}",
        constraints=service.placement_constraints,
        strategy=parse_strategy(service.placement_strategy) or SERVICE_DEFAULT,
    )


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
    """`service`: as a task set sees it, if it has some. `alive`: all its tasks that have not stopped."""
    if not planned.start:
        return
    definition = definition_of_service(cp, service)
    demand = replace(demand_of_service(service, definition), after_daemons_at=now)
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
    if new:
        chunk.started[service.deployment.deployment_id] = len(new)
        names = " ".join(f"(task {task.task_id})" for task in new)
        chunk.events.append(
            service_events.told(service, f"has started {len(new)} tasks: {names}.", now=now, new_id=cp.new_id)
        )
        cp.fleet.took(new)  # should the commit be lost, the next attempt reads the fleet afresh
    unplaced = next((answer for answer in answers if isinstance(answer, Unplaced)), None)
    if unplaced is not None:
        chunk.short.add(service.deployment.deployment_id)
        chunk.in_its_own_way = not service.external and _is_in_its_own_way(service, unplaced, alive)
        chunk.after_daemons = (DAEMONS_FIRST,) in unplaced.refusals.values()
        chunk.waiting = chunk.waiting or waiting(
            demand,
            unplaced.counted,
            cluster=service.cluster,
            since=service.waiting_since or now,
            service=service.name,
        )
        if not service.short:
            chunk.events.append(service_events.short(service, unplaced, now=now, new_id=cp.new_id))


def _is_in_its_own_way(service: Service, unplaced: Unplaced, alive: Sequence[Task]) -> bool:
    """Whether an instance lacks nothing but resources, and would not if a former task of the service were gone."""
    held = {task.instance_id for task in alive if task.deployment_id != service.deployment.deployment_id}
    return any(
        name in held and all(reason.startswith("RESOURCE") for reason in reasons)
        for name, reasons in unplaced.refusals.items()
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
        service_events.told(service, f"has stopped {len(stopping)} running tasks: {names}.", now=now, new_id=cp.new_id)
    )


def _after(
    cp: ControlPlane, service: Service, planned: ServicePlan, chunk: _Chunk, now: datetime, *, more: bool
) -> Service:
    """The service as the commit leaves it; equal to what it was if nobody needs to know."""
    steady = planned.steady and not more and service.status is ServiceStatus.ACTIVE
    started, short = sum(chunk.started.values()), bool(chunk.short)
    look_at = next_look(service, planned, now, soon=short or more)
    if chunk.after_daemons and look_at is not None:
        look_at = min(look_at, now + WAIT_FOR_DAEMONS)
    chunk.events += service_events.of_plan(service, planned, steady=steady, now=now, new_id=cp.new_id)
    after = service.model_copy(
        update={
            "status": service.status if more else planned.status,
            "away_count": planned.away,
            "missed_count": planned.missed,
            "held_count": planned.held,
            "running_count": planned.running,
            "pending_count": planned.pending + started,
            "steady": steady,
            "planned": True,
            "failed_starts": planned.failed_starts,
            "not_before": planned.not_before,
            "short": short,
            "waiting_since": chunk.waiting.since if chunk.waiting else None,
            "stuck": planned.stuck,
            "protected_count": planned.protected or None,
            "look_at": look_at,
        }
    )
    if isinstance(planned, TaskSetsPlan):
        sets = task_sets_after(planned, now, started=chunk.started, short=chunk.short, more=more)
        chunk.events += service_events.of_task_sets(planned, sets, now=now, new_id=cp.new_id)
        return after.model_copy(update={"task_sets": sets})
    after = after.model_copy(
        update=deployments_after(service, planned, now, started=started, short=short, steady=steady)
    )
    if after.deployment.rollout_state is not service.deployment.rollout_state or planned.tripped:
        chunk.events += service_events.of_deployments(service, after, now=now, new_id=cp.new_id)
    newest = followed(service, after, tripped=planned.tripped, now=now)
    if newest != service.service_deployment:
        chunk.writes += service_deployments.recorded(after, newest)
    return after.model_copy(update={"service_deployment": newest})
