"""IoT rules on `$aws/events/presence/…` -> SQS -> here: an agent's connection began or ended."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.note_presence import note_presence
from control_plane.gateways import inbox
from control_plane.handling import Failures, one_by_one
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """Answers which messages failed."""
    return one_by_one(event, lambda body: note_presence(control_plane(), inbox.presence(body)))
