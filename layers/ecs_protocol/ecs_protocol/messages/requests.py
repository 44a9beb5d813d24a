"""What an agent asks of the control plane."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from ecs_protocol.messages.base import (
    AT_FIRST_USE,
    MAX_GPUS,
    Attribute,
    GpuId,
    HostPort,
    Message,
    PinnedGpus,
    TaskId,
    Timestamp,
)


class _Request(Message):
    v: int = 1
    request_id: str = Field(min_length=1, max_length=64)
    """Made by the agent, repeated in the answer, so that a late answer to an earlier request is told apart."""


class RegisterContainerInstance(_Request):
    """What the machine is. Answered by a Reconciliation, like Reconcile, or by Refused."""

    type: Literal["RegisterContainerInstance"] = "RegisterContainerInstance"
    digest: str = Field(min_length=1, max_length=64)
    """Of everything below; Reconcile names it, so that the full text is sent only when it has changed."""
    agent_version: str
    docker_version: str | None = None
    cpu: int = Field(ge=0)
    """CPU units: 1,024 for each core."""
    memory: int = Field(ge=0)
    """MiB, less what is kept for the machine itself."""
    ports_in_use: tuple[HostPort, ...] = ()
    gpu_ids: tuple[GpuId, ...] = Field(default=(), max_length=MAX_GPUS)
    attributes: tuple[Attribute, ...] = ()
    """Capability attributes (no value) and others."""
    tags: dict[str, str] | None = None
    """For an instance that registers for the first time; no part of the digest, as they change nothing later."""
    boot_id: str | None = Field(default=None, min_length=1, max_length=64)
    """As in Reconcile; no part of the digest."""


class Reconcile(_Request):
    """Opens each connection: raises the epoch and asks for all that should run here.

    Answered by a Reconciliation, by RegistrationRequired if the digest is not the registered one, or by Refused.
    """

    type: Literal["Reconcile"] = "Reconcile"
    digest: str = Field(min_length=1, max_length=64)
    boot_id: str | None = Field(default=None, min_length=1, max_length=64)
    """Tells a run of the machine's system, and the agent's data directory on it, from all others: a boot that is over
    never speaks again, unless two machines use one identity."""


class DescribeTasks(_Request):
    """Asks by name about tasks that the agent does not know enough of, or that the list did not name.

    Answered by TaskCommands with this requestId, in as many messages as it takes. A task of another instance is
    answered with STOPPED; one that the control plane has never heard of comes back in `unknownTasks`.
    """

    type: Literal["DescribeTasks"] = "DescribeTasks"
    task_ids: tuple[TaskId, ...] = Field(default=(), max_length=500)
    task_definitions: tuple[str, ...] = Field(default=(), max_length=100)
    """`family:revision` of definitions that the agent lacks."""


class OrphanReport(Message):
    """A task that runs on the machine and that nobody in the cloud answers for, as far as the machine knows it."""

    task_id: TaskId
    task_definition: str
    """`family:revision`."""
    earlier_identity: bool = False
    """It was started under an identity that is gone."""
    group: str | None = None
    started_by: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    """TaskOverride of the ECS API."""
    gpu_ids: PinnedGpus | None = None
    created_at: Timestamp | None = None
    started_at: Timestamp | None = None


MAX_ORPHANS = 100


class ReportOrphans(_Request):
    """All orphans of the machine, up to MAX_ORPHANS: sent when they are others than it last told.

    Answered by OrphansNoted.
    """

    type: Literal["ReportOrphans"] = "ReportOrphans"
    orphans: tuple[OrphanReport, ...] = Field(default=(), max_length=MAX_ORPHANS)


class RotateCertificate(_Request):
    """Asks for a certificate for a new key, under the old identity. The same request gets the same certificate.

    Answered by CertificateIssued with this requestId, or by Refused.
    """

    type: Literal["RotateCertificate"] = "RotateCertificate"
    csr: str = Field(max_length=4096)
    """PEM. The private key never leaves the machine."""


RoleKind = Literal["task", "execution"]
"""Which of a task's two roles: what its containers act as, or what is needed to start them."""

MAX_CREDENTIALS_WANTED = 200


class CredentialsWanted(Message):
    """The role of one task."""

    task_id: TaskId
    role: RoleKind


class GetCredentials(_Request):
    """Asks for credentials of roles of tasks that run here, or are to: one request for all that are needed now.

    Answered by TaskCredentials with this requestId, in as many messages as it takes, or by Refused.
    """

    type: Literal["GetCredentials"] = "GetCredentials"
    wanted: tuple[CredentialsWanted, ...] = Field(min_length=1, max_length=MAX_CREDENTIALS_WANTED)


class MessageRejected(_Request):
    """A message of the control plane made no sense to the machine, or was not for it, and has changed nothing.

    Not answered. At most one a minute: the log of the machine has all of them.
    """

    type: Literal["MessageRejected"] = "MessageRejected"
    reason: str = Field(max_length=1000)


class DeregistrationNoted(_Request):
    """The machine has heard that it is deregistered, and has done what follows; its certificate may be revoked.

    Not answered.
    """

    type: Literal["DeregistrationNoted"] = "DeregistrationNoted"
    tasks_kept: int = Field(default=0, ge=0)
    """How many tasks run on, as whoever runs the agent wanted."""


AgentRequest = (
    RegisterContainerInstance
    | Reconcile
    | DescribeTasks
    | ReportOrphans
    | RotateCertificate
    | GetCredentials
    | MessageRejected
    | DeregistrationNoted
)
AGENT_REQUEST: TypeAdapter[AgentRequest] = TypeAdapter(
    Annotated[AgentRequest, Field(discriminator="type")], config=AT_FIRST_USE
)
