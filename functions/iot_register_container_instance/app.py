"""IoT rule on `…/request` -> SQS -> here: an agent registers, reconciles, or asks about tasks."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.gateways import inbox
from control_plane.handling import Failures, one_by_one
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """Answers which messages failed."""
    return one_by_one(event, lambda body: answer_agent_request(control_plane(), inbox.envelope(body)))
