"""DescribeContainerInstances, UpdateContainerInstancesState, UpdateContainerAgent, DeregisterContainerInstance.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateContainerInstancesState.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterContainerInstance.html
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from control_plane.domain.arns import resource_name
from control_plane.domain.cluster import Cluster
from control_plane.domain.container_instance import MQTT, ContainerInstance, InstanceStatus
from control_plane.domain.container_instance_description import describe_container_instance, describe_instance_health
from control_plane.domain.errors import InvalidParameterException, MissingVersionException, ServerException
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.inbox import InstanceLook, Look
from control_plane.domain.reminders import on_grid, watching_command
from control_plane.domain.scheduling.standing import Connection, absence_of_task, connection_of, stopped_by
from control_plane.domain.task import Task, stop_without_its_machine
from control_plane.flows.again import until_answered, until_won
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import identities, instance_settings, instances, reminders, tasks
from ecs_protocol.messages import Deregistered
from ecs_protocol.statuses import StopCode

logger = Logger(child=True)

T = TypeVar("T")

STOPPED_AT_ONCE = 25
"""Tasks of a deregistered instance that one transaction stops."""

LOOK_AGAIN = timedelta(minutes=2)
"""Whether the session of an instance whose certificate was taken away has ended."""


def describe_container_instances(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {containerInstances, failures}, each once, in the order asked.

    A deregistered one is described as INACTIVE, as by Amazon ECS.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    described: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for instance_id in dict.fromkeys(identifier(name, cluster) for name in request["containerInstances"]):
        found = _load(cp, cluster, instance_id)
        if found is None:
            failures.append({"arn": cp.arns.container_instance(cluster.name, instance_id), "reason": "MISSING"})
        else:
            include = request.get("include", ())
            health = "CONTAINER_INSTANCE_HEALTH" in include
            described.append(_described(cp, found, with_health=health, with_tags="TAGS" in include))
    return {"containerInstances": described, "failures": failures}


def update_container_instances_state(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {containerInstances, failures}: MISSING, or INACTIVE of one that is deregistered.

    From its commit on no task is placed on an instance that is DRAINING: the condition of that commit says so. Of the
    services whose tasks it holds the scheduler learns from the stream; tasks of no service are left alone.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    if request["status"] not in {InstanceStatus.ACTIVE, InstanceStatus.DRAINING}:
        raise InvalidParameterException(f"status should be ACTIVE or DRAINING, but is {request['status']}.")
    status = InstanceStatus(request["status"])
    described: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for instance_id in dict.fromkeys(identifier(name, cluster) for name in request["containerInstances"]):
        found = until_answered(cp, partial(_change_status, cp, cluster, instance_id, status), what="container instance")
        if found is None or found.status is InstanceStatus.INACTIVE:
            arn = cp.arns.container_instance(cluster.name, instance_id)
            failures.append({"arn": arn, "reason": "MISSING" if found is None else "INACTIVE"})
        else:
            described.append(_described(cp, found))
    cp.fleet.forget(cluster.name)
    return {"containerInstances": described, "failures": failures}


def _change_status(
    cp: ControlPlane, cluster: Cluster, instance_id: str, status: InstanceStatus, _attempt: int
) -> ContainerInstance | None:
    """The instance as it is then; nothing is written that is so already."""
    instance = _load(cp, cluster, instance_id)
    if instance is None or instance.status in {status, InstanceStatus.INACTIVE}:
        return instance
    change = instance_settings.status_changed(instance, status, cp.clock(), daemons=cluster.daemons)
    return instances.from_item(cp.table.update(change))


def update_container_agent(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Always refused: Amazon ECS updates its own agent, through ecs-init; this is another one.

    Raises MissingVersionException, which is for an agent "that doesn't use our version information".

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateContainerAgent.html
    """
    cluster = require_cluster(cp, request.get("cluster"))
    instance = _load(cp, cluster, identifier(request["containerInstance"], cluster))
    if instance is None:
        raise InvalidParameterException("Referenced container instance was not found.")
    raise MissingVersionException(
        "Amazon ECS is unable to determine an update for the container agent of this external instance. Update it on "
        "the machine: install the new version, then restart the agent; its tasks run on."
    )


def deregister_container_instance(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {containerInstance}. With `force` its tasks are stopped as far as ECS is concerned.

    First the instance is closed, so that nothing more is placed on it and nothing of its machine is believed, then what
    is left is done in steps that may be repeated. If this dies in between, a reminder has the same steps taken
    (flows/look_at_container_instance.py), and goes on telling the machine (flows/farewell.py).
    """
    cluster = require_cluster(cp, request.get("cluster"))
    instance_id = identifier(request["containerInstance"], cluster)

    def close(_attempt: int) -> ContainerInstance:
        instance = _load(cp, cluster, instance_id)
        if instance is None:
            raise InvalidParameterException("Referenced container instance was not found.")
        if instance.status is InstanceStatus.INACTIVE:
            raise InvalidParameterException("The referenced container instance is already deregistered.")
        if instance.tasks and not request.get("force"):
            raise InvalidParameterException("Found running tasks on the instance.")
        now = cp.clock()
        reminders.remind(cp.table, [watching_command(cluster.name, instance_id, now)])
        writes = [instances.deregistered(instance, now, force=request.get("force", False))]
        if instance.transport == MQTT:  # another one's key is good for nothing any more
            identity = identities.load(cp.table, instance_id)
            ended = (identity or _unknown(cp, instance)).deregistered(now, revoke_now=False)
            writes.append(identities.written(identity, ended))
        cp.table.commit(writes)
        return instance

    instance = until_answered(cp, close, what="container instance")
    cp.fleet.forget(cluster.name)
    retire(cp, instance)
    if instance.transport == MQTT:
        _tell(cp, instance_id)
    closed = instances.load(cp.table, cluster.name, instance_id)
    if closed is None:
        raise ServerException("The container instance vanished while it was deregistered.")
    return {"containerInstance": _described(cp, closed)}


def _tell(cp: ControlPlane, instance_id: str) -> None:
    try:
        cp.agents.send(instance_id, Deregistered())
    except (ClientError, BotoCoreError):
        logger.warning("Could not tell a machine that it is deregistered", extra={"instance": instance_id})


def _unknown(cp: ControlPlane, instance: ContainerInstance) -> InstanceIdentity:
    """Of a table that was restored to a time before the machine was activated, or nearly so."""
    registration = instances.load_registration(cp.table, instance.cluster, instance.instance_id)
    return InstanceIdentity(
        instance_id=instance.instance_id,
        cluster=instance.cluster,
        principal=registration.principal if registration else "",
    )


def retire(cp: ControlPlane, instance: ContainerInstance) -> None:
    """What is left to do about the tasks of an instance that is INACTIVE. May be repeated.

    A stop-after task may still run, and holds its place until its machine must have stopped it.
    """
    now = cp.clock()
    connection = connection_of(instances.load(cp.table, instance.cluster, instance.instance_id))
    held: list[Task] = []
    later: list[Task] = []
    for task in tasks.of_instance(cp.table, instance.cluster, instance.instance_id):
        (later if absence_of_task(task).kind == "stop-after" and _may_run(task, connection, now) else held).append(task)
    if later:
        known = [at for task in later if (at := stopped_by(task, connection))]
        look_at = min(known, default=now + LOOK_AGAIN)
        look = InstanceLook(instance.cluster, instance.instance_id, Look.COMMANDS, on_grid(look_at))
        reminders.remind(cp.table, [look])
    for start in range(0, len(held), STOPPED_AT_ONCE):
        chunk = held[start : start + STOPPED_AT_ONCE]
        until_won(cp, partial(_stop, cp, chunk))


def _may_run(task: Task, connection: Connection, now: datetime) -> bool:
    stopped = stopped_by(task, connection)
    return stopped is None or now < stopped


def _stop(cp: ControlPlane, chunk: Sequence[Task], _attempt: int) -> None:
    """Nothing is given back: the instance takes no task any more."""
    now = cp.clock()
    current = [tasks.load(cp.table, task.cluster, task.task_id) for task in chunk]
    reason = "Container instance was deregistered by force."
    ends = [
        (task, stop_without_its_machine(task, StopCode.TERMINATION_NOTICE, reason, now))
        for task in current
        if task is not None and not task.stopped
    ]
    if ends:
        tasks.note_ends(cp.table, [after for _, after in ends])
        cp.table.commit([write for before, after in ends for write in tasks.stopped(before, after)])


def _load(cp: ControlPlane, cluster: Cluster, instance_id: str) -> ContainerInstance | None:
    instance_id = resource_name(instance_id)
    return instances.load(cp.table, cluster.name, instance_id) if looks_like_an_id(instance_id) else None


def _described(
    cp: ControlPlane, instance: ContainerInstance, *, with_health: bool = False, with_tags: bool = False
) -> dict[str, Any]:
    registration = instances.load_registration(cp.table, instance.cluster, instance.instance_id)
    if registration is None:
        raise LookupError(f"container instance {instance.instance_id} has no registration")
    held = tasks.of_instance(cp.table, instance.cluster, instance.instance_id)
    health = {"healthStatus": describe_instance_health(instance)} if with_health else {}
    described = describe_container_instance(instance, registration, cp.arns, tasks=held, with_tags=with_tags)
    return {**described, **health}
