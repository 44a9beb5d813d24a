"""What is known of the connection besides the state, for whoever asks on the machine."""

from dataclasses import dataclass, replace

from ecs_anywhere_agent.core.events import (
    Connected,
    ContactProved,
    CredentialsReceived,
    Disconnected,
    Event,
    MessageReceived,
    NotConnected,
    ReportAcknowledged,
)


@dataclass(frozen=True, slots=True)
class Contact:
    """Moments are on the clock of Instant.elapsed: the wall clock of a small machine may jump by decades."""

    since: float
    """When it became connected or not connected; at first, when the agent started."""
    connected: bool = False
    last_exchange: float | None = None
    """When the control plane last proved that it is there: a message of its own, or a report acknowledged."""

    problem: str | None = None
    """Why the last try to connect failed, while there is no connection."""

    def after(self, event: Event, elapsed: float) -> "Contact":
        match event:
            case Connected():
                return replace(self, connected=True, since=elapsed, problem=None)
            case Disconnected():
                return replace(self, connected=False, since=elapsed)
            case NotConnected():
                return replace(self, problem=event.reason)
            case ContactProved():
                return replace(self, last_exchange=event.began)
            case MessageReceived() | CredentialsReceived() | ReportAcknowledged():
                return replace(self, last_exchange=elapsed)
            case _:
                return self
