"""POST /credentials and /credentials/administrator, which API Gateway lets IAM identities call: a short-lived key."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.errors import EcsError
from control_plane.flows import audit
from control_plane.flows.log_in import log_in
from control_plane.runtime import control_plane

logger = Logger()

ADMINISTRATOR_ROUTE = "POST /credentials/administrator"


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Who may call which route, IAM has decided; without an identity that it has proven nobody gets anything.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html
    """
    iam = event["requestContext"].get("authorizer", {}).get("iam") or {}
    if not iam.get("userArn"):
        audit.refused(
            control_plane(),
            principal=None,
            action="ecs-anywhere:LogIn",
            resource=str(event["routeKey"]),
            source=str(event["requestContext"].get("http", {}).get("sourceIp", "")),
            reason="no IAM identity that API Gateway has proven",
        )
        return _answer(403, {"message": "Forbidden"})
    duration = (event.get("queryStringParameters") or {}).get("durationSeconds")
    administrator = event["routeKey"] == ADMINISTRATOR_ROUTE
    try:
        return _answer(200, log_in(control_plane(), iam["userArn"], duration, administrator=administrator))
    except EcsError as error:
        return _answer(400, {"message": error.message})


def _answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
