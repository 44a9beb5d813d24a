"""Every message between the control plane and an agent, over MQTT and at registration.

Each is one JSON object in camelCase with a `type` and a version `v`. Both sides ignore members that they do not
know; a member is only ever added with a default and never changes its meaning (rule 11 of the design).

    agent  ── topics.requests ─────────►  RegisterContainerInstance | Reconcile | DescribeTasks | ReportOrphans
                                          | RotateCertificate | MessageRejected | DeregistrationNoted
    agent  ── topics.credentials ──────►  GetCredentials
    agent  ── topics.taskStateChanges ─►  TaskStateChanges
    agent  ◄─ topics.commands ──────────  RegistrationRequired | Reconciliation | TaskCommands | OrphansNoted | Probe
                                          | Refused | RotationRequired | CertificateIssued | TaskCredentials
                                          | Deregistered | OpenLogs | OpenExec

What is said in a stream that OpenLogs or OpenExec opens is in streams.py.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus

MAX_MESSAGE_BYTES = 100_000
"""What a sender fills a message up to. IoT Core refuses more than 128 KiB."""


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_aware)]
"""An aware UTC datetime; ISO 8601 on the wire."""

TaskId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

GpuId = Annotated[str, Field(min_length=1, max_length=64)]
"""As its driver names it: `GPU-8932f937-d72c-4106-c12f-20bd9faed9f6`."""

PinnedGpus = dict[str, tuple[GpuId, ...]]
"""By container: the GPUs that are its own."""

MAX_GPUS = 32
"""Of one machine."""

SessionId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""Of a stream: 128 random bits, used once."""


AT_FIRST_USE = ConfigDict(defer_build=True)
"""Neither side reads all messages: a validator is made when it is first needed."""


class Message(BaseModel):
    """A frozen value that is camelCase in JSON and ignores what it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, **AT_FIRST_USE
    )

    def to_json(self) -> str:
        """The message as it goes over the wire: members that are None are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises pydantic.ValidationError."""
        return cls.model_validate_json(text)


# --- what both directions use -----------------------------------------------------------------------------------


class Attribute(Message):
    """An attribute of a container instance; a capability has no value."""

    name: str
    value: str | None = None


class HostPort(Message):
    """A port of the machine that something else than our tasks listens on."""

    port: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"


class NetworkBinding(Message):
    """Where a container's port was bound on the machine, or a range of them; then the two ports are its first ones."""

    bind_ip: str = Field(alias="bindIP")
    container_port: int
    host_port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    container_port_range: str | None = Field(default=None, pattern=r"^\d+-\d+$")
    host_port_range: str | None = Field(default=None, pattern=r"^\d+-\d+$")

    @property
    def host_ports(self) -> range:
        """All of the machine's."""
        last = int(self.host_port_range.partition("-")[2]) if self.host_port_range else self.host_port
        return range(self.host_port, last + 1)

    def described(self) -> dict[str, Any]:
        """In the shape of the ECS API, which names a range or a port, not both."""
        ports = (
            {"container_port", "host_port"}
            if self.container_port_range
            else {"container_port_range", "host_port_range"}
        )
        return self.model_dump(by_alias=True, exclude=ports, exclude_none=True)


# --- agent to control plane: requests ---------------------------------------------------------------------------


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


# --- agent to control plane: reports ----------------------------------------------------------------------------


class ContainerReport(Message):
    """One container of a TaskReport."""

    name: str
    last_status: TaskStatus
    exit_code: int | None = None
    reason: str | None = Field(default=None, max_length=1024)
    runtime_id: str | None = None
    image_digest: str | None = None
    network_bindings: tuple[NetworkBinding, ...] = ()
    health_status: HealthStatus = HealthStatus.UNKNOWN


class RestartsInPlace(Message):
    """How often a machine that was cut off has started a task's containers again, in the task's life."""

    count: int = Field(ge=1)
    exit_codes: dict[str, int] = Field(default_factory=dict)
    """By container: with what each last ended."""
    first_at: Timestamp
    last_at: Timestamp


class TaskReport(Message):
    """The whole state of one task. (epoch, number), compared as a pair, orders a task's reports."""

    task_id: TaskId
    epoch: int = Field(ge=1)
    number: int = Field(ge=1)
    command_version: int = Field(default=0, ge=0)
    """The version of the newest command for this task that the agent has seen: the report answers it."""
    last_status: TaskStatus
    stop_code: StopCode | None = None
    """Set with STOPPED: why, as the machine saw it."""
    stopped_reason: str | None = Field(default=None, max_length=1024)
    containers: tuple[ContainerReport, ...] = ()
    pull_started_at: Timestamp | None = None
    pull_stopped_at: Timestamp | None = None
    started_at: Timestamp | None = None
    stopping_at: Timestamp | None = None
    execution_stopped_at: Timestamp | None = None
    stopped_at: Timestamp | None = None
    restarts: RestartsInPlace | None = None


class TaskStateChanges(Message):
    """One or more reports; each stands for itself."""

    v: int = 1
    type: Literal["TaskStateChanges"] = "TaskStateChanges"
    reports: tuple[TaskReport, ...] = Field(min_length=1, max_length=100)


# --- control plane to agent -------------------------------------------------------------------------------------


class RegistrationRequired(Message):
    """The digest in Reconcile is not the one registered: send RegisterContainerInstance."""

    v: int = 1
    type: Literal["RegistrationRequired"] = "RegistrationRequired"
    request_id: str


class ListedTask(Message):
    """One line of the list of what should run."""

    task_id: TaskId
    desired_status: DesiredStatus
    task_definition: str
    """`family:revision`."""
    report_epoch: int = 0
    report_number: int = 0
    """The newest report that the control plane holds; (0, 0): none."""


class Reconciliation(Message):
    """One page of the list of what should run. The list counts only once all `pages` have come."""

    v: int = 1
    type: Literal["Reconciliation"] = "Reconciliation"
    request_id: str
    page: int = Field(ge=1)
    pages: int = Field(ge=1)
    epoch: int = Field(ge=1)
    """The epoch to report under from now on; numbers start again at 1."""
    version: int
    """The instance's version, read before the list."""
    tasks: tuple[ListedTask, ...] = ()


class TaskCommand(Message):
    """What should become of one task. With desiredStatus STOPPED only the first two members matter."""

    task_id: TaskId
    desired_status: DesiredStatus
    task_arn: str = ""
    cluster_arn: str = ""
    task_definition: str = ""
    """`family:revision`."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """TaskOverride of the ECS API."""
    gpu_ids: PinnedGpus | None = None
    group: str | None = None
    started_by: str | None = None
    launch_type: str = "EXTERNAL"
    created_at: Timestamp | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    restart: Literal["never", "offline"] | None = None
    """`offline`: while the machine is cut off, the end of an essential container does not end the task; the machine
    starts the same containers again."""
    stop_after: int | None = Field(default=None, ge=1)
    """Seconds after which a machine that is cut off stops the task by itself."""
    enable_execute_command: bool | None = None
    """Whether OpenExec may name it; None: no."""


class TaskCommands(Message):
    """Pushed when something should change, and the answer to DescribeTasks."""

    v: int = 1
    type: Literal["TaskCommands"] = "TaskCommands"
    request_id: str | None = None
    version: int
    """The instance's version, read before the tasks: an agent ignores, for one task, what is older than it has seen."""
    tasks: tuple[TaskCommand, ...] = ()
    task_definitions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """`family:revision` to the TaskDefinition of the ECS API. May lack some; ask with DescribeTasks."""
    unknown_tasks: tuple[TaskId, ...] = ()


class OrphansNoted(Message):
    """The answer to ReportOrphans: operators see them, and what they take of the machine is held."""

    v: int = 1
    type: Literal["OrphansNoted"] = "OrphansNoted"
    request_id: str


class Probe(Message):
    """Are you there? The agent answers with Reconcile."""

    v: int = 1
    type: Literal["Probe"] = "Probe"


DUPLICATE_IDENTITY = "DuplicateIdentity"
"""Another machine uses the identity: this one is to start nothing, to stop nothing, and to stay away."""


class Refused(Message):
    """The control plane will not do what was asked, and asking again soon will not help."""

    v: int = 1
    type: Literal["Refused"] = "Refused"
    request_id: str
    error: str
    """A stable name: InactiveInstance, ClusterNotFoundException, InvalidParameterException, DuplicateIdentity."""
    message: str


class RotationRequired(Message):
    """The machine is to make a new key and ask for a certificate for it: RotateCertificate."""

    v: int = 1
    type: Literal["RotationRequired"] = "RotationRequired"


class CertificateIssued(Message):
    """The answer to RotateCertificate: from now on both certificates are good.

    The old one is revoked once the machine has spoken with the new one.
    """

    v: int = 1
    type: Literal["CertificateIssued"] = "CertificateIssued"
    request_id: str
    certificate_pem: str


class RoleCredentials(Message):
    """What a task's role may be used with until `expiration`. Kept in memory only, and never shown."""

    task_id: TaskId
    role: RoleKind
    role_arn: str
    access_key_id: str
    secret_access_key: str = Field(repr=False)
    session_token: str = Field(repr=False)
    expiration: Timestamp


class CredentialsRefused(Message):
    """Why there are none; asking again soon will not help."""

    task_id: TaskId
    role: RoleKind
    reason: str = Field(max_length=1024)


class TaskCredentials(Message):
    """The answer to GetCredentials, or a part of it: each that was wanted comes once, in one of the two."""

    v: int = 1
    type: Literal["TaskCredentials"] = "TaskCredentials"
    request_id: str
    credentials: tuple[RoleCredentials, ...] = ()
    refused: tuple[CredentialsRefused, ...] = ()


class Deregistered(Message):
    """The machine is no container instance any more: nothing that it says counts, but that its tasks have stopped.

    It answers with DeregistrationNoted once it has stopped its tasks (or keeps them, as it was told when it started).
    Until it is answered it is said again, to whatever the machine asks.
    """

    v: int = 1
    type: Literal["Deregistered"] = "Deregistered"


class _OpenStream(Message):
    """Opens a stream on the machine's own topics (names.stream_topic), if it is not open: nothing is answered there
    before an operator attaches."""

    v: int = 1
    session_id: SessionId
    task_id: TaskId
    container: str | None = Field(default=None, max_length=255)
    """None: the task's only one; of logs all of them."""
    seconds: int = Field(ge=1)
    """How long it may last: durations mean the same to a machine whose clock is wrong."""


class OpenLogs(_OpenStream):
    """What a task's containers have written, and, with `follow`, write until they end."""

    type: Literal["OpenLogs"] = "OpenLogs"
    follow: bool = False
    tail: int | None = Field(default=None, ge=0)
    """Only the last lines of each container."""
    since_seconds: int | None = Field(default=None, ge=1)
    """Only what is not older."""


class OpenExec(_OpenStream):
    """A command in a running container of a task that was started with enableExecuteCommand."""

    type: Literal["OpenExec"] = "OpenExec"
    command: str = Field(min_length=1, max_length=8192)
    """Split into words as a shell does, and run without one."""


ControlPlaneMessage = (
    RegistrationRequired
    | Reconciliation
    | TaskCommands
    | OrphansNoted
    | Probe
    | Refused
    | RotationRequired
    | CertificateIssued
    | TaskCredentials
    | Deregistered
    | OpenLogs
    | OpenExec
)
CONTROL_PLANE_MESSAGE: TypeAdapter[ControlPlaneMessage] = TypeAdapter(
    Annotated[ControlPlaneMessage, Field(discriminator="type")], config=AT_FIRST_USE
)


# --- registration of a machine, over HTTPS ----------------------------------------------------------------------


class ActivateRequest(Message):
    """POST to the registration endpoint. The same CSR sent again gets the same identity."""

    v: int = 1
    activation_id: str = Field(max_length=64)
    activation_code: str = Field(max_length=128)
    csr: str = Field(max_length=4096)
    """PEM. The private key never leaves the machine."""


class Topics(Message):
    """Where an instance publishes and what it subscribes to."""

    requests: str
    task_state_changes: str
    commands: str
    credentials: str | None = None
    """None: the machine has its identity from a release that had no such topic."""

    def of(self, request: AgentRequest) -> str:
        """Where a request is published."""
        return (isinstance(request, GetCredentials) and self.credentials) or self.requests


class Identity(Message):
    """The answer to ActivateRequest: who the machine is from now on."""

    v: int = 1
    container_instance_id: str
    container_instance_arn: str
    cluster: str
    client_id: str
    """MQTT client id, which is the thing's name."""
    certificate_pem: str
    mqtt_endpoint: str
    """`host:port`."""
    mqtt_ca_pem: str | None = None
    """What to verify the MQTT endpoint with; None: the machine's own trust store (it holds Amazon's roots)."""
    topics: Topics
    attributes: tuple[Attribute, ...] = ()
    """Custom attributes that the activation gives to its instances."""


class ActivationRefused(Message):
    """The answer with HTTP status 400, 403, 429 or 503; 429 says in Retry-After when to ask again."""

    error: str
    message: str
