"""lambda:Invoke by the CLI: what operators do that is no ECS operation."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.operate import operate
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answers what the operation gives, or {error, message}."""
    answer = operate(control_plane(), event)
    logger.info("Operated", extra={"operation": event.get("operation"), "error": answer.get("error")})
    return answer
