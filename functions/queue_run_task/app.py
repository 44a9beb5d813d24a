"""EventBridge rule on `Run Task` -> SQS -> here: events run tasks; those that wait come again by their ids."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.run_task_event import run_task_for_event, run_waiting_event
from control_plane.handling import Failures, one_by_one
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """Answers which messages failed; what ECS refuses has not failed, it has become an event."""
    return one_by_one(event, _handle)


def _handle(body: str) -> None:
    message = json.loads(body)
    if "waiting" in message:
        run_waiting_event(control_plane(), message["waiting"])
    else:
        run_task_for_event(control_plane(), message)
