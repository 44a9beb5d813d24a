"""What the agent does to the world. Each is safe to do again: the state that `step` gave with it is stored first."""

from dataclasses import dataclass

from ecs_anywhere_agent.container_secrets import Registry
from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_protocol.messages import AgentRequest, TaskStateChanges


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """To topics.requests. May be lost: the core asks again."""

    message: AgentRequest


@dataclass(frozen=True, slots=True)
class PublishReports:
    """To topics.taskStateChanges; the PUBACK comes back as ReportAcknowledged(token)."""

    token: int
    message: TaskStateChanges


@dataclass(frozen=True, slots=True)
class PullImage:
    """Make the image present. Answered by ImagePulled or ActionFailed(PULL, PULL_ECR, RESOURCES)."""

    ref: ContainerRef
    image: str
    registry: Registry | None = None
    """None: pulled as anybody may pull it."""


@dataclass(frozen=True, slots=True)
class CreateContainer:
    """Make the container, unless it exists. Answered by ContainerChanged or ActionFailed(CREATE, RESOURCES)."""

    ref: ContainerRef
    spec: ContainerSpec


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start the container, unless it was ever started. Answered by ContainerChanged or ActionFailed(START)."""

    ref: ContainerRef


@dataclass(frozen=True, slots=True)
class RestartContainer:
    """Start a container again that has ended: the same one, with its files and ports; unless it runs.

    Answered by ContainerChanged (GONE: there is none to start again) or ActionFailed(START).
    """

    ref: ContainerRef


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Ask the container to end, or kill it. Its end comes as ContainerChanged."""

    ref: ContainerRef
    kill: bool = False


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove the container and all that is its own, if it exists; kill it if it runs. Not answered."""

    ref: ContainerRef


@dataclass(frozen=True, slots=True)
class DropCredentials:
    """The task has no use for its roles' credentials any more. Not answered."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Log:
    """A line for whoever watches the agent."""

    text: str


RuntimeAction = PullImage | CreateContainer | StartContainer | RestartContainer | StopContainer | RemoveContainer
Action = PublishRequest | PublishReports | RuntimeAction | DropCredentials | Log
