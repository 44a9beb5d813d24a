"""What the control plane says to an agent."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from ecs_protocol.messages.base import AT_FIRST_USE, Message, PinnedGpus, SessionId, TaskId, Timestamp
from ecs_protocol.messages.requests import RoleKind
from ecs_protocol.statuses import DesiredStatus


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
