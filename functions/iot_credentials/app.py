"""IoT rule on `…/credentials` -> SQS -> here: an agent asks for credentials of its tasks' roles.

Also invoked by the functions that start tasks, who may assume no role: `{"cluster": …, "roles": […]}` is answered with
`{"refused": {role: why}}`.
"""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.flows.check_roles import check_roles
from control_plane.flows.get_credentials import get_credentials
from control_plane.gateways import inbox
from control_plane.handling import Failures, one_by_one
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures | dict[str, Any]:
    """Answers which messages failed, or which roles cannot be assumed."""
    if "roles" in event:
        return {"refused": check_roles(control_plane(), event["cluster"], event["roles"])}
    return one_by_one(event, lambda body: get_credentials(control_plane(), inbox.envelope(body)))
