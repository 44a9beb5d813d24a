"""What an agent asks, and gets answered by the function that was asked; it asks again until it has the answer.

Reconcile and RegisterContainerInstance raise the epoch and answer with the list of what should run; DescribeTasks
answers with the tasks, by name. Asking twice does no harm: the agent goes by the newest epoch and version.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from control_plane.domain.cluster import ClusterStatus
from control_plane.domain.container_instance import (
    ContainerInstance,
    InstanceIdentity,
    InstanceStatus,
    Registration,
)
from control_plane.domain.inbox import Envelope
from control_plane.domain.reminders import FIRST_GAP, next_probe
from control_plane.domain.resources import Resources
from control_plane.flows.again import until_won
from control_plane.flows.commands import commands_for, in_messages
from control_plane.flows.delete_cluster import open_if_left_closed
from control_plane.flows.orphans import note_orphans
from control_plane.flows.sender import identify
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, keys, reminders, tasks
from ecs_protocol.messages import (
    AGENT_REQUEST,
    MAX_MESSAGE_BYTES,
    Attribute,
    DescribeTasks,
    ListedTask,
    Probe,
    Reconcile,
    Reconciliation,
    Refused,
    RegisterContainerInstance,
    RegistrationRequired,
    ReportOrphans,
)

logger = Logger(child=True)

LINE_BYTES = 300
"""More than a ListedTask takes in JSON."""


def answer_agent_request(cp: ControlPlane, envelope: Envelope) -> None:
    """Answer one request. What is not from one of our machines, or is no request, is logged and dropped."""
    sender = identify(cp, envelope)
    if sender is None:
        return
    try:
        request = AGENT_REQUEST.validate_json(envelope.payload)
    except ValidationError as error:
        logger.warning("Dropped what is no request", extra={"instance": sender.instance_id, "error": str(error)})
        return
    match request:
        case Reconcile():
            until_won(cp, lambda _attempt: _reconcile(cp, sender, request, envelope.received_at))
        case RegisterContainerInstance():
            until_won(cp, lambda _attempt: _register(cp, sender, request, envelope.received_at))
        case ReportOrphans():
            note_orphans(cp, sender, request)
        case DescribeTasks():
            until_won(cp, lambda _attempt: _describe(cp, sender, request, envelope.received_at))


def proves_presence(instance: ContainerInstance, received_at: datetime) -> bool:
    """Whether a message that AWS IoT received then says that its sender is there; not if its session ended later.

    Whoever cannot be believed so is asked: it may have a newer session, of which nothing else was heard.
    """
    return instance.session_ended_at is None or received_at >= instance.session_ended_at


def _reconcile(
    cp: ControlPlane,
    sender: InstanceIdentity,
    request: Reconcile | RegisterContainerInstance,
    received_at: datetime,
) -> None:
    instance = instances.load(cp.table, sender.cluster, sender.instance_id)
    registration = instances.load_registration(cp.table, sender.cluster, sender.instance_id)
    if instance is None or registration is None or registration.digest != request.digest:
        cp.agents.send(sender.instance_id, RegistrationRequired(request_id=request.request_id))
        return
    if instance.status is InstanceStatus.INACTIVE:
        _refuse_inactive(cp, sender, request.request_id)
        return
    present = proves_presence(instance, received_at)
    raised = instances.from_item(cp.table.update(instances.epoch_raised(instance, cp.clock(), present=present)))
    _send_list(cp, raised, request.request_id)
    if not raised.agent_connected:
        cp.agents.send(sender.instance_id, Probe())


def _register(
    cp: ControlPlane, sender: InstanceIdentity, request: RegisterContainerInstance, received_at: datetime
) -> None:
    """Make the instance, or give it a new registration. Only this creates instances."""
    before = instances.load(cp.table, sender.cluster, sender.instance_id)
    known = instances.load_registration(cp.table, sender.cluster, sender.instance_id)
    if before is not None and before.status is InstanceStatus.INACTIVE:
        _refuse_inactive(cp, sender, request.request_id)
        return
    if before is not None and known is not None and known.digest == request.digest:
        _reconcile(cp, sender, request, received_at)  # it came twice
        return
    cluster = clusters.load(cp.table, sender.cluster)
    if cluster is None or cluster.status is not ClusterStatus.ACTIVE:
        _refuse(
            cp,
            sender,
            request.request_id,
            "ClusterNotFoundException",
            f"Cluster {sender.cluster} not found. Create it, or activate this machine for another one.",
        )
        return
    registration = _registration(cp, sender, request, before, tags=known.tags if known else {})
    after = _instance(registration, before, cluster.daemons)
    instances.store_capabilities(cp.table, after.capabilities, capability_names(registration.attributes))
    open_if_left_closed(cp, cluster)
    shard = keys.instance_shard(sender.instance_id)
    if shard not in cluster.shards:
        cp.table.commit([clusters.holds_instances_in(cluster.name, shard)])
    writes = [instances.described(registration)]
    if before is None:
        writes += [instances.created(after), clusters.open_for(cluster)]
    else:
        old = Resources(cpu=known.cpu, memory=known.memory) if known else Resources()
        new = Resources(cpu=registration.cpu, memory=registration.memory)
        writes.append(instances.registered_again(before, after, new - old))
    # Not before the registration is committed, should this take as long as a function may.
    reminders.remind(cp.table, [next_probe(sender.cluster, sender.instance_id, cp.clock() + FIRST_GAP)])
    cp.table.commit(writes)
    current = instances.load(cp.table, sender.cluster, sender.instance_id)
    if current is not None:
        _send_list(cp, current, request.request_id)


def _registration(
    cp: ControlPlane,
    sender: InstanceIdentity,
    request: RegisterContainerInstance,
    before: ContainerInstance | None,
    *,
    tags: dict[str, str],
) -> Registration:
    given = {attribute.name: attribute for attribute in (*request.attributes, *sender.attributes)}
    return Registration(
        instance_id=sender.instance_id,
        cluster=sender.cluster,
        registration=before.registration + 1 if before else 1,
        digest=request.digest,
        agent_version=request.agent_version,
        docker_version=request.docker_version,
        cpu=request.cpu,
        memory=request.memory,
        ports_in_use=request.ports_in_use,
        attributes=tuple(given[name] for name in sorted(given)),
        tags=tags,
        principal=sender.principal,
        registered_at=cp.clock(),
    )


def _instance(
    registration: Registration, before: ContainerInstance | None, daemons: frozenset[str]
) -> ContainerInstance:
    """`daemons`: the DAEMON services of its cluster, which are to look at it first."""
    valued = {attribute.name: attribute.value for attribute in registration.attributes if attribute.value is not None}
    return ContainerInstance(
        instance_id=registration.instance_id,
        cluster=registration.cluster,
        registration=registration.registration,
        version=before.version + 1 if before else 1,
        cpu=registration.cpu,
        memory=registration.memory,
        reserved_ports=frozenset(f"{port.port}/{port.protocol}" for port in registration.ports_in_use),
        capabilities=capabilities_digest(registration.attributes),
        attributes=valued,
        agent_version=registration.agent_version,
        registered_at=registration.registered_at,
        daemons_due=daemons,
        daemons_due_at=registration.registered_at if daemons else None,
        agent_connected=True,
        connection_changed_at=registration.registered_at,
        epoch=before.epoch + 1 if before else 1,
        updated_at=registration.registered_at,
    )


def capability_names(attributes: Sequence[Attribute]) -> list[str]:
    """The attributes without a value."""
    return sorted(attribute.name for attribute in attributes if attribute.value is None)


def capabilities_digest(attributes: Sequence[Attribute]) -> str:
    """Under which their set is stored."""
    return hashlib.sha256("\n".join(capability_names(attributes)).encode()).hexdigest()[:16]


def _send_list(cp: ControlPlane, instance: ContainerInstance, request_id: str) -> None:
    """`instance` was read before the list is: its version is that of the list."""
    lines = [task.listed() for task in tasks.of_instance(cp.table, instance.cluster, instance.instance_id)]
    pages = list(_pages(lines))
    for number, page in enumerate(pages, start=1):
        cp.agents.send(
            instance.instance_id,
            Reconciliation(
                request_id=request_id,
                page=number,
                pages=len(pages),
                epoch=instance.epoch,
                version=instance.version,
                tasks=tuple(page),
            ),
        )


def _pages(lines: Sequence[ListedTask]) -> Iterator[Sequence[ListedTask]]:
    size = MAX_MESSAGE_BYTES // LINE_BYTES
    for start in range(0, max(1, len(lines)), size):
        yield lines[start : start + size]


def _describe(cp: ControlPlane, sender: InstanceIdentity, request: DescribeTasks, received_at: datetime) -> None:
    instance = instances.load(cp.table, sender.cluster, sender.instance_id)
    if instance is None:
        return  # it reconciles first, and registers then
    away = not instance.agent_connected and instance.status is not InstanceStatus.INACTIVE
    if away and not proves_presence(instance, received_at):
        cp.agents.send(sender.instance_id, Probe())
    elif away:
        instance = instances.from_item(cp.table.update(instances.heard(instance, cp.clock())))
    answer = commands_for(cp, instance, request.task_ids, also_definitions=request.task_definitions)
    for message in in_messages(answer.model_copy(update={"request_id": request.request_id})):
        cp.agents.send(sender.instance_id, message)


def _refuse_inactive(cp: ControlPlane, sender: InstanceIdentity, request_id: str) -> None:
    _refuse(
        cp,
        sender,
        request_id,
        "InactiveInstance",
        "This container instance was deregistered. Register the machine with a new activation.",
    )


def _refuse(cp: ControlPlane, sender: InstanceIdentity, request_id: str, error: str, message: str) -> None:
    logger.warning(message, extra={"instance": sender.instance_id, "cluster": sender.cluster})
    cp.agents.send(sender.instance_id, Refused(request_id=request_id, error=error, message=message))
