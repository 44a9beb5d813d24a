"""SQS, finished events that EventBridge did not take -> here: put them again."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.publish_events import publish_finished
from control_plane.handling import Failures, come_again, parsed, records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """Answers which messages failed again."""
    records = records_of(event)
    entries, indexes, unreadable = parsed(records, json.loads)
    failed = publish_finished(control_plane(), entries)
    return come_again(records, unreadable | {indexes[each] for each in failed})
