"""`Run Task` events on the stack's bus: the detail is a RunTask request; the event's id is its client token.

An event acts as the principal `events/<source>`, which must be allowed like any other: without a policy it runs
nothing.

With `waitForCapacitySeconds` beside the request, what no instance can take waits, for that long from the event's time:

    event ──► RunTask ── all placed ──► done
                 │ ▲
         refused │ │ an instance has room (tell_waiting.py), or a reminder is due
                 ▼ │
              waiting ── its time is up ──► `Run Task Failed` and the dead-letter queue, from where it may be replayed

That its time is up says a delayed message, if it began to wait for 15 minutes at most, else a reminder; as that does
should the message get lost.

Each attempt at what is left has a client token of its own, made from how many tasks have been placed before: so an
attempt that is repeated, or made twice at the same time, places nothing twice.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.authorization import EVENTS, Caller
from control_plane.domain.errors import EcsError, InvalidParameterException
from control_plane.domain.placement.place import Demand
from control_plane.domain.reminders import EventLook, delay_seconds
from control_plane.domain.request_checks import check_limits, refuse_unsupported
from control_plane.domain.waiting import WaitingEvent, next_look, waiting
from control_plane.flows.again import until_won
from control_plane.flows.authorize import authorize
from control_plane.flows.run_task import NO_INSTANCES, demand_of_request, run_task
from control_plane.gateways.ecs_model import validate_request
from control_plane.runtime import ControlPlane
from control_plane.store import reminders
from control_plane.store import waiting as store

logger = Logger(child=True)

WAIT = "waitForCapacitySeconds"
LONGEST_WAIT = timedelta(days=7)

KEPT = timedelta(days=1) + LONGEST_WAIT + timedelta(days=14)
"""How long it is remembered what an event has started: as long as EventBridge may bring it again, as it may wait, and
as it may lie in the dead-letter queue to be replayed."""

_SOURCE = re.compile(r"arn:[^:]*:(scheduler|events):[^:]*:[^:]*:(?P<kind>schedule|rule)/(.*/)?(?P<name>[^/]+)")
_PREFIXES = {"schedule": "chronos-schedule", "rule": "events-rule"}

STARTED_BY_LENGTH = 36
"""Amazon ECS cuts what it sets by itself to this."""


@dataclass(frozen=True)
class _Order:
    """What an event asks for."""

    event_id: str
    event: Mapping[str, Any]
    request: Mapping[str, Any]
    until: datetime | None
    """How long what is refused waits; None: it does not."""


def run_task_for_event(cp: ControlPlane, event: Mapping[str, Any]) -> None:
    """Run what an event asks for, once. What ECS refuses becomes an event and is not tried again, unless it waits.

    Raises only what is our own fault; the event comes again then.
    """
    try:
        order = _order(cp, event)
        if order.until is None:
            answer = run_task(cp, {**order.request, "clientToken": order.event_id}, kept=KEPT)
        else:
            until_won(cp, lambda _attempt: _run_or_wait(cp, order))
            return
    except EcsError as error:
        _refused(cp, event, error)
        return
    if answer["failures"]:
        _failed(cp, event, {"failures": answer["failures"]})


def run_waiting_event(cp: ControlPlane, request_id: str) -> None:
    """Try again what waits. One that has been placed or given up meanwhile is gone."""
    before = store.load_event(cp.table, request_id)
    if before is not None:
        run_task_for_event(cp, json.loads(before.event))


def _order(cp: ControlPlane, event: Mapping[str, Any]) -> _Order:
    """Raises the errors of RunTask."""
    detail = event.get("detail") or {}
    seconds = detail.get(WAIT) if isinstance(detail, dict) else None
    asked = {name: value for name, value in detail.items() if name != WAIT} if isinstance(detail, dict) else detail
    request = validate_request("RunTask", asked)
    refuse_unsupported("RunTask", request)
    check_limits("RunTask", request)
    longest = int(LONGEST_WAIT.total_seconds())
    if seconds is not None and not (type(seconds) is int and 1 <= seconds <= longest):
        raise InvalidParameterException(f"{WAIT} is a whole number from 1 to {longest}.")
    until = None if seconds is None else _time_of(event, cp.clock()) + timedelta(seconds=seconds)
    allowed = authorize(cp, Caller(principal=f"{EVENTS}{event.get('source', '')}", source="events"), "RunTask", request)
    return _Order(event["id"], event, {"startedBy": started_by(event, cp.prefix), **allowed}, until)


def demand_of_event(cp: ControlPlane, event: Mapping[str, Any]) -> Demand:
    """What each of its tasks asks of an instance. Raises the errors of RunTask."""
    _, demand = demand_of_request(cp, _order(cp, event).request)
    return demand


def _time_of(event: Mapping[str, Any], now: datetime) -> datetime:
    """Its own, so that one that comes late or twice waits no longer."""
    return datetime.fromisoformat(event["time"]).astimezone(UTC) if "time" in event else now


def started_by(event: Mapping[str, Any], prefix: str) -> str:
    """As Amazon ECS sets it for tasks that EventBridge starts: by the schedule or rule that the event came from, which
    EventBridge names among its resources; else by the stack's own rule."""
    found = [match for arn in event.get("resources") or () if (match := _SOURCE.fullmatch(str(arn)))]
    name = f"{_PREFIXES[found[0]['kind']]}/{found[0]['name']}" if found else f"events-rule/{prefix}-run-task"
    return name[:STARTED_BY_LENGTH]


def _run_or_wait(cp: ControlPlane, order: _Order) -> None:
    """Place what is left. If not all of it can be, wait, and look once more after having said so. Raises LostRace."""
    while True:
        before = store.load_event(cp.table, order.event_id)
        placed = before.placed if before else 0
        while True:
            started, failures = _place(cp, order, placed)
            placed += started
            if not (started and failures):
                break
        now = cp.clock()
        if not failures or order.until is None or now >= order.until:
            if failures:
                _failed(cp, order.event, {"failures": failures})
                cp.queues.give_up_event(json.dumps(order.event))
            if before is not None:
                cp.table.commit(store.event_ended(before))
            return
        _wait(cp, order, before, placed, Counter(failure["reason"] for failure in failures))
        if before is not None:
            return


def _place(cp: ControlPlane, order: _Order, placed: int) -> tuple[int, list[dict[str, str]]]:
    """How many tasks were started beside those that had been, and why the others were not."""
    count = order.request.get("count", 1) - placed
    token = f"{order.event_id}-{placed}" if placed else order.event_id
    try:
        answer = run_task(cp, {**order.request, "count": count, "clientToken": token}, kept=KEPT)
    except InvalidParameterException as error:
        if error.message != NO_INSTANCES:
            raise
        return 0, [{"arn": "", "reason": "MISSING", "detail": NO_INSTANCES}]
    started = len(answer["tasks"])
    return (started, answer["failures"]) if started < count else (started, [])


def _wait(
    cp: ControlPlane,
    order: _Order,
    before: WaitingEvent | None,
    placed: int,
    lacked: Mapping[str, int],
) -> None:
    """Say that it waits, unless that has been said. The reminder, and the note that somebody waits, come first."""
    cluster, demand = demand_of_request(cp, order.request)
    now = cp.clock()
    since = before.since if before else now
    until = order.until or now
    store.note(cp.table, cluster, now)
    reminders.remind(cp.table, [EventLook(cluster, order.event_id, next_look(since, until, now))])
    if before is not None and before.placed == placed:
        return
    after = WaitingEvent(
        request_id=order.event_id,
        cluster=cluster,
        event=json.dumps(order.event),
        since=since,
        until=until,
        placed=placed,
    )
    entry = waiting(demand, lacked, cluster=cluster, since=since, request_id=order.event_id)
    cp.table.commit([store.event_changed(before, after), *(() if before else (store.begun(entry),))])
    delay = delay_seconds(until, now)
    if before is None and delay is not None:
        cp.queues.run_waiting([order.event_id], delay)


def _refused(cp: ControlPlane, event: Mapping[str, Any], error: EcsError) -> None:
    """What ECS refuses, it refuses for good: also what has waited, if its cluster is deleted meanwhile, for example."""
    if error.status >= 500:
        raise error
    logger.info("Run Task failed", extra={"request": event["id"], "error": error.code})
    _failed(cp, event, {"error": error.code, "message": error.message})
    before = store.load_event(cp.table, event["id"]) if WAIT in (event.get("detail") or {}) else None
    if before is not None:
        cp.table.commit(store.event_ended(before))


def _failed(cp: ControlPlane, event: Mapping[str, Any], why: Mapping[str, Any]) -> None:
    """Told at least once: a run that dies after it is told again, by the same token, with the same outcome."""
    detail = {"requestId": event["id"], "request": event.get("detail"), **why}
    entry = cp.bus.entry("Run Task Failed", [], detail, cp.clock())
    refused = cp.bus.put([entry])
    if refused:
        raise RuntimeError("EventBridge did not take the event")
