"""GetCredentials: a machine asks for credentials of the roles of its tasks, and only it gets them.

    who asks (IoT Core's word) ──► its tasks (the table's word) ──► their roles (the definition's word) ──► STS
                                                                                                            │
                                        TaskCredentials on this machine's own topic ◄───────────────────────┘

Nothing is kept: whoever asks twice, or replays what another has asked, makes new credentials, which go to the machine
that runs the task. They are never logged.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.inbox import Envelope
from control_plane.domain.session_tags import session_tags
from control_plane.domain.task import Task
from control_plane.flows import audit
from control_plane.flows.sender import identify
from control_plane.gateways.roles import RoleRefusedError
from control_plane.runtime import ControlPlane
from control_plane.store import tasks
from ecs_protocol.messages import (
    MAX_MESSAGE_BYTES,
    CredentialsRefused,
    Deregistered,
    GetCredentials,
    RoleCredentials,
    RoleKind,
    TaskCredentials,
)
from ecs_protocol.names import thing_name
from ecs_protocol.roles import roles_of

logger = Logger(child=True)

AT_ONCE = 8
"""Calls of STS on their way. The function's MaximumConcurrency times as many are, when a fleet comes back.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

STALE = timedelta(minutes=10)
"""A machine repeats what is not answered within five minutes: what lay longer in the queue has been asked anew."""

NOT_YOURS = "The task does not run on this container instance."
STOPPED = "The task has stopped."
ENVELOPE_BYTES = 200

Answer = RoleCredentials | CredentialsRefused


class _Allowed(NamedTuple):
    """A role of a task of the machine that asks."""

    task: Task
    kind: RoleKind
    role_arn: str


class NotAnsweredError(Exception):
    """STS could not say of some: the message comes again, as the machine asks again."""


def get_credentials(cp: ControlPlane, envelope: Envelope) -> None:
    """Answer one request. Raises NotAnsweredError after what can be answered was."""
    sender = identify(cp, envelope)
    if sender is None:
        return
    try:
        request = GetCredentials.from_json(envelope.payload)
    except ValidationError as error:
        audit.refused_message(cp, envelope, f"no request of this protocol: {audit.first(error)}")
        return
    if sender.deregistered_at is not None:
        audit.refused_message(cp, envelope, "its instance is deregistered")
        cp.agents.send(sender.instance_id, Deregistered())
        return
    if cp.clock() >= envelope.received_at + STALE:
        logger.warning("Dropped a request that has waited for too long", extra={"instance": sender.instance_id})
        return
    wanted = list(dict.fromkeys((each.task_id, each.role) for each in request.wanted))
    known = tasks.load_listed(cp.table, sender.cluster, {task_id for task_id, _ in wanted})
    decided = [_decide(cp, sender, known.get(task_id), task_id, kind) for task_id, kind in wanted]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        answers = [answer for answer in threads.map(partial(_assume, cp), decided) if answer is not None]
    for message in in_messages(request.request_id, answers):
        cp.agents.send(sender.instance_id, message)
    if len(answers) < len(wanted):
        raise NotAnsweredError(f"{len(wanted) - len(answers)} of {len(wanted)}")


def _decide(
    cp: ControlPlane, sender: InstanceIdentity, task: Task | None, task_id: str, kind: RoleKind
) -> _Allowed | CredentialsRefused:
    """Which role may be assumed for what is wanted."""
    if task is None or task.instance_id != sender.instance_id:
        audit.refused(
            cp,
            principal=thing_name(cp.prefix, sender.instance_id),
            action="ecs-anywhere:GetCredentials",
            resource=cp.arns.task(sender.cluster, task_id),
            source="mqtt",
            reason="no task of this container instance",
        )
        return CredentialsRefused(task_id=task_id, role=kind, reason=NOT_YOURS)
    if task.stopped:
        return CredentialsRefused(task_id=task_id, role=kind, reason=STOPPED)
    named = roles_of(cp.definitions.get(task.task_definition) or {}, task.overrides).get(kind)
    if named is None:
        return CredentialsRefused(task_id=task_id, role=kind, reason=f"The task has no {kind} role.")
    return _Allowed(task, kind, cp.arns.role(named))


def _assume(cp: ControlPlane, decided: _Allowed | CredentialsRefused) -> Answer | None:
    """None: STS could not say."""
    if isinstance(decided, CredentialsRefused):
        return decided
    task, kind, role = decided
    tags = session_tags(cp.prefix, task.cluster, task.task_id, task.instance_id)
    try:
        given = cp.roles.assume(role, task.task_id, tags)
    except RoleRefusedError as refused:
        logger.warning("Could not assume a role", extra={"role": role, "task": task.task_id, "error": str(refused)})
        return CredentialsRefused(task_id=task.task_id, role=kind, reason=reason_of(refused, role))
    except (ClientError, BotoCoreError):
        logger.exception("STS does not answer", extra={"role": role, "task": task.task_id})
        return None
    return RoleCredentials(
        task_id=task.task_id,
        role=kind,
        role_arn=role,
        access_key_id=given.access_key_id,
        secret_access_key=given.secret_access_key,
        session_token=given.session_token,
        expiration=given.expiration,
    )


def reason_of(refused: RoleRefusedError, role: str) -> str:
    """Amazon's words, and what to do."""
    advice = f" See what it lacks: ecs-anywhere trust {role}" if refused.code.startswith("AccessDenied") else ""
    return f"{refused}{advice}"[:1024]


def in_messages(request_id: str, answers: Sequence[Answer]) -> Iterator[TaskCredentials]:
    """As few as IoT Core takes."""
    part: list[Answer] = []
    size = ENVELOPE_BYTES
    for answer in answers:
        length = len(answer.to_json().encode()) + 1
        if part and size + length > MAX_MESSAGE_BYTES:
            yield _message(request_id, part)
            part, size = [], ENVELOPE_BYTES
        part.append(answer)
        size += length
    if part:
        yield _message(request_id, part)


def _message(request_id: str, part: Sequence[Answer]) -> TaskCredentials:
    return TaskCredentials(
        request_id=request_id,
        credentials=tuple(each for each in part if isinstance(each, RoleCredentials)),
        refused=tuple(each for each in part if isinstance(each, CredentialsRefused)),
    )
