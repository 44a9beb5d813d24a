"""Tasks that run on a machine and that the table knows nothing of: noted, held, and decided upon by operators.

    ReportOrphans ──► note: hold what new ones take, give back what ended ones took ──► OrphansNoted
    orphans stop  ──► noted as to stop ──► TaskCommands STOPPED ──► gone at the next ReportOrphans
    orphans adopt ──► a task of the table again ──► TaskCommands RUNNING ──► its machine reports it

Each step may be repeated: an orphan's item can be put and deleted a single time, together with what it holds.
"""

from collections.abc import Sequence

from aws_lambda_powertools import Logger

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus, port_names
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.gpus import told_gpus
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.orphan import OrphanTask
from control_plane.domain.reminders import watching_command
from control_plane.domain.service import Service, ServiceStatus
from control_plane.domain.task import Awaiting, Task
from control_plane.domain.task_overrides import task_resources
from control_plane.flows.again import until_won
from control_plane.flows.lookup import require_cluster
from control_plane.flows.tasks_to_be import absence_members, tags_of_tasks
from control_plane.runtime import ControlPlane
from control_plane.store import instance_resources, instances, orphans, reminders, services, tasks
from control_plane.store.table import Write
from ecs_protocol.messages import OrphanReport, OrphansNoted, ReportOrphans, TaskCommand, TaskCommands
from ecs_protocol.statuses import DesiredStatus, TaskStatus

logger = Logger(child=True)

Described = dict[str, object]


def note_orphans(cp: ControlPlane, sender: InstanceIdentity, request: ReportOrphans) -> None:
    """What the machine tells is the whole of it."""
    stopping = until_won(cp, lambda _attempt: _note(cp, sender, request.orphans))
    if stopping is None:
        return  # it registers first, and tells again
    cp.agents.send(sender.instance_id, OrphansNoted(request_id=request.request_id))
    if stopping:
        _tell_to_stop(cp, sender.cluster, sender.instance_id, stopping)


def _note(cp: ControlPlane, sender: InstanceIdentity, reported: Sequence[OrphanReport]) -> list[str] | None:
    """Answers those that an operator has decided to stop. None: there is no such instance yet."""
    instance = instances.load(cp.table, sender.cluster, sender.instance_id)
    if instance is None:
        return None
    if instance.status is InstanceStatus.INACTIVE:
        return []
    known = orphans.of_instance(cp.table, sender.cluster, sender.instance_id)
    named = {report.task_id for report in reported}
    of_ours = tasks.load_many(cp.table, sender.cluster, named)
    for report in reported:
        task = of_ours.get(report.task_id)
        # One that runs by the table is adopted since, or another machine's: this one is told to stop it when it asks.
        answered_for = task is not None and not task.stopped
        if report.task_id not in known and not answered_for:
            orphan = _orphan(cp, instance, report)
            logger.warning("An orphan", extra={"task": report.task_id, "instance": sender.instance_id})
            cp.table.commit([orphans.found(orphan), instance_resources.held_by_orphan(instance, orphan, cp.clock())])
    for orphan in known.values():
        if orphan.task_id not in named:
            cp.table.commit([orphans.gone(orphan), _given_back(cp, orphan)])
    return [orphan.task_id for orphan in known.values() if orphan.stopping and orphan.task_id in named]


def _orphan(cp: ControlPlane, instance: ContainerInstance, report: OrphanReport) -> OrphanTask:
    definition = cp.definitions.get(report.task_definition) if ":" in report.task_definition else None
    taken = task_resources(definition, report.overrides) if definition else None
    return OrphanTask(
        task_id=report.task_id,
        cluster=instance.cluster,
        instance_id=instance.instance_id,
        registration=instance.registration,
        task_definition=report.task_definition,
        earlier_identity=report.earlier_identity,
        group=report.group,
        started_by=report.started_by,
        overrides=report.overrides,
        cpu=taken.cpu if taken else 0,
        memory=taken.memory if taken else 0,
        ports=tuple(sorted(port_names(taken))) if taken else (),
        gpu_ids=told_gpus(instance, report.gpu_ids or {}),
        created_at=report.created_at,
        started_at=report.started_at,
        found_at=cp.clock(),
    )


def _given_back(cp: ControlPlane, orphan: OrphanTask) -> Write:
    return instance_resources.given_back_by_orphan(orphan, cp.clock())


def note_end_of_orphan(cp: ControlPlane, cluster: str, instance_id: str, task_id: str) -> None:
    """A machine that has lost its own memory of it says that it does not run."""
    orphan = orphans.of_instance(cp.table, cluster, instance_id).get(task_id)
    if orphan is not None:
        cp.table.commit([orphans.gone(orphan), _given_back(cp, orphan)])


def list_orphans(cp: ControlPlane, cluster_name: str) -> list[Described]:
    """Raises ClusterNotFoundException."""
    cluster = require_cluster(cp, cluster_name)
    found = orphans.of_cluster(cp.table, cluster.name, sorted(cluster.shards)) if cluster.shards else []
    return [
        {
            "taskId": orphan.task_id,
            "containerInstanceArn": cp.arns.container_instance(cluster.name, orphan.instance_id),
            "taskDefinition": orphan.task_definition,
            "group": orphan.group,
            "foundAt": orphan.found_at.isoformat(timespec="seconds"),
            "stopping": orphan.stopping,
            "adoptable": not orphan.earlier_identity and cp.definitions.get(orphan.task_definition) is not None,
        }
        for orphan in sorted(found, key=lambda each: each.task_id)
    ]


def stop_orphan(cp: ControlPlane, cluster_name: str, task_id: str) -> Described:
    """It is told to stop now, and whenever its machine names it again. Raises InvalidParameterException."""
    orphan = _require(cp, cluster_name, task_id)
    cp.table.commit([orphans.to_stop(orphan)])
    _tell_to_stop(cp, orphan.cluster, orphan.instance_id, [task_id])
    return {"taskId": task_id, "stopping": True}


def _tell_to_stop(cp: ControlPlane, cluster: str, instance_id: str, task_ids: Sequence[str]) -> None:
    instance = instances.load(cp.table, cluster, instance_id)
    if instance is not None:
        commands = tuple(TaskCommand(task_id=each, desired_status=DesiredStatus.STOPPED) for each in task_ids)
        cp.agents.send(instance_id, TaskCommands(version=instance.version, tasks=commands))


def adopt_orphan(cp: ControlPlane, cluster_name: str, task_id: str) -> Described:
    """It is a task of the table again, of its service if that is there. Raises InvalidParameterException."""
    task = until_won(cp, lambda _attempt: _adopt(cp, cluster_name, task_id))
    return {"taskArn": cp.arns.task(task.cluster, task.task_id), "group": task.group}


def _adopt(cp: ControlPlane, cluster_name: str, task_id: str) -> Task:
    orphan = _require(cp, cluster_name, task_id)
    if orphan.earlier_identity:
        raise InvalidParameterException(
            f"Task {task_id} was started under an earlier identity of its machine, which its id names: it cannot be "
            "adopted. Start another one, and then: ecs-anywhere orphans stop"
        )
    definition = cp.definitions.get(orphan.task_definition, with_tags=True)
    if definition is None:
        raise InvalidParameterException(
            f"Task definition {orphan.task_definition} of task {task_id} is not known. Register it until it has that "
            "revision, or: ecs-anywhere orphans stop"
        )
    _check_gpus(cp, orphan)
    now = cp.clock()
    name = (orphan.group or "").removeprefix("service:") if (orphan.group or "").startswith("service:") else None
    service = services.load(cp.table, orphan.cluster, name) if name else None
    if service is not None and service.status is not ServiceStatus.ACTIVE:
        service = None
    if service is not None and service.is_daemon:
        raise InvalidParameterException(
            f"Task {task_id} is of the DAEMON service {service.name}, which starts a task on each machine itself. Stop "
            "this one: ecs-anywhere orphans stop"
        )
    policy, tags = tags_of_tasks(service, definition) if service else ({}, {})
    task = Task(
        task_id=task_id,
        cluster=orphan.cluster,
        instance_id=orphan.instance_id,
        registration=orphan.registration,
        task_definition=orphan.task_definition,
        group=orphan.group or f"family:{definition['family']}",
        service=service.name if service else None,
        deployment_id=(service.deployment.deployment_id or None) if service else None,
        by_strategy=bool(service and service.deployment.capacity_provider_strategy) or None,
        started_by=orphan.started_by,
        overrides=orphan.overrides,
        cpu=orphan.cpu,
        memory=orphan.memory,
        ports=orphan.ports,
        gpu_ids=orphan.gpu_ids,
        last_status=TaskStatus.RUNNING,
        awaiting=Awaiting.START,  # so that its machine is told
        awaiting_since=now,
        created_at=orphan.created_at or now,
        started_at=orphan.started_at or now,
        updated_at=now,
        **absence_members(definition, policy, tags, in_service=service is not None),
    )
    writes = [orphans.gone(orphan), tasks.placed(task), instance_resources.orphan_adopted(orphan, now)]
    if service is not None:
        writes += [*_joined(service, task_id)]
    reminders.remind(cp.table, [watching_command(orphan.cluster, orphan.instance_id, now)])
    cp.table.commit(writes)
    return task


def _check_gpus(cp: ControlPlane, orphan: OrphanTask) -> None:
    """That nobody was given a GPU that it runs with, before anybody knew that it does; the commit demands it, too."""
    instance = instances.load(cp.table, orphan.cluster, orphan.instance_id) if orphan.gpu_ids else None
    if instance is not None and (shared := sorted(orphan.resources.gpu_ids & instance.held_gpus)):
        raise InvalidParameterException(
            f"Task {orphan.task_id} runs with GPUs that another task of its machine holds: {', '.join(shared)}. Stop "
            "one of the two, this one by: ecs-anywhere orphans stop"
        )


def _joined(service: Service, task_id: str) -> Sequence[Write]:
    """The service learns of it, and takes what is too much."""
    after = service.model_copy(update={"planned": False, "steady": False})
    return services.changed(service, after), services.listed(service, task_id)


def _require(cp: ControlPlane, cluster_name: str, task_id: str) -> OrphanTask:
    cluster = require_cluster(cp, cluster_name)
    found = orphans.of_cluster(cp.table, cluster.name, sorted(cluster.shards)) if cluster.shards else []
    wanted = [orphan for orphan in found if orphan.task_id == task_id]
    if not wanted:
        raise InvalidParameterException(f"There is no orphan {task_id} in cluster {cluster.name}.")
    return wanted[0]
