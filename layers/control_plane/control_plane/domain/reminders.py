"""Times at which somebody is to be looked at again, whatever else gets lost. Pure.

A reminder is only a reason to look: looking twice, or for nothing, does no harm. It is stored before the deed that it
is to watch over, so that there is no deed without one, and is due only once no function that may still do the deed can
be alive.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from control_plane.domain.inbox import InstanceLook, Look, ServiceKey

FIRST_GAP = timedelta(seconds=30)
"""After which an unanswered command is first sent again, and its instance doubted: no function that starts or stops
tasks lives longer."""

DOUBT = timedelta(seconds=30)
"""That an instance has to answer the probe that goes with a command that is sent again."""

LONGEST_DELAY = timedelta(minutes=15)
"""Of a message. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html"""

GIVEN_UP_BY_QUEUE = timedelta(minutes=20)
"""After which a message that failed each time lies with the dead letters: five times three minutes, and some."""

GRID_SECONDS = 10
"""Reminders of the same instance and about the same time are one item."""

PROBE_SECONDS = 6 * 3600
"""Between two probes of an instance that nobody has heard of otherwise."""

ANSWER_TIME = timedelta(minutes=2)
"""That an instance has to answer a probe."""


@dataclass(frozen=True)
class ServiceLook:
    """A service to bring to the scheduler; a DAEMON service perhaps only for what it has on one instance."""

    service: ServiceKey
    at: int


@dataclass(frozen=True)
class EventLook:
    """A `Run Task` event that waits for capacity, to be tried again."""

    cluster: str
    request_id: str
    at: int


Reminder = InstanceLook | ServiceLook | EventLook

_EPOCH = datetime.fromtimestamp(0, UTC)


def on_grid(at: datetime) -> int:
    """The first second of the grid that is not before `at`, which counts in milliseconds, as the table does."""
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    return -(-milliseconds // (GRID_SECONDS * 1000)) * GRID_SECONDS


def delay_seconds(at: datetime, now: datetime) -> int | None:
    """Of a message that is to come at that time, not before it; None: no message can be delayed for so long."""
    return max(0, math.ceil((at - now).total_seconds())) if at - now <= LONGEST_DELAY else None


def watching_command(cluster: str, instance_id: str, since: datetime) -> InstanceLook:
    """The first reminder about a command that awaits its answer since `since`."""
    return InstanceLook(cluster, instance_id, Look.COMMANDS, command_due(since, since))


def watching_service(cluster: str, service: str, look_at: datetime, instance_id: str | None = None) -> ServiceLook:
    """The reminder that goes with a service's `look_at`, or with that of a DAEMON service's line on an instance."""
    return ServiceLook(ServiceKey(cluster, service, instance_id), on_grid(look_at))


def command_due(since: datetime, now: datetime) -> int:
    """When a command that awaits its answer since `since` is next sent again: after gaps that double."""
    gap = FIRST_GAP
    while (due := on_grid(since + gap)) <= now.timestamp():
        gap *= 2
    return due


def command_was_due(since: datetime, at: int) -> bool:
    """Whether `at` is one of the times at which that command is sent again."""
    return command_due(since, datetime.fromtimestamp(at - 1, UTC)) == at


def next_probe(cluster: str, instance_id: str, now: datetime) -> InstanceLook:
    """Each instance has its own second of every six hours, so that asking for the next probe twice makes one."""
    own = int(instance_id[:8], 16) % PROBE_SECONDS // GRID_SECONDS * GRID_SECONDS
    past = (int(now.timestamp()) - own) // PROBE_SECONDS
    return InstanceLook(cluster, instance_id, Look.PROBE, own + (past + 1) * PROBE_SECONDS)
