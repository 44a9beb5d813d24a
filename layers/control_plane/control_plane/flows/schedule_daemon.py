"""Bring a DAEMON service to what is wanted of it: all of it, or what it has on the instances that have changed.

    (service, instance)  it joins, changes, has room; a task on it changes; its time ─► its line, it, the tasks on it
        └── more may be down now, of a deployment ────────────────────────────────► the same of the next ones behind
    (service)            another wish, or an hour has passed ─────────────────────► all lines, tasks, instances
                                                                                              │
                 one commit for each chunk of places, under the service's lock  ◄── plan ◄────┘

A change of one instance costs the same however many there are: what the others add to the counts stands in the service
(its tally). All are looked at only when somebody has changed what is wanted of all, and once an hour: so a message that
is lost only delays. Of two that look at once one loses the lock; and a line names one task, so that an instance never
has two.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control_plane.domain.health import checked_containers
from control_plane.domain.inbox import ServiceKey
from control_plane.domain.placement.place import Candidate, Demand, Placed, Unplaced, place
from control_plane.domain.placement.shortage import lacks
from control_plane.domain.reminders import Reminder, watching_command, watching_service
from control_plane.domain.scheduling import service_events
from control_plane.domain.scheduling.daemon import Step, Verdict, plan_daemons
from control_plane.domain.scheduling.daemon_aftermath import after_chunk, may_stop
from control_plane.domain.scheduling.daemon_line import Line, started, total
from control_plane.domain.scheduling.history import followed
from control_plane.domain.service import Service, ServiceEvent
from control_plane.domain.task import Task, request_stop
from control_plane.flows.daemon_snapshot import DaemonSnapshot, everything, places_in, some
from control_plane.flows.look_at_service import look_later, set_timer
from control_plane.flows.new_tasks import demand_of, new_task, watching
from control_plane.flows.tasks_to_be import absence_members, definition_for, tags_of_tasks
from control_plane.runtime import ControlPlane
from control_plane.store import (
    daemons,
    instance_presence,
    instance_resources,
    instances,
    reminders,
    service_deployments,
    services,
    tasks,
)
from control_plane.store.table import Write
from ecs_protocol.statuses import StopCode

CHUNK = 20
"""Places that one transaction changes, each with its task, its instance, its line and an event at most."""

MAX_CHUNKS = 25
"""Of one run; with what is left then, a message to itself goes on."""


@dataclass
class _Chunk:
    """What one transaction will write, and what is told of it. `service` is as it was read."""

    service: Service
    now: datetime
    writes: list[Write] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    events: list[ServiceEvent] = field(default_factory=list)
    new: list[Task] = field(default_factory=list)
    stopped: list[Task] = field(default_factory=list)
    lines: list[tuple[Line | None, Line | None]] = field(default_factory=list)
    """As they were, and as they will be."""
    timers: list[tuple[ServiceKey, datetime]] = field(default_factory=list)
    """When these instances are to be looked at again."""


def look_at_daemons(cp: ControlPlane, service: Service, changed: Sequence[str] | None) -> Service | None:
    """The service, if there may be more to do at once. `changed`: the instances that are to be looked at; None: all."""
    now = cp.clock()
    named = None if changed is None or not service.planned or service.tally is None else sorted(set(changed))
    may = may_stop(service) if named is not None else 0
    behind = daemons.behind(cp.table, service, min(may, CHUNK)) if may else []
    # Lines that say so can be missed by a read that lags: then all are read, which does not.
    whole = named is None or (may > 0 and not behind)
    snapshot = everything(cp, service) if whole else some(cp, service, sorted({*(named or ()), *behind}))
    order = _order(cp, service)
    places = places_in(cp, order.demand, snapshot)
    counted_here = total(each.line for each in places if each.line)
    counts = counted_here if whole else Counter(service.tally)
    revisions = {each.task.task_definition for each in places if each.task is not None}
    checks = {name: checked_containers(definition_for(cp, service, name)) for name in revisions}
    planned = plan_daemons(service, places, now, elsewhere=counts - counted_here, checks=checks)
    chunks = [planned.steps[start : start + CHUNK] for start in range(0, len(planned.steps), CHUNK)] or [()]
    for number, steps in enumerate(chunks[:MAX_CHUNKS], start=1):
        chunk = _Chunk(service, now)
        for step in steps:
            _carry_out(cp, chunk, order, step, snapshot)
        counts = counts - total(before for before, _ in chunk.lines if before)
        counts = counts + total(after for _, after in chunk.lines if after)
        after = after_chunk(service, planned, steps, counts, now, whole=whole, last=number == len(chunks))
        after = after.model_copy(update={"rolled_up_to": behind[-1] if behind else service.rolled_up_to})
        tripped = not after.planned
        newest = followed(service, after, tripped=tripped, now=now)
        if newest != service.service_deployment:
            chunk.writes += service_deployments.recorded(after, newest)
        service = _commit(cp, chunk, after.model_copy(update={"service_deployment": newest}))
        if tripped:
            return service  # its circuit breaker has had enough: the rest of this plan is of a deployment that is over
    if len(chunks) > MAX_CHUNKS:
        go_on(cp, service)
        return None
    return service if may_stop(service) and not whole else None


def go_on(cp: ControlPlane, service: Service) -> None:
    """A run has done enough: another goes on."""
    key = ServiceKey(service.cluster, service.name)
    cp.queues.wake_services([(key, f"{service.name[:80]}-{service.lock}-goes-on")])


def _commit(cp: ControlPlane, chunk: _Chunk, after: Service) -> Service:
    """Answers the service as it is stored then."""
    service = chunk.service
    if after == service and not chunk.writes:
        return service
    if chunk.new:
        chunk.events.append(service_events.started(service, chunk.new, now=chunk.now, new_id=cp.new_id))
    if chunk.stopped:
        chunk.events.append(service_events.stopped(service, chunk.stopped, now=chunk.now, new_id=cp.new_id))
    chunk.events += service_events.of_daemons(service, after, now=chunk.now, new_id=cp.new_id)
    if after.look_at is not None and after.look_at != service.look_at:
        chunk.reminders.append(watching_service(service.cluster, service.name, after.look_at))
    reminders.remind(cp.table, [*chunk.reminders, *watching(chunk.new)])
    events = map(services.told, service_events.in_order(chunk.events))
    cp.table.commit([services.changed(service, after), *chunk.writes, *events])
    set_timer(cp, service, after, chunk.now)
    for key, at in chunk.timers:
        look_later(cp, key, at, chunk.now)
    cp.fleet.took(chunk.new)
    return after.model_copy(update={"lock": service.lock + 1})


@dataclass(frozen=True)
class _Order:
    """What each task of the service is made from."""

    definition: dict[str, Any]
    demand: Demand


def _order(cp: ControlPlane, service: Service) -> _Order:
    with_tags = service.propagate_tags == "TASK_DEFINITION"
    definition = definition_for(cp, service, service.task_definition, with_tags=with_tags)
    constraints = service.placement_constraints
    demand = demand_of(
        definition,
        {},
        group=f"service:{service.name}",
        constraints=constraints,
        execute_command=bool(service.execute_command),
    )
    return _Order(definition, demand)


def _carry_out(cp: ControlPlane, chunk: _Chunk, order: _Order, step: Step, snapshot: DaemonSnapshot) -> None:
    """An item may occur once in a transaction: that an instance whose task stops is done with, the next look says."""
    service, instance_id, task, line = chunk.service, step.place.instance_id, step.place.task, step.line
    if step.start and line is not None:
        line = started(line, _start(cp, chunk, order, snapshot.candidates[instance_id]))
    elif step.stop is not None and task is not None:
        _stop(chunk, task, _reason(service, task, step.stop))
        if step.stop is Verdict.SICK:
            chunk.events.append(service_events.unhealthy(service, task, now=chunk.now, new_id=cp.new_id))
    elif step.seen:
        chunk.writes.append(daemons.seen(service.cluster, instance_id, service.name, chunk.now))
    elif step.waits:
        chunk.writes.append(daemons.waits(service.cluster, instance_id, service.name, chunk.now))
    if step.newly_lacks and line is not None:
        said = lacks(order.demand, snapshot.candidates[instance_id], line.lacks)
        unplaced = Unplaced({instance_id: line.lacks}, {instance_id: said})
        chunk.events.append(service_events.short(service, unplaced, now=chunk.now, new_id=cp.new_id))
    if line != step.place.line:
        chunk.writes.append(daemons.written(service, instance_id, step.place.line, line))
        chunk.lines.append((step.place.line, line))
        look_at = line.look_at if line is not None else None
        if look_at is not None and (step.place.line is None or look_at != step.place.line.look_at):
            chunk.reminders.append(watching_service(service.cluster, service.name, look_at, instance_id))
            chunk.timers.append((ServiceKey(service.cluster, service.name, instance_id), look_at))


def _start(cp: ControlPlane, chunk: _Chunk, order: _Order, candidate: Candidate) -> Task:
    service, now = chunk.service, chunk.now
    [answer] = place(order.demand, 1, [candidate])
    if not isinstance(answer, Placed):
        raise LookupError(f"container instance {candidate.instance.instance_id} was found to have room")
    new = new_task(
        cp,
        service.cluster,
        answer,
        order.definition,
        order.demand,
        group=order.demand.group,
        service=service.name,
        daemon=True,
        execute_command=service.execute_command,
        started_by=service.deployment.deployment_id,
        deployment_id=service.deployment.deployment_id,
        **absence_members(order.definition, *tags_of_tasks(service, order.definition), in_service=True),
    )
    where = (service.cluster, new.instance_id, new.registration)
    taken = instance_resources.taken(*where, [new.resources], now, believed=answer.believed, daemon=service.name)
    chunk.writes += [tasks.placed(new), taken]
    chunk.new.append(new)
    return new


def _reason(service: Service, task: Task, verdict: Verdict) -> str:
    """Why a task is stopped."""
    if verdict is Verdict.SICK:
        return service_events.UNHEALTHY
    if verdict is Verdict.BEHIND:
        return service_events.scaling_activity(service, task)
    return f"The container instance is not to have a task of the DAEMON service (service {service.name})"


def _stop(chunk: _Chunk, task: Task, reason: str) -> None:
    stopping = request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, reason, chunk.now)
    chunk.writes += [tasks.changed(task, stopping), instance_presence.told(task.cluster, task.instance_id, chunk.now)]
    chunk.reminders.append(watching_command(task.cluster, task.instance_id, chunk.now))
    chunk.stopped.append(task)


def let_go_of(cp: ControlPlane, key: ServiceKey, changed: Iterable[str]) -> None:
    """A service that is no more has no business on any instance, though the end of its last task made it due there."""
    found = instances.load_many(cp.table, [(key.cluster, each) for each in changed])
    for instance in found.values():
        if key.service in instance.daemons_due | instance.daemons_waiting:
            cp.table.commit([daemons.seen(key.cluster, instance.instance_id, key.service, cp.clock())])
