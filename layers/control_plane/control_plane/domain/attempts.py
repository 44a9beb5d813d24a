"""How often somebody may try to register with a wrong code. Pure.

A code is 192 random bits: nobody guesses one. What is limited is the noise, and the work of whoever tries. So a source
that has never failed is always heard, whatever others do: a first guess is worth nothing, and else whoever knows an
activation's id could shut its machines out.
"""

import ipaddress
import math
from datetime import datetime, timedelta
from enum import StrEnum

from control_plane.domain.entity import Entity

WINDOW = timedelta(minutes=10)
"""That failures are counted for, from the first one on."""


class Of(StrEnum):
    """Whose failures are counted."""

    SOURCE = "SOURCE"
    ACTIVATION = "ACTIVATION"


LIMITS = {Of.SOURCE: 10, Of.ACTIVATION: 30}
"""Failures in one window."""


class Failures(Entity):
    """What was counted since the window began."""

    failures: int
    until: int
    """When the window ends, in epoch seconds."""


def seconds_to_wait(source: Failures | None, activation: Failures | None, now: datetime) -> int | None:
    """Until this source is heard about this activation again; None: now.

    Not heard: a source with too many failures of its own, and about an activation with too many failures (many sources
    guess together) one that has failed at all.
    """
    source, activation = _current(source, now), _current(activation, now)
    if source is None:
        return None
    if source.failures >= LIMITS[Of.SOURCE]:
        return _left(source, now)
    if activation is not None and activation.failures >= LIMITS[Of.ACTIVATION]:
        return min(_left(source, now), _left(activation, now))
    return None


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 network that a host of IPv6 has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _current(counted: Failures | None, now: datetime) -> Failures | None:
    """DynamoDB deletes late: a window that has ended does not count."""
    return counted if counted is not None and counted.until > now.timestamp() else None


def _left(counted: Failures, now: datetime) -> int:
    return max(1, math.ceil(counted.until - now.timestamp()))
