"""SQS, keys of tasks whose commands could not be sent, or were not answered -> here: send them again."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.send_agent_commands import send_commands_again
from control_plane.gateways import inbox
from control_plane.handling import Failures, come_again, parsed, records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """Answers which messages failed again: the queue brings them back, and at last to the dead letters."""
    records = records_of(event)
    keys, indexes, unreadable = parsed(records, inbox.task_key)
    failed = send_commands_again(control_plane(), keys)
    return come_again(records, unreadable | {index for key, index in zip(keys, indexes, strict=True) if key in failed})
