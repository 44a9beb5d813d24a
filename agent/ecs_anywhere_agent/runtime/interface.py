"""What the agent wants of whatever runs containers."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from ecs_anywhere_agent.core.actions import RuntimeAction
from ecs_anywhere_agent.core.events import ActionFailed, ContainerChanged, ContainerSnapshot, ImagePulled
from ecs_protocol.messages import Attribute

Emit = Callable[[ContainerChanged | ImagePulled | ActionFailed], None]


class RuntimeUnavailableError(Exception):
    """The runtime cannot be used on this machine now; the text says what to do."""


class RuntimeFacts(NamedTuple):
    """What the control plane is told of the runtime."""

    features: frozenset[str]
    """What it can do, in the words of the table of capabilities."""
    docker_version: str | None = None
    attributes: tuple[Attribute, ...] = ()
    gpu_ids: tuple[str, ...] = ()
    """GPUs of the machine that containers can have."""


class Runtime(Protocol):
    """Carries out actions on threads of its own, and tells what it sees through `emit`, from any thread."""

    def open(self, emit: Emit) -> tuple[ContainerSnapshot, ...]:
        """Start observing. All containers that an agent with this data directory made, as they are now.

        Raises RuntimeUnavailableError.
        """

    def facts(self) -> RuntimeFacts: ...

    def perform(self, action: RuntimeAction) -> None:
        """Returns at once. The actions of one container are done in the order given."""

    def owns_process(self, pid: int) -> bool:
        """Whether the process belongs to a container whose ports are the machine's: they are not "in use"."""

    def storage(self) -> Path | None:
        """Where it keeps what may fill the disk, if that is not the data directory."""

    def clean_up(self, needed_images: Callable[[], frozenset[str]], pressed: Callable[[], bool] | None) -> None:
        """Remove images that are not among those needed, by any thread but one at a time.

        `pressed`: the disk is nearly full; it says whether it still is. None: it is not.
        """

    def close(self, *, finish: bool = False) -> None:
        """Stop observing; what runs keeps running. `finish`: what was asked for is done first, if that is possible."""
