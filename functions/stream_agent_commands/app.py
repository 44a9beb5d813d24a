"""The table's stream, tasks that await an answer -> here: tell agents what should change."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import TaskKey
from control_plane.flows.send_agent_commands import send_agent_commands
from control_plane.gateways import inbox
from control_plane.handling import records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> None:
    """Raises, so that the batch comes again, only if the retry queue cannot be reached."""
    images = [inbox.stream_record(record).new_image for record in records_of(event)]
    send_agent_commands(
        control_plane(), [TaskKey(image["cluster"], image["taskId"], image["instanceId"]) for image in images if image]
    )
