"""Bring a DAEMON service to what is wanted of it: all of it, or what it has on the instances that have changed.

    (service, instance)  an instance joins, changes, has room; a task on it has changed ─► its line, it, the tasks on it
    (service)            another wish, or the clock ─────────────────────────────────────► all lines, tasks, instances
                                                                                              │
                 one commit for each chunk of places, under the service's lock  ◄── plan ◄────┘

A change of one instance costs the same however many there are: what the others add to the counts stands in the service
(its tally). A message that is lost only delays: the sweeper has all looked at again. Of two that look at once one loses
the lock; and a line names one task, so that an instance never has two.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.health import checked_containers
from control_plane.domain.inbox import ServiceKey
from control_plane.domain.placement.filters import MEMBER_OF
from control_plane.domain.placement.place import Candidate, Demand, Placed, Unplaced, place, refusals
from control_plane.domain.placement.shortage import lacks
from control_plane.domain.reminders import Reminder, watching_command, watching_service
from control_plane.domain.scheduling import service_events
from control_plane.domain.scheduling.daemon import Line, Place, Step, Verdict, plan_daemons, started, total
from control_plane.domain.scheduling.daemon_aftermath import after_chunk, needs_whole_look
from control_plane.domain.scheduling.history import followed
from control_plane.domain.service import Service, ServiceEvent
from control_plane.domain.task import Task, request_stop
from control_plane.flows.choose_instances import with_registrations
from control_plane.flows.look_at_service import set_timer
from control_plane.flows.new_tasks import demand_of, new_task, watching
from control_plane.flows.tasks_to_be import absence_members, definition_for, tags_of_tasks
from control_plane.runtime import ControlPlane
from control_plane.store import (
    clusters,
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

MAX_CHUNKS = 40
"""Of one plan; what is left then is for another look."""

_NO_MATCH = frozenset({str(InstanceStatus.DRAINING), str(InstanceStatus.INACTIVE), MEMBER_OF})


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


def look_at_daemons(cp: ControlPlane, service: Service, changed: Sequence[str] | None) -> bool:
    """Whether there may be more to do. `changed`: the instances that are to be looked at; None: all."""
    now = cp.clock()
    whole = changed is None or not service.planned or service.tally is None or needs_whole_look(service)
    snapshot = _everything(cp, service) if whole else _some(cp, service, sorted(changed or ()))
    order = _order(cp, service)
    places = _places(cp, order.demand, snapshot)
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
        tripped = not after.planned
        newest = followed(service, after, tripped=tripped, now=now)
        if newest != service.service_deployment:
            chunk.writes += service_deployments.recorded(after, newest)
        service = _commit(cp, chunk, after.model_copy(update={"service_deployment": newest}))
        if tripped:
            return True  # its circuit breaker has had enough: the rest of this plan is of a deployment that is over
    return len(chunks) > MAX_CHUNKS or (not whole and needs_whole_look(service))


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
    cp.table.commit(
        [services.changed(service, after), *chunk.writes, *(services.told(event) for event in chunk.events)]
    )
    set_timer(cp, service, after, chunk.now)
    cp.fleet.took(chunk.new)
    return after.model_copy(update={"lock": service.lock + 1})


# --- what is read


@dataclass(frozen=True)
class _Snapshot:
    """Instances are read after the tasks on them, so that what a task's end has made due is seen with it."""

    lines: Mapping[str, Line]
    tasks: Mapping[str, Task]
    candidates: Mapping[str, Candidate]
    """By instance id."""
    held: Mapping[str, Sequence[Task]]
    """All tasks of instances that are DRAINING, and perhaps of others."""


def _everything(cp: ControlPlane, service: Service) -> _Snapshot:
    lines = daemons.lines_of(cp.table, service)
    found = tasks.load_many(cp.table, service.cluster, [line.task_id for line in lines.values() if line.task_id])
    cluster = clusters.load(cp.table, service.cluster)
    shards = sorted(cluster.shards) if cluster is not None else ()
    fleet = instances.of_cluster(cp.table, service.cluster, shards, consistent=True) if shards else []
    held = {
        each.instance_id: tasks.of_instance(cp.table, service.cluster, each.instance_id)
        for each in fleet
        if each.status is InstanceStatus.DRAINING and each.instance_id in lines
    }
    return _Snapshot(lines, found, _candidates(cp, fleet), held)


def _some(cp: ControlPlane, service: Service, instance_ids: Sequence[str]) -> _Snapshot:
    lines = daemons.lines_on(cp.table, service, instance_ids)
    held = {each: tasks.of_instance(cp.table, service.cluster, each) for each in instance_ids}
    found = {task.task_id: task for each in held.values() for task in each}
    gone = [line.task_id for line in lines.values() if line.task_id and line.task_id not in found]
    ended = tasks.load_many(cp.table, service.cluster, gone) if gone else {}
    fleet = instances.load_many(cp.table, [(service.cluster, each) for each in instance_ids]).values()
    return _Snapshot(lines, {**found, **ended}, _candidates(cp, fleet), held)


def _candidates(cp: ControlPlane, fleet: Iterable[ContainerInstance]) -> dict[str, Candidate]:
    return {each.instance_id: Candidate(each, cp.fleet.capabilities_of(each)) for each in fleet}


def _places(cp: ControlPlane, demand: Demand, snapshot: _Snapshot) -> list[Place]:
    described = with_registrations(cp, list(snapshot.candidates.values()), demand.constraints.expressions)
    by_id = {each.instance.instance_id: each for each in described}
    return [
        _place(demand, snapshot, instance_id, by_id.get(instance_id))
        for instance_id in sorted({*by_id, *snapshot.lines})
    ]


def _place(demand: Demand, snapshot: _Snapshot, instance_id: str, candidate: Candidate | None) -> Place:
    """Whether it matches has nothing to do with its presence: a machine that is away keeps its task."""
    line = snapshot.lines.get(instance_id)
    task = snapshot.tasks.get(line.task_id) if line is not None and line.task_id else None
    if candidate is None:
        return Place(instance_id, line, task)
    there = replace(candidate, instance=candidate.instance.model_copy(update={"agent_connected": True}))
    reasons = refusals(demand, there)
    return Place(
        instance_id,
        line,
        task,
        candidate.instance,
        matches=not _NO_MATCH & set(reasons),
        lacks=reasons if task is None or task.stopped else (),
        others=any(each.service and not each.daemon for each in snapshot.held.get(instance_id, ())),
    )


# --- what is written


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


def _carry_out(cp: ControlPlane, chunk: _Chunk, order: _Order, step: Step, snapshot: _Snapshot) -> None:
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
    elif step.due:
        chunk.writes.append(daemons.due_again(service.cluster, instance_id, service.name))
    if step.newly_lacks and line is not None:
        said = lacks(order.demand, snapshot.candidates[instance_id], line.lacks)
        unplaced = Unplaced({instance_id: line.lacks}, {instance_id: said})
        chunk.events.append(service_events.short(service, unplaced, now=chunk.now, new_id=cp.new_id))
    if line != step.place.line:
        chunk.writes.append(daemons.written(service, instance_id, step.place.line, line))
        chunk.lines.append((step.place.line, line))


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
        if key.service in instance.daemons_due:
            cp.table.commit([daemons.seen(key.cluster, instance.instance_id, key.service, cp.clock())])
