"""POST /registration: an activation code and a CSR become a machine's identity."""

import base64
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from control_plane.flows import audit
from control_plane.flows.activate import ActivationError, activate
from control_plane.runtime import control_plane
from ecs_protocol.messages import ActivateRequest, ActivationRefused, Message

logger = Logger()

MAX_BODY = 16 * 1024
"""More than any activation request takes, in base64, too. What is longer is not looked at."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answers an Identity (200) or ActivationRefused."""
    body = event.get("body") or ""
    source = event.get("requestContext", {}).get("http", {}).get("sourceIp", "")
    if len(body) > MAX_BODY:
        return _unreadable(413, f"The body is longer than {MAX_BODY} bytes.", source, "too long")
    text = base64.b64decode(body) if event.get("isBase64Encoded") else body
    try:
        identity = activate(control_plane(), ActivateRequest.from_json(text), source)
    except ValidationError as error:
        message = "The body is not an activation request of this protocol."
        return _unreadable(400, message, source, audit.first(error))
    except ActivationError as error:
        return _refused(error.status, error.error, error.message, error.retry_after)
    except Exception:
        logger.exception("Activation failed")
        return _refused(503, "ServiceUnavailable", "Try again; the same request gets the same identity.")
    return _answer(200, identity)


def _unreadable(status: int, message: str, source: str, why: str) -> dict[str, Any]:
    audit.refused(
        control_plane(),
        principal=None,
        action="ecs-anywhere:Activate",
        resource="*",
        source=source,
        reason=f"no activation request of this protocol: {why}",
    )
    return _refused(status, "InvalidRequest", message)


def _refused(status: int, error: str, message: str, retry_after: int | None = None) -> dict[str, Any]:
    logger.info("Refused", extra={"error": error})
    answer = _answer(status, ActivationRefused(error=error, message=message))
    if retry_after is not None:
        answer["headers"]["retry-after"] = str(retry_after)
    return answer


def _answer(status: int, message: Message) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": message.to_json()}
