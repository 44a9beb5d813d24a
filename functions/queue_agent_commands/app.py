"""SQS -> here: send again the commands of tasks that could not be sent; look at instances of which a reminder tells,
and at services whose timers have run out."""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import InstanceLook, ServiceKey, TaskKey
from control_plane.flows.look_at_container_instance import look_at_container_instances
from control_plane.flows.look_at_service import look_at_services
from control_plane.flows.send_agent_commands import send_commands_again
from control_plane.gateways import inbox
from control_plane.handling import Failures, come_again, parsed, records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """Answers which messages failed again: the queue brings them back, and at last to the dead letters."""
    records = records_of(event)
    wanted, indexes, unreadable = parsed(records, inbox.agent_command)
    failed: set[TaskKey | InstanceLook | ServiceKey] = {
        *send_commands_again(control_plane(), [each for each in wanted if isinstance(each, TaskKey)]),
        *look_at_container_instances(control_plane(), [each for each in wanted if isinstance(each, InstanceLook)]),
        *look_at_services(control_plane(), [each for each in wanted if isinstance(each, ServiceKey)]),
    }
    again = {index for each, index in zip(wanted, indexes, strict=True) if each in failed}
    return come_again(records, unreadable | again)
