"""Tell agents what should change: woken by the table's stream, by the retry queue, and by reminders.

A message is a key; the task's state is read here. What cannot be delivered goes to the retry queue as a key, so that
the stream does not stand still. An agent that is not connected is not told: it asks for all when it connects.
"""

from collections import defaultdict
from collections.abc import Sequence

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from control_plane.domain.inbox import TaskKey
from control_plane.flows.commands import commands_for, in_messages
from control_plane.runtime import ControlPlane
from control_plane.store import instances

logger = Logger(child=True)

RETRY_SECONDS = 5


def send_agent_commands(cp: ControlPlane, wanted: Sequence[TaskKey]) -> None:
    """Send what these tasks' machines are to do. Raises only if the retry queue cannot be reached either."""
    undelivered = send_commands_again(cp, wanted)
    if undelivered:
        cp.queues.command_later(
            [
                {"cluster": key.cluster, "taskId": key.task_id, "instanceId": key.instance_id}
                for key in sorted(undelivered, key=lambda key: key.task_id)
            ],
            RETRY_SECONDS,
        )


def send_commands_again(cp: ControlPlane, wanted: Sequence[TaskKey]) -> set[TaskKey]:
    """Send what these tasks' machines are to do. Returns the tasks whose machines could not be told."""
    by_instance: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in dict.fromkeys(wanted):
        by_instance[key.cluster, key.instance_id].append(key.task_id)
    undelivered: set[TaskKey] = set()
    for (cluster, instance_id), task_ids in by_instance.items():
        try:
            send_commands(cp, cluster, instance_id, task_ids)
        except (ClientError, BotoCoreError, LookupError, ValueError):
            logger.exception("Could not send commands", extra={"cluster": cluster, "instance": instance_id})
            undelivered |= {TaskKey(cluster, task_id, instance_id) for task_id in task_ids}
    return undelivered


def send_commands(cp: ControlPlane, cluster: str, instance_id: str, task_ids: Sequence[str]) -> None:
    """What one machine is to do about these tasks; nothing if it is not connected."""
    instance = instances.load(cp.table, cluster, instance_id)
    if instance is None or not instance.agent_connected:
        return
    for message in in_messages(commands_for(cp, instance, task_ids)):
        cp.agents.send(instance_id, message)
