"""What is read of a DAEMON service and of container instances, and each instance as the service sees it: its place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.placement.filters import MEMBER_OF
from control_plane.domain.placement.place import Candidate, Demand, refusals
from control_plane.domain.scheduling.daemon import Place
from control_plane.domain.scheduling.daemon_line import Line
from control_plane.domain.service import Service
from control_plane.domain.task import Task
from control_plane.flows.choose_instances import with_registrations
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, daemons, instances, tasks

_NO_MATCH = frozenset({str(InstanceStatus.DRAINING), str(InstanceStatus.INACTIVE), MEMBER_OF})


@dataclass(frozen=True)
class DaemonSnapshot:
    """Instances are read after the tasks on them, so that what a task's end has made due is seen with it."""

    lines: Mapping[str, Line]
    tasks: Mapping[str, Task]
    candidates: Mapping[str, Candidate]
    """By instance id."""
    held: Mapping[str, Sequence[Task]]
    """All tasks of instances that are DRAINING, and perhaps of others."""


def everything(cp: ControlPlane, service: Service) -> DaemonSnapshot:
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
    return DaemonSnapshot(lines, found, _candidates(cp, fleet), held)


def some(cp: ControlPlane, service: Service, instance_ids: Sequence[str]) -> DaemonSnapshot:
    lines = daemons.lines_on(cp.table, service, instance_ids)
    held = {each: tasks.of_instance(cp.table, service.cluster, each) for each in instance_ids}
    found = {task.task_id: task for each in held.values() for task in each}
    gone = [line.task_id for line in lines.values() if line.task_id and line.task_id not in found]
    ended = tasks.load_many(cp.table, service.cluster, gone) if gone else {}
    fleet = instances.load_many(cp.table, [(service.cluster, each) for each in instance_ids]).values()
    return DaemonSnapshot(lines, {**found, **ended}, _candidates(cp, fleet), held)


def _candidates(cp: ControlPlane, fleet: Iterable[ContainerInstance]) -> dict[str, Candidate]:
    return {each.instance_id: cp.fleet.candidate(each) for each in fleet}


def places_in(cp: ControlPlane, demand: Demand, snapshot: DaemonSnapshot) -> list[Place]:
    described = with_registrations(cp, list(snapshot.candidates.values()), demand.constraints.expressions)
    by_id = {each.instance.instance_id: each for each in described}
    return [
        _place(demand, snapshot, instance_id, by_id.get(instance_id))
        for instance_id in sorted({*by_id, *snapshot.lines})
    ]


def _place(demand: Demand, snapshot: DaemonSnapshot, instance_id: str, candidate: Candidate | None) -> Place:
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
