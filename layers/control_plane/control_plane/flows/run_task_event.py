"""`Run Task` events on the stack's bus: the detail is a RunTask request; the event's id is its client token.

An event acts as the principal `events/<source>`, which must be allowed like any other: without a policy it runs
nothing.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.authorization import EVENTS, Caller
from control_plane.domain.errors import EcsError
from control_plane.domain.request_checks import check_limits, refuse_unsupported
from control_plane.flows.authorize import authorize
from control_plane.flows.run_task import run_task
from control_plane.gateways.ecs_model import validate_request
from control_plane.runtime import ControlPlane

logger = Logger(child=True)

KEPT = timedelta(days=15)
"""As long as EventBridge and SQS may still bring the same event again: 24 hours and 14 days."""


def run_task_for_event(cp: ControlPlane, event: Mapping[str, Any]) -> None:
    """Run what an event asks for, once. What ECS refuses becomes an event and is not tried again.

    Raises only what is our own fault; the event comes again then.
    """
    event_id, detail = event["id"], event.get("detail")
    try:
        request = validate_request("RunTask", detail or {})
        refuse_unsupported("RunTask", request)
        check_limits("RunTask", request)
        allowed = authorize(cp, Caller(principal=f"{EVENTS}{event.get('source', '')}"), "RunTask", request)
        answer = run_task(cp, {**allowed, "clientToken": event_id}, kept=KEPT)
    except EcsError as error:
        if error.status >= 500:
            raise
        logger.info("Run Task failed", extra={"request": event_id, "error": error.code})
        _failed(cp, event_id, detail, {"error": error.code, "message": error.message})
        return
    if answer["failures"]:
        _failed(cp, event_id, detail, {"failures": answer["failures"]})


def _failed(cp: ControlPlane, event_id: str, detail: Any, why: Mapping[str, Any]) -> None:
    """Told at least once: a run that dies after it is told again, by the same token, with the same outcome."""
    entry = cp.bus.entry("Run Task Failed", [], {"requestId": event_id, "request": detail, **why}, cp.clock())
    refused = cp.bus.put([entry])
    if refused:
        raise RuntimeError("EventBridge did not take the event")
