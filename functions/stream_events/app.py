"""The table's stream -> here: Amazon ECS's events on the bus, and the keys of services to the scheduler."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.publish_events import publish_events
from control_plane.gateways import inbox
from control_plane.handling import records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> None:
    """Raises, so that the batch comes again, only if a queue cannot be reached."""
    publish_events(control_plane(), [inbox.stream_record(record) for record in records_of(event)])
