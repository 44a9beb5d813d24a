"""What an agent asks, and gets answered by the function that was asked; it asks again until it has the answer.

Reconcile and RegisterContainerInstance raise the epoch and answer with the list of what should run; DescribeTasks
answers with the tasks, by name. Asking twice does no harm: the agent goes by the newest epoch and version.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from control_plane.domain.container_instance import (
    ContainerInstance,
    InstanceStatus,
)
from control_plane.domain.errors import ClusterNotFoundException, InvalidParameterException
from control_plane.domain.identity import ROTATION_GAP, InstanceIdentity
from control_plane.domain.inbox import Envelope
from control_plane.domain.tags import checked
from control_plane.flows import audit
from control_plane.flows.again import until_won
from control_plane.flows.commands import commands_for, in_messages
from control_plane.flows.farewell import let_go
from control_plane.flows.orphans import note_orphans
from control_plane.flows.register_container_instance import register
from control_plane.flows.rotate_certificate import note_certificate_in_use, rotate_certificate
from control_plane.flows.sender import identify
from control_plane.flows.tell_machines_apart import is_the_machine
from control_plane.runtime import ControlPlane
from control_plane.store import instance_presence, instances, tasks
from ecs_protocol.messages import (
    AGENT_REQUEST,
    MAX_MESSAGE_BYTES,
    AgentRequest,
    Deregistered,
    DeregistrationNoted,
    DescribeTasks,
    GetCredentials,
    ListedTask,
    MessageRejected,
    Probe,
    Reconcile,
    Reconciliation,
    Refused,
    RegisterContainerInstance,
    RegistrationRequired,
    ReportOrphans,
    RotateCertificate,
    RotationRequired,
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
        audit.refused_message(cp, envelope, f"no request of this protocol: {audit.first(error)}")
        return
    if sender.deregistered_at is not None:
        if not isinstance(request, DeregistrationNoted):
            audit.refused_message(cp, envelope, "its instance is deregistered")
        _answer_deregistered(cp, sender, request)
        return
    if not isinstance(request, Reconcile | RegisterContainerInstance) or is_the_machine(cp, sender, request, envelope):
        _answer(cp, sender, request, envelope)
        note_certificate_in_use(cp, sender, envelope.principal)


def _answer(cp: ControlPlane, sender: InstanceIdentity, request: AgentRequest, envelope: Envelope) -> None:
    match request:
        case Reconcile():
            until_won(cp, lambda _attempt: _reconcile(cp, sender, request, envelope.received_at))
        case RegisterContainerInstance():
            until_won(cp, lambda _attempt: _register(cp, sender, request, envelope.received_at))
        case ReportOrphans():
            note_orphans(cp, sender, request)
        case DescribeTasks():
            until_won(cp, lambda _attempt: _describe(cp, sender, request, envelope.received_at))
        case RotateCertificate():
            # An old copy of a request may name a key that the machine does not have any more.
            if cp.clock() < envelope.received_at + ROTATION_GAP:
                rotate_certificate(cp, sender, request)
        case GetCredentials():
            cp.queues.hand_on(envelope)  # of a machine whose identity is older than the topic for it
        case MessageRejected():
            told = {"instance": sender.instance_id, "reason": request.reason}
            logger.warning("A machine refused a message of ours", extra=told)
        case DeregistrationNoted():
            logger.warning("An instance that is not deregistered says so", extra={"instance": sender.instance_id})


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
    raised = instances.from_item(cp.table.update(instance_presence.epoch_raised(instance, cp.clock(), present=present)))
    _send_list(cp, raised, request.request_id)
    if sender.rotation_wanted_at is not None:
        cp.agents.send(sender.instance_id, RotationRequired())
    if not raised.agent_connected:
        cp.agents.send(sender.instance_id, Probe())


def _register(
    cp: ControlPlane, sender: InstanceIdentity, request: RegisterContainerInstance, received_at: datetime
) -> None:
    """Make the instance, or give it a new registration."""
    before = instances.load(cp.table, sender.cluster, sender.instance_id)
    known = instances.load_registration(cp.table, sender.cluster, sender.instance_id)
    if before is not None and before.status is InstanceStatus.INACTIVE:
        _refuse_inactive(cp, sender, request.request_id)
        return
    if before is not None and known is not None and known.digest == request.digest:
        _reconcile(cp, sender, request, received_at)  # it came twice
        return
    try:
        tags = checked([{"key": key, "value": value} for key, value in (request.tags or {}).items()])
        register(cp, sender, request, before, known, tags=tags)
    except InvalidParameterException as refused:
        _refuse(cp, sender, request.request_id, refused.code, f"ECS_CONTAINER_INSTANCE_TAGS: {refused.message}")
        return
    except ClusterNotFoundException as refused:
        message = f"Cluster {sender.cluster} not found. Create it, or activate this machine for another one."
        _refuse(cp, sender, request.request_id, refused.code, message)
        return
    current = instances.load(cp.table, sender.cluster, sender.instance_id)
    if current is not None:
        _send_list(cp, current, request.request_id)


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
    if instance.status is InstanceStatus.INACTIVE:
        _refuse_inactive(cp, sender, request.request_id)
        return
    away = not instance.agent_connected
    if away and not proves_presence(instance, received_at):
        cp.agents.send(sender.instance_id, Probe())
    elif away:
        instance = instances.from_item(cp.table.update(instance_presence.heard(instance, cp.clock())))
    answer = commands_for(cp, instance, request.task_ids, also_definitions=request.task_definitions)
    for message in in_messages(answer.model_copy(update={"request_id": request.request_id})):
        cp.agents.send(sender.instance_id, message)


def _answer_deregistered(cp: ControlPlane, sender: InstanceIdentity, request: AgentRequest) -> None:
    """Said to whatever it asks, until it says that it has heard. An agent that does not know the word is refused."""
    if isinstance(request, DeregistrationNoted):
        logger.info("Noted", extra={"instance": sender.instance_id, "tasksKept": request.tasks_kept})
        let_go(cp, sender.instance_id)
        return
    cp.agents.send(sender.instance_id, Deregistered())
    _refuse_inactive(cp, sender, request.request_id)


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
