"""The control plane is told which tasks run here that nobody there answers for, so that operators may decide.

Told is the whole set, when it is another than was noted last: so that one that has ended is forgotten there, too.
"""

from ecs_anywhere_agent.core.actions import PublishRequest
from ecs_anywhere_agent.core.asking import asks_for_tasks
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.values import Orphan, State, Task
from ecs_protocol.messages import MAX_ORPHANS, OrphanReport, OrphansNoted, ReportOrphans


def tell(draft: Draft) -> None:
    link = draft.link
    if link is None or not link.epoch or asks_for_tasks(link):
        return
    current = _orphans(draft.state)
    if current == draft.state.orphans_told:
        if link.orphans_due is not None:
            draft.change_link(orphans_due=None, orphans_request=None)
        return
    told = link.orphans_request[1] if link.orphans_request else None
    if told == current and link.orphans_due is not None and link.orphans_due > draft.now.elapsed:
        return
    gap = draft.rules.first_orphans_gap if told != current else link.orphans_gap
    request_id = f"{link.session}-{link.requests + 1}"
    draft.change_link(
        requests=link.requests + 1,
        orphans_request=(request_id, current),
        orphans_due=draft.now.elapsed + gap,
        orphans_gap=min(gap * 2, draft.rules.longest_orphans_gap),
    )
    tasks = draft.state.tasks
    draft.do(
        PublishRequest(
            ReportOrphans(request_id=request_id, orphans=tuple(_report(tasks[task_id]) for task_id in current))
        )
    )


def noted(draft: Draft, message: OrphansNoted) -> None:
    link = draft.link
    if link is not None and link.orphans_request is not None and link.orphans_request[0] == message.request_id:
        draft.change(orphans_told=link.orphans_request[1])
        draft.change_link(orphans_due=None, orphans_request=None)


def _orphans(state: State) -> tuple[str, ...]:
    found = sorted(task.task_id for task in state.tasks.values() if task.orphan is not None and not task.stopped)
    return tuple(found[:MAX_ORPHANS])


def _report(task: Task) -> OrphanReport:
    command = task.command
    return OrphanReport(
        task_id=task.task_id,
        task_definition=task.task_definition,
        earlier_identity=task.orphan is Orphan.EARLIER_IDENTITY,
        group=command.group if command else None,
        started_by=command.started_by if command else None,
        overrides=command.overrides if command else {},
        gpu_ids={container.name: container.gpu_ids for container in task.containers if container.gpu_ids} or None,
        created_at=command.created_at if command else None,
        started_at=task.started_at,
    )
