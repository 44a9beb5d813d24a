"""What wakes the functions: keys and messages, as the handlers have parsed them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


@dataclass(frozen=True)
class Envelope:
    """A message from a machine, with what IoT Core attached to it; only `payload` is the machine's own word."""

    client_id: str
    principal: str
    """Id of the certificate that the connection was made with."""
    topic: str
    payload: bytes
    received_at: datetime


@dataclass(frozen=True)
class Presence:
    """An IoT lifecycle event. https://docs.aws.amazon.com/iot/latest/developerguide/life-cycle-events.html"""

    client_id: str
    event_type: Literal["connected", "disconnected"]
    session: str
    version_number: int
    timestamp: datetime
    disconnect_reason: str | None = None
    principal: str | None = None
    """Id of the certificate that the connection was made with."""


@dataclass(frozen=True)
class TaskKey:
    """A task whose machine is to be told something."""

    cluster: str
    task_id: str
    instance_id: str


class Look(StrEnum):
    """Why a container instance is looked at."""

    COMMANDS = "COMMANDS"
    """Were the commands answered that were sent before this?"""
    PROBE = "PROBE"
    """Is it still there? It is asked."""
    ANSWER = "ANSWER"
    """Has it answered the probe?"""


@dataclass(frozen=True)
class InstanceLook:
    """A container instance to look at. `at` is when it was due, on the grid, in epoch seconds."""

    cluster: str
    instance_id: str
    look: Look
    at: int
    epoch: int = 0
    """Of ANSWER: the instance's epoch when it was probed; an answer raises it."""


@dataclass(frozen=True)
class ServiceKey:
    """A service that the scheduler is to look at; a DAEMON service perhaps only at what it has on one instance."""

    cluster: str
    service: str
    instance_id: str | None = None
    changed_at: datetime | None = field(default=None, compare=False)
    """When the change was committed that it is to be looked at for, rounded down to the second; None: there may be more
    to it than that. It is no part of which service this is."""


@dataclass(frozen=True)
class FleetKey:
    """A large cluster of whose instances a new snapshot is to be kept (store/fleet_snapshots.py)."""

    cluster: str
    outgrown: str
    """Id of the one that is to be replaced; empty: there was none."""


@dataclass(frozen=True)
class StreamRecord:
    """A change of the table. `new_image` is in Python's own types; empty if the item is gone."""

    event_id: str
    event_name: Literal["INSERT", "MODIFY", "REMOVE"]
    new_image: Mapping[str, Any]
    created_at: datetime | None = None
    """Rounded down to the second."""
