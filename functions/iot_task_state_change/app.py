"""IoT rule on `…/task-state-change` -> SQS -> here: agents report what became of tasks."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.submit_task_state_change import submit_task_state_changes
from control_plane.gateways import inbox
from control_plane.handling import Failures, come_again, parsed, records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """The whole batch at once: what concerns one instance is committed together. Answers which messages failed."""
    records = records_of(event)
    envelopes, indexes, unreadable = parsed(records, inbox.envelope)
    failed = submit_task_state_changes(control_plane(), envelopes)
    return come_again(records, unreadable | {indexes[each] for each in failed})
