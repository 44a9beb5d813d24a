"""What the local endpoint tells of a container and the agent's state does not hold: looked up when it is asked for."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ecs_anywhere_agent.core.values import ContainerRef


class Seen(NamedTuple):
    """One container, as its runtime has it now; timestamps are RFC 3339."""

    docker_name: str
    image_id: str = ""
    labels: Mapping[str, str] = {}
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    log_driver: str | None = None
    networks: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, str], ...] = ()
    health: Mapping[str, Any] | None = None
    addresses: frozenset[str] | None = None
    """Where its requests come from; None: from this machine itself, whose network it has."""


class CannotLookError(Exception):
    """The runtime does not tell now; the text goes to the container, the cause to the log."""


class View(Protocol):
    """Safe for any number of threads. `runtime_id` is what the runtime last told as the container's."""

    def look(self, ref: ContainerRef, runtime_id: str | None) -> Seen | None:
        """None: there is no such container. Raises CannotLookError."""

    def stats(self, ref: ContainerRef, runtime_id: str | None) -> Mapping[str, Any] | None:
        """In the shape of Docker's statistics; None: there is no such container. Raises CannotLookError.

        https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerStats
        """

    def close(self) -> None:
        """End what is on its way: an agent that ends must not wait for a runtime that does not answer."""
