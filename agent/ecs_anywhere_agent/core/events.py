"""What can happen to the agent: everything that `step` is told."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ecs_anywhere_agent.container_spec import Origin
from ecs_anywhere_agent.core.roles import RoleRef
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_protocol.messages import ControlPlaneMessage, NetworkBinding, RegisterContainerInstance
from ecs_protocol.statuses import HealthStatus


class Condition(StrEnum):
    """What a runtime sees of a container."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    EXITED = "EXITED"
    GONE = "GONE"


class Attempt(StrEnum):
    """An action that a runtime may fail at, by what Amazon ECS calls the failure."""

    RESOURCES = "ResourceInitializationError"
    """What the execution role is to fetch, before the image or the container."""
    PULL_ECR = "CannotPullECRContainerError"
    """The token for it; the pull itself fails as any other."""
    PULL = "CannotPullContainerError"
    CREATE = "CannotCreateContainerError"
    CREATE_VOLUME = "CannotCreateVolumeError"
    START = "CannotStartContainerError"


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    """One container as the runtime sees it; never a difference, so that it may come twice or late."""

    ref: ContainerRef
    condition: Condition
    runtime_id: str | None = None
    run: str | None = None
    """Tells one start of the container from another; None: it was never started, or nobody can say."""
    exit_code: int | None = None
    reason: str | None = None
    bindings: tuple[NetworkBinding, ...] = ()
    health: HealthStatus = HealthStatus.UNKNOWN
    image_digest: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The first event after the state was loaded: who the machine is."""

    container_instance_arn: str
    rebooted: bool = False
    """The machine has started since the state was stored."""


@dataclass(frozen=True, slots=True)
class InventoryTaken:
    """All of this agent's containers; once, at the start, before any action."""

    containers: tuple[ContainerSnapshot, ...]


@dataclass(frozen=True, slots=True)
class ContainerChanged:
    """One container changed."""

    snapshot: ContainerSnapshot


@dataclass(frozen=True, slots=True)
class ImagePulled:
    """The container's image is there, pulled or not."""

    ref: ContainerRef
    image_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ActionFailed:
    """What was tried cannot be done; trying again would not help."""

    ref: ContainerRef
    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class Connected:
    """Subscribed to the commands, able to publish."""

    session: str
    """New and random at each connection: request ids are made from it."""
    registration: RegisterContainerInstance
    """What the machine is now; the request id in it is not used."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Whatever was not acknowledged may be lost."""


@dataclass(frozen=True, slots=True)
class NotConnected:
    """A connection was tried, and did not come about."""

    reason: str
    clock_unset: bool = False
    """It cannot come about before this machine's clock is set: there is none to wait for."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """From the control plane."""

    message: ControlPlaneMessage


@dataclass(frozen=True, slots=True)
class CredentialsReceived:
    """Credentials of tasks' roles have come: the driver holds them, and the core knows only whose they are."""

    held: tuple[tuple[RoleRef, datetime], ...]
    """Until when each is good, by the control plane's clock."""
    refused: tuple[tuple[RoleRef, str], ...] = ()
    """Those that there are none for, and why."""
    jitter: float = 0.0
    """0 to 1, random: when they are asked for anew, so that the machines of a fleet do not all ask at once."""


@dataclass(frozen=True, slots=True)
class ReportAcknowledged:
    """The broker has acknowledged (PUBACK) what PublishReports with this token published."""

    token: int


@dataclass(frozen=True, slots=True)
class ContactProved:
    """The broker has answered something that was sent to it at `began`, on the clock of Instant.elapsed."""

    began: float


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody on the machine wants the task stopped, whatever the control plane wants."""

    task_id: str


@dataclass(frozen=True, slots=True)
class DiskNearlyFull:
    """What is kept only for whoever looks for a cause must not be kept any longer."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """It is `next_due(state)` or later."""


Observation = InventoryTaken | ContainerChanged | ImagePulled | ActionFailed
"""What a runtime tells."""

Event = (
    Observation
    | AgentStarted
    | Connected
    | Disconnected
    | NotConnected
    | MessageReceived
    | CredentialsReceived
    | ReportAcknowledged
    | ContactProved
    | StopAsked
    | DiskNearlyFull
    | TimerFired
)
