"""Look at a container instance when a reminder says so: the last resort of what gets lost elsewhere.

May be done twice, or late: what is sent again is ignored by an agent that knows it, and what is due next follows from
the times of the tasks themselves.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from aws_lambda_powertools import Logger

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.inbox import InstanceLook, Look
from control_plane.domain.reminders import (
    ANSWER_TIME,
    DOUBT,
    PROBE_SECONDS,
    command_due,
    command_was_due,
    next_probe,
    on_grid,
)
from control_plane.domain.scheduling.standing import connection_of, standing
from control_plane.domain.task import Awaiting, Task, request_stop
from control_plane.flows.again import until_won
from control_plane.flows.container_instances import retire
from control_plane.flows.farewell import say_farewell
from control_plane.flows.send_agent_commands import send_commands
from control_plane.runtime import ControlPlane
from control_plane.store import instance_presence, instances, reminders, tasks
from ecs_protocol.messages import Probe
from ecs_protocol.statuses import StopCode

UNHEARD = "Task failed to start: no agent acknowledged it, and the container instance is disconnected."

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
        say_farewell(cp, instance)
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
    return bool(_unanswered(cp, instance, reminder.at))


def _unanswered(cp: ControlPlane, instance: ContainerInstance, at: int) -> list[Task]:
    """The tasks whose commands are to be sent again at `at`, or whose start is to be given up if nobody has heard it.

    An instance that is not connected asks for all when it connects.
    """
    return [
        task
        for task in tasks.of_instance(cp.table, instance.cluster, instance.instance_id)
        if task.awaiting is Awaiting.START or (task.awaiting and instance.agent_connected)
        if command_was_due(_since(task), at)
    ]


def _since(task: Task) -> datetime:
    return task.awaiting_since or task.created_at


def _ask_for_answers(cp: ControlPlane, instance: ContainerInstance, at: int) -> None:
    """Send again the commands whose time this is, and ask whether anybody is there who could answer them."""
    now = cp.clock()
    unanswered = _unanswered(cp, instance, at)
    wanted = [
        InstanceLook(instance.cluster, instance.instance_id, Look.COMMANDS, due)
        for due in sorted({command_due(_since(task), now) for task in unanswered})
    ]
    doubtful = bool(unanswered) and instance.agent_connected
    if doubtful:
        wanted.append(_awaited(instance, now + DOUBT))
    reminders.remind(cp.table, wanted)
    if doubtful:
        send_commands(cp, instance.cluster, instance.instance_id, sorted(task.task_id for task in unanswered))
        cp.agents.send(instance.instance_id, Probe())
    else:
        give_up = [task for task in unanswered if standing(task, connection_of(instance), now).given_up]
        for task in give_up:
            until_won(cp, partial(_give_up, cp, task))


def _give_up(cp: ControlPlane, task: Task, _attempt: int) -> None:
    """Nobody has heard that it is to start: it is never to, and who wanted it may start another."""
    now = cp.clock()
    current = tasks.load(cp.table, task.cluster, task.task_id)
    if current is None or current.awaiting is not Awaiting.START:
        return
    # It is no fault of a service's task: that code keeps it from counting as a start that failed.
    code = StopCode.SERVICE_SCHEDULER_INITIATED if task.service else StopCode.TASK_FAILED_TO_START
    after = request_stop(current, code, UNHEARD, now)
    if after is not current:
        cp.table.commit([tasks.changed(current, after), instance_presence.told(task.cluster, task.instance_id, now)])


def _awaited(instance: ContainerInstance, at: datetime) -> InstanceLook:
    """Has it answered by then what it was asked now?"""
    return InstanceLook(instance.cluster, instance.instance_id, Look.ANSWER, on_grid(at), epoch=instance.epoch)


def _probe(cp: ControlPlane, instance: ContainerInstance) -> None:
    """The next probe first, so that dying here ends no chain of probes."""
    now = cp.clock()
    wanted = [next_probe(instance.cluster, instance.instance_id, now)]
    if instance.agent_connected:
        wanted.append(_awaited(instance, now + ANSWER_TIME))
    reminders.remind(cp.table, wanted)
    if instance.agent_connected:
        cp.agents.send(instance.instance_id, Probe())


def _judge(cp: ControlPlane, instance: ContainerInstance, epoch_when_asked: int) -> None:
    """An agent answers a probe by reconciling, which raises the epoch. One that did not is not connected.

    As long as no lifecycle event has said that its session has ended, it is asked again, after gaps that double: the
    probe may have been lost.
    """
    if instance.epoch != epoch_when_asked or instance.session_ended_at is not None:
        return
    now = cp.clock()
    if instance.agent_connected:
        logger.warning("A probe was not answered", extra={"instance": instance.instance_id})
        reminders.remind(cp.table, [_awaited(instance, now + ANSWER_TIME)])
        cp.table.commit([instance_presence.silent(instance, now)])
    else:
        silent_for = now - (instance.connection_changed_at or now)
        gap = min(max(silent_for, ANSWER_TIME), timedelta(seconds=PROBE_SECONDS))
        reminders.remind(cp.table, [_awaited(instance, now + gap)])
    cp.agents.send(instance.instance_id, Probe())
