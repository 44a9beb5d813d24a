"""What an agent is told of tasks: their state now, read when it is told (rule 6)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.scheduling.standing import absence_of_task
from control_plane.domain.task import Task
from control_plane.domain.task_definition_network import on_external
from control_plane.runtime import ControlPlane
from control_plane.store import tasks
from ecs_protocol.messages import MAX_MESSAGE_BYTES, TaskCommand, TaskCommands
from ecs_protocol.statuses import DesiredStatus

NOT_FOR_AGENTS = frozenset({"registeredAt", "deregisteredAt", "deleteRequestedAt", "status", "tags"})
"""Members of a stored task definition that no machine needs."""


def commands_for(
    cp: ControlPlane, instance: ContainerInstance, task_ids: Iterable[str], *, also_definitions: Sequence[str] = ()
) -> TaskCommands:
    """`instance` was read before this reads the tasks: what is told is at least as new as the version it is told with.

    A task that has stopped, or is another instance's, is to be stopped; one that nobody knows is named as unknown.
    Definitions go only to an instance that has a task made from them.
    """
    wanted = list(dict.fromkeys(task_ids))
    found = tasks.load_many(cp.table, instance.cluster, wanted)
    mine = {
        task_id: task
        for task_id, task in found.items()
        if task.instance_id == instance.instance_id and not task.stopped
    }
    names = {task.task_definition for task in mine.values() if task.desired_status is DesiredStatus.RUNNING}
    if also_definitions:
        held = tasks.of_instance(cp.table, instance.cluster, instance.instance_id)
        names |= {task.task_definition for task in held} & set(also_definitions)
    return TaskCommands(
        version=instance.version,
        tasks=tuple(_command(cp, found[task_id], mine=task_id in mine) for task_id in wanted if task_id in found),
        task_definitions={name: _definition(cp, name) for name in sorted(names)},
        unknown_tasks=tuple(task_id for task_id in wanted if task_id not in found),
    )


def _command(cp: ControlPlane, task: Task, *, mine: bool) -> TaskCommand:
    if not mine or task.desired_status is DesiredStatus.STOPPED:
        return TaskCommand(task_id=task.task_id, desired_status=DesiredStatus.STOPPED)
    absence = absence_of_task(task)
    return TaskCommand(
        task_id=task.task_id,
        desired_status=task.desired_status,
        task_arn=cp.arns.task(task.cluster, task.task_id),
        cluster_arn=cp.arns.cluster(task.cluster),
        task_definition=task.task_definition,
        overrides=task.overrides,
        gpu_ids=task.gpu_ids or None,
        group=task.group,
        started_by=task.started_by,
        created_at=task.created_at,
        enable_execute_command=task.execute_command,
        restart="offline" if task.restarts_offline else None,
        stop_after=int(absence.after.total_seconds()) if absence.kind == "stop-after" else None,
    )


def _definition(cp: ControlPlane, name: str) -> dict[str, Any]:
    definition = cp.definitions.get(name)
    if definition is None:
        raise LookupError(f"task definition {name} is missing")
    return {member: value for member, value in on_external(definition).items() if member not in NOT_FOR_AGENTS}


def in_messages(commands: TaskCommands) -> Iterator[TaskCommands]:
    """The same in messages under 100 KB, each with the definitions of its tasks as far as they fit.

    One that does not fit is left out: the agent asks for it by name.
    """
    if len(commands.to_json()) <= MAX_MESSAGE_BYTES:
        yield commands
        return
    if len(commands.tasks) <= 1 and len(commands.unknown_tasks) <= 1:
        yield from _definitions_apart(commands)
        return
    for first in (True, False):
        tasks_half = _half(commands.tasks, first=first)
        names = {task.task_definition for task in tasks_half}
        yield from in_messages(
            commands.model_copy(
                update={
                    "tasks": tasks_half,
                    "unknown_tasks": _half(commands.unknown_tasks, first=first),
                    "task_definitions": {
                        name: definition for name, definition in commands.task_definitions.items() if name in names
                    },
                }
            )
        )


def _definitions_apart(commands: TaskCommands) -> Iterator[TaskCommands]:
    """Definitions first, each in a message of its own, then the task that needs them."""
    for name, definition in commands.task_definitions.items():
        yield commands.model_copy(update={"tasks": (), "unknown_tasks": (), "task_definitions": {name: definition}})
    yield commands.model_copy(update={"task_definitions": {}})


def _half(members: tuple[Any, ...], *, first: bool) -> tuple[Any, ...]:
    middle = (len(members) + 1) // 2
    return members[:middle] if first else members[middle:]
