"""EventBridge Scheduler, each minute -> here: see to what is due."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.sweep import sweep
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(_event: dict[str, Any], _context: Any) -> dict[str, int]:
    """Answers how many instances, services and events were due."""
    return sweep(control_plane())
