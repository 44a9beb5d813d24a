"""A service's `look_at`: when it is brought to the scheduler again, though nothing has changed.

    a run moves it ──┬── a reminder, stored before the commit ──► the sweeper, each minute ──► due? ──► scheduler
                     └── 15 minutes away at most: a delayed message, after it ───────────────► due? ──┘

The reminder is for messages that get lost, the message for those who count in seconds. Both name the same look, so that
the queue takes the second for a repetition; and whichever comes when a run has moved it again finds nothing due.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.reminders import on_grid
from control_plane.domain.service import Service
from control_plane.runtime import ControlPlane
from control_plane.store import services

logger = Logger(child=True)

LONGEST_DELAY = timedelta(minutes=15)
"""Of a message. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html"""


def set_timer(cp: ControlPlane, before: Service, after: Service, now: datetime) -> None:
    """Once `after` is committed. Whoever dies before this has left it to the sweeper."""
    at = after.look_at
    if at is None or at == before.look_at or at - now > LONGEST_DELAY:
        return
    seconds = max(0, math.ceil((at - now).total_seconds()))
    cp.queues.look_at_service_later(ServiceKey(after.cluster, after.name), seconds)


def look_at_services(cp: ControlPlane, wanted: Iterable[ServiceKey]) -> set[ServiceKey]:
    """Whose timers have run out. Returns those that could not be looked at, and are to come again."""
    keys = set(wanted)
    try:
        wake(cp, those_due(cp, keys))
    except Exception:  # the other messages of its batch are none of its business
        logger.exception("Could not look at services", extra={"services": sorted(key.service for key in keys)})
        return keys
    return set()


def those_due(cp: ControlPlane, keys: Iterable[ServiceKey]) -> dict[ServiceKey, str]:
    """Those whose time has come, and which no run has put off; with what names this look, whoever sends it."""
    now = cp.clock()
    return {
        key: f"{service.name[:80]}-{service.lock}-{on_grid(service.look_at)}"
        for key, service in services.load_many(cp.table, keys).items()
        if service.look_at is not None and service.look_at <= now
    }


def wake(cp: ControlPlane, due: Mapping[ServiceKey, str]) -> None:
    if due:
        cp.queues.wake_services(list(due.items()))
