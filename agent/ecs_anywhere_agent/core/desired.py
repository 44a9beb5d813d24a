"""What the control plane wants: commands, and the list of what should run.

They come late, twice, in any order or not at all. What holds them together: a task that was told to stop is never
started (again), and what is older than what was seen for a task changes nothing of that task.
"""

from collections.abc import Iterable
from dataclasses import replace

from ecs_anywhere_agent.core.asking import answered, ask_for_task
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.values import Orphan, Task, update
from ecs_protocol.messages import ListedTask, Reconciliation, TaskCommand, TaskCommands
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus

STOPPED_HERE = "Task stopped on its machine"
NO_TRACE = "The machine has lost all trace of the task"
"""Its disk was restored to an earlier state, or its state was lost after the task's containers were removed."""


def obey(draft: Draft, commands: TaskCommands) -> None:
    """Pushed commands, and the answers to DescribeTasks; also those for another machine with this identity."""
    if draft.state.duplicate:
        return
    for command in commands.tasks:
        _obey_one(draft, commands, command)
    wanted = {task.task_definition for task in draft.tasks()}
    for name, definition in commands.task_definitions.items():
        answered(draft, definition=name)
        if name in wanted:
            draft.learn(name, definition)
    for task_id in commands.unknown_tasks:
        answered(draft, task_id=task_id)
        task = draft.task(task_id)
        if task is not None and task.orphan is None and commands.version >= task.command_version:
            draft.put(replace(task, orphan=Orphan.UNKNOWN))
            draft.log(f"task {task_id}: the control plane does not know it; kept as it is, as an orphan")
    draft.change(newest_version=max(draft.state.newest_version, commands.version))


def _obey_one(draft: Draft, commands: TaskCommands, command: TaskCommand) -> None:
    task = draft.task(command.task_id)
    if task is None:
        _obey_for_unknown(draft, commands, command)
        return
    if commands.version < task.command_version:
        draft.log(f"task {task.task_id}: ignored a command older than what is known of it")
        return
    answered(draft, task_id=task.task_id)
    task = _wanted(draft, task, command.desired_status, commands.version)
    if task.command is None and command.task_definition:
        task = replace(task, command=command, task_definition=command.task_definition)
    draft.put(replace(task, answer_at=draft.now.elapsed + draft.rules.answer_after))


def _obey_for_unknown(draft: Draft, commands: TaskCommands, command: TaskCommand) -> None:
    if command.task_id in draft.state.ended or command.desired_status is DesiredStatus.STOPPED:
        _never_start(draft, command.task_id, commands.version)
    elif commands.request_id is None and (not _has_list(draft) or commands.version < draft.state.list_version):
        # It may be older than what an earlier connection or the list has said. Whether it may start is asked.
        ask_for_task(draft, command.task_id)
    else:
        answered(draft, task_id=command.task_id)
        draft.log(f"task {command.task_id}: to run {command.task_definition}")
        draft.put(
            Task(
                task_id=command.task_id,
                command=command,
                task_definition=command.task_definition,
                command_version=commands.version,
                answer_at=draft.now.elapsed + draft.rules.answer_after,
            )
        )


def take_list(draft: Draft, pages: Iterable[Reconciliation]) -> None:
    """The whole list under a new epoch: what was not acknowledged is to be sent again, numbered from 1."""
    parts = tuple(pages)
    version = parts[0].version
    link = draft.link
    if link is not None and version < link.request_version:
        _go_back_to(draft, version)
    for task in draft.tasks():
        draft.put(update(task, number=0, published_revision=task.acknowledged_revision))
    if version < draft.state.list_version:
        return
    draft.change(list_version=version, newest_version=max(draft.state.newest_version, version))
    listed = {line.task_id: line for part in parts for line in part.tasks}
    for line in listed.values():
        _take_line(draft, line, version)
    for task in draft.tasks():
        if task.task_id not in listed:
            _take_absence(draft, task, version)


def _take_line(draft: Draft, line: ListedTask, version: int) -> None:
    task = draft.task(line.task_id)
    if task is None:
        if line.task_id in draft.state.ended or line.desired_status is DesiredStatus.STOPPED:
            _never_start(draft, line.task_id, version)
        elif line.report_number:
            draft.log(f"task {line.task_id}: has run here, and nothing is left of it; told to be stopped")
            _never_start(draft, line.task_id, version, StopCode.ESSENTIAL_CONTAINER_EXITED, NO_TRACE)
        else:
            ask_for_task(draft, line.task_id)
        return
    if (line.report_epoch, line.report_number) != task.acknowledged_report:
        # Smaller: what was acknowledged never arrived. Greater: a state older than this one has told more since.
        task = replace(task, acknowledged_revision=0, published_revision=0)
    if version >= task.command_version:
        task = _wanted(draft, task, line.desired_status, version)
        task = replace(task, task_definition=task.task_definition or line.task_definition)
    draft.put(update(task, listed=True))


def _take_absence(draft: Draft, task: Task, version: int) -> None:
    draft.put(update(task, listed=False))
    if not task.stopped and task.orphan is not Orphan.EARLIER_IDENTITY and version >= task.command_version:
        ask_for_task(draft, task.task_id)


def stop_here(draft: Draft, task_id: str) -> None:
    """Somebody on the machine stops a task: it ends as if the control plane had said so, which is told afterwards."""
    task = draft.task(task_id)
    if task is None or task.stopping:
        return
    draft.log(f"task {task_id}: to stop, as somebody on this machine asks")
    draft.put(
        replace(task, desired=DesiredStatus.STOPPED, stop_code=StopCode.USER_INITIATED, stopped_reason=STOPPED_HERE)
    )


def _wanted(draft: Draft, task: Task, desired: DesiredStatus, version: int) -> Task:
    """desiredStatus never goes back: STOPPED stays, whatever comes after it."""
    if task.orphan is not None:
        draft.log(f"task {task.task_id}: the control plane answers for it again")
    if desired is DesiredStatus.STOPPED and task.desired is not DesiredStatus.STOPPED:
        draft.log(f"task {task.task_id}: to stop")
        task = replace(task, desired=desired, answer_at=draft.now.elapsed + draft.rules.answer_after)
    return update(task, command_version=version, orphan=None)


def _has_list(draft: Draft) -> bool:
    return draft.link is not None and draft.link.epoch > 0


def _never_start(
    draft: Draft, task_id: str, version: int, stop_code: StopCode | None = None, reason: str | None = None
) -> None:
    """A task that is not here and must not start: said to be STOPPED, and remembered."""
    answered(draft, task_id=task_id)
    draft.put(
        Task(
            task_id=task_id,
            desired=DesiredStatus.STOPPED,
            last_status=TaskStatus.STOPPED,
            command_version=version,
            stop_code=stop_code,
            stopped_reason=reason,
            stopped_at=draft.now.wall,
            forget_at=draft.now.elapsed + draft.rules.keep_stopped,
            revision=1,
        )
    )


def _go_back_to(draft: Draft, version: int) -> None:
    """The table was restored to an older state: what is newer than it was seen in a world that is no more."""
    draft.log(f"the control plane was restored to an earlier state (version {version}); following it")
    draft.change(list_version=min(draft.state.list_version, version), newest_version=version)
    for task in draft.tasks():
        draft.put(update(task, command_version=min(task.command_version, version)))
