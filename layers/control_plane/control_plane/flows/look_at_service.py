"""A service's `look_at`: when it is brought to the scheduler again, though nothing has changed. That of a line is when
a DAEMON service is, for what it has on one instance.

    a run moves it ──┬── a reminder, stored before the commit ──► the sweeper, each minute ──► due? ──► scheduler
                     └── 15 minutes away at most: a delayed message, after it ───────────────► due? ──┘

The reminder is for messages that get lost, the message for those who count in seconds. Both name the same look, so that
the queue takes the second for a repetition; and whichever comes when a run has moved it again finds nothing due.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.reminders import delay_seconds, on_grid
from control_plane.domain.service import Service
from control_plane.runtime import ControlPlane
from control_plane.store import daemons, services

logger = Logger(child=True)


def set_timer(cp: ControlPlane, before: Service, after: Service, now: datetime) -> None:
    """Once `after` is committed. Whoever dies before this has left it to the sweeper."""
    if after.look_at is not None and after.look_at != before.look_at:
        look_later(cp, ServiceKey(after.cluster, after.name), after.look_at, now)


def look_later(cp: ControlPlane, key: ServiceKey, at: datetime, now: datetime) -> None:
    """As set_timer, where a new time is known to have been committed."""
    delay = delay_seconds(at, now)
    if delay is not None:
        cp.queues.look_at_service_later(key, delay)


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
    on: dict[ServiceKey, list[str]] = defaultdict(list)
    whole: set[ServiceKey] = set()
    for key in keys:
        if key.instance_id is None:
            whole.add(key)
        else:
            on[ServiceKey(key.cluster, key.service)].append(key.instance_id)
    due: dict[ServiceKey, str] = {}
    for key, service in services.load_many(cp.table, whole | on.keys()).items():
        if key in whole and service.look_at is not None and service.look_at <= now:
            due[key] = f"{key.service[:80]}-{service.lock}-{on_grid(service.look_at)}"
        for line in daemons.lines_on(cp.table, service, on[key]).values() if key in on else ():
            if line.look_at is not None and line.look_at <= now:
                at = on_grid(line.look_at)
                due[replace(key, instance_id=line.instance_id)] = f"{key.service[:80]}-{line.instance_id}-{at}"
    return due


def wake(cp: ControlPlane, due: Mapping[ServiceKey, str]) -> None:
    if due:
        cp.queues.wake_services(list(due.items()))
