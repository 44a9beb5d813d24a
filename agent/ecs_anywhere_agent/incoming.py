"""A message of the control plane is taken whole, or refused whole: then it changes nothing.

Older than what is known is no reason here: messages overtake each other, and the core knows for each task.
"""

from pydantic import ValidationError

from ecs_protocol.messages import CONTROL_PLANE_MESSAGE, ControlPlaneMessage, TaskCommands

LARGEST_BYTES = 128 * 1024
"""AWS IoT Core delivers no larger ones: https://docs.aws.amazon.com/general/latest/gr/iot-core.html"""


class RefusedMessageError(Exception):
    """The text says why, and nothing of what the message holds: that may be a secret."""


def read_message(payload: bytes, container_instance_arn: str) -> ControlPlaneMessage:
    """Raises RefusedMessageError."""
    if len(payload) > LARGEST_BYTES:
        raise RefusedMessageError(f"it has {len(payload)} bytes, more than {LARGEST_BYTES}")
    try:
        message = CONTROL_PLANE_MESSAGE.validate_json(payload)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, found["loc"]))[:200]
        raise RefusedMessageError(f"it cannot be read: {place or 'the whole'}: {found['type']}") from error
    if isinstance(message, TaskCommands):
        _require_own_tasks(message, container_instance_arn)
    return message


def _require_own_tasks(commands: TaskCommands, container_instance_arn: str) -> None:
    """A task's ARN differs from its container instance's in two words only; one that is to stop comes without."""
    ours = container_instance_arn.rpartition("/")[0].replace(":container-instance/", ":task/")
    for task in commands.tasks:
        if task.task_arn and task.task_arn != f"{ours}/{task.task_id}":
            raise RefusedMessageError(
                f"task {task.task_id} is for another cluster, account or region than this machine's"
            )
