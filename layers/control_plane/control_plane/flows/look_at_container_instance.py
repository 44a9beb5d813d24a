"""Look at a container instance when a reminder says so: the last resort of what gets lost elsewhere.

May be done twice, or late: what is sent again is ignored by an agent that knows it, and what is due next follows from
the times of the tasks themselves.
"""

from collections.abc import Iterable
from datetime import datetime

from aws_lambda_powertools import Logger

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.inbox import InstanceLook, Look
from control_plane.domain.reminders import ANSWER_TIME, command_due, command_was_due, next_probe, on_grid
from control_plane.flows.container_instances import retire
from control_plane.flows.send_agent_commands import send_commands
from control_plane.runtime import ControlPlane
from control_plane.store import instances, reminders, tasks
from ecs_protocol.messages import Probe

logger = Logger(child=True)


def look_at_container_instances(cp: ControlPlane, reminders_due: Iterable[InstanceLook]) -> set[InstanceLook]:
    """Returns those that failed, and are to come again."""
    failed = set()
    for reminder in dict.fromkeys(reminders_due):
        try:
            _look(cp, reminder)
        except Exception:  # what fails for one machine must not keep the others from being looked at
            logger.exception("Could not look", extra={"instance": reminder.instance_id})
            failed.add(reminder)
    return failed


def _look(cp: ControlPlane, reminder: InstanceLook) -> None:
    instance = instances.load(cp.table, reminder.cluster, reminder.instance_id)
    if instance is None:
        return
    logger.info("Looking", extra={"instance": instance.instance_id, "look": reminder.look})
    if instance.status is InstanceStatus.INACTIVE:
        retire(cp, instance)
        return
    match reminder.look:
        case Look.COMMANDS:
            _ask_for_answers(cp, instance, reminder.at)
        case Look.PROBE:
            _probe(cp, instance)
        case Look.ANSWER:
            _judge(cp, instance, reminder.epoch)


def worth_a_look(cp: ControlPlane, instance: ContainerInstance | None, reminder: InstanceLook) -> bool:
    """Whether there is anything to do about it: most commands have been answered when their reminder is due."""
    if instance is None:
        return False
    if instance.status is InstanceStatus.INACTIVE or reminder.look is not Look.COMMANDS:
        return True
    return bool(_overdue(cp, instance, reminder.at))


def _overdue(cp: ControlPlane, instance: ContainerInstance, at: int) -> dict[str, datetime]:
    """Since when each task waits whose command is to be sent again at `at`.

    An instance that is not connected asks for all when it connects.
    """
    if not instance.agent_connected:
        return {}
    silent = {
        task.task_id: task.awaiting_since or task.created_at
        for task in tasks.of_instance(cp.table, instance.cluster, instance.instance_id)
        if task.awaiting
    }
    return {task_id: since for task_id, since in silent.items() if command_was_due(since, at)}


def _ask_for_answers(cp: ControlPlane, instance: ContainerInstance, at: int) -> None:
    """Send again the commands whose time this is."""
    now = cp.clock()
    overdue = _overdue(cp, instance, at)
    next_times = {command_due(since, now) for since in overdue.values()}
    reminders.remind(
        cp.table,
        [InstanceLook(instance.cluster, instance.instance_id, Look.COMMANDS, due) for due in sorted(next_times)],
    )
    if overdue:
        send_commands(cp, instance.cluster, instance.instance_id, sorted(overdue))


def _probe(cp: ControlPlane, instance: ContainerInstance) -> None:
    """The next probe first, so that dying here ends no chain of probes."""
    now = cp.clock()
    wanted = [next_probe(instance.cluster, instance.instance_id, now)]
    if instance.agent_connected:
        answer_at = on_grid(now + ANSWER_TIME)
        wanted.append(
            InstanceLook(instance.cluster, instance.instance_id, Look.ANSWER, answer_at, epoch=instance.epoch)
        )
    reminders.remind(cp.table, wanted)
    if instance.agent_connected:
        cp.agents.send(instance.instance_id, Probe())


def _judge(cp: ControlPlane, instance: ContainerInstance, epoch_when_asked: int) -> None:
    """An agent answers a probe by reconciling, which raises the epoch. One that did not is not connected."""
    if instance.agent_connected and instance.epoch == epoch_when_asked:
        logger.warning("A probe was not answered", extra={"instance": instance.instance_id})
        cp.table.commit([instances.silent(instance, cp.clock())])
