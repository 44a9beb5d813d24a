"""Which change of a task is worth telling the control plane."""

from dataclasses import replace

from ecs_anywhere_agent.core.credentials import why_waiting
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.values import Task
from ecs_protocol.statuses import TaskStatus


def worth_a_report(draft: Draft, task: Task) -> Task:
    """RUNNING, STOPPED and what changes while RUNNING is reported at once; else where it stands, when that is due."""
    before = draft.before.tasks.get(task.task_id)
    # It may have ended before, too, if the inventory proved that it had run again since.
    ends_anew = before is not None and before.end_revision != task.end_revision
    advanced = before is None or before.last_status is not task.last_status or ends_anew
    if advanced and task.last_status in {TaskStatus.RUNNING, TaskStatus.STOPPED}:
        draft.log(f"task {task.task_id}: {task.last_status}{_because(task)}")
        task = replace(task, revision=task.revision + 1)
    elif before is not None and _has_news(draft, before, task):
        task = replace(task, revision=task.revision + 1)
    return answer_when_due(draft, task)


def answer_when_due(draft: Draft, task: Task) -> Task:
    """A command is answered in time, though nothing has come of it yet."""
    if task.answer_at is not None and task.answer_at <= draft.now.elapsed:
        unpublished = task.revision > task.published_revision
        return replace(task, answer_at=None, revision=task.revision if unpublished else task.revision + 1)
    return task


def _shown(task: Task) -> tuple[object, ...]:
    return (
        task.restarts,
        *(
            (container.phase, container.runtime_id, container.exit_code, container.bindings, container.health)
            for container in task.containers
        ),
    )


def _has_news(draft: Draft, before: Task, task: Task) -> bool:
    if task.last_status is TaskStatus.RUNNING:
        return _shown(before) != _shown(task)
    told = task.revision > 0
    return told and why_waiting(draft.before, before, draft.now) != why_waiting(draft.state, task, draft.now)


def _because(task: Task) -> str:
    if not task.stopped:
        return ""
    exits = ", ".join(
        f"{container.name}: {container.reason or f'exit code {container.exit_code}'}"
        for container in task.containers
        if container.exit_code is not None or container.reason not in {None, task.stopped_reason}
    )
    return f" ({'; '.join(filter(None, (task.stopped_reason or 'told to stop', exits)))})"
