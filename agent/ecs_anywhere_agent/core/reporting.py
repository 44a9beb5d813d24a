"""What the control plane is told of tasks, and whether it has arrived."""

from dataclasses import replace

from ecs_anywhere_agent.core.actions import PublishReports
from ecs_anywhere_agent.core.asking import asked_for
from ecs_anywhere_agent.core.contact import note_contact
from ecs_anywhere_agent.core.credentials import why_waiting
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.ordering import may_go_on
from ecs_anywhere_agent.core.values import Container, Instant, Link, Phase, Publishing, State, Task
from ecs_protocol.messages import MAX_MESSAGE_BYTES, ContainerReport, TaskReport, TaskStateChanges
from ecs_protocol.statuses import TaskStatus

_MOST_REPORTS = 100
_ENVELOPE_BYTES = 100


def publish(draft: Draft) -> None:
    """All that is worth a report, in one message, unless one is on its way or company for it is."""
    link = draft.link
    if link is None or not _may_publish(link) or _company_comes(draft.state, draft.now):
        return
    reports: list[TaskReport] = []
    sent: dict[str, tuple[int, int]] = {}
    size = _ENVELOPE_BYTES
    for task in draft.tasks():
        if not _to_publish(link, task):
            continue
        number = task.number + 1
        report = report_of(task, link.epoch, number, why_waiting(draft.state, task, draft.now))
        size += len(report.to_json().encode()) + 1
        if reports and (size > MAX_MESSAGE_BYTES or len(reports) == _MOST_REPORTS):
            break
        reports.append(report)
        sent[task.task_id] = (task.revision, number)
        draft.put(replace(task, number=number, published_revision=task.revision, answer_at=None))
    if not reports:
        return
    token = draft.state.publications + 1
    draft.change(publications=token)
    now = draft.now.elapsed
    draft.change_link(
        publishing=Publishing(token, began=now, due=now + link.publish_gap, sent=sent),
        company_until=now + draft.rules.company,
    )
    draft.do(PublishReports(token, TaskStateChanges(reports=tuple(reports))))


def company_due(state: State) -> float | None:
    """When to publish what waits for company."""
    link = state.link
    if link is None or not _may_publish(link):
        return None
    return link.company_until if any(_to_publish(link, task) for task in state.tasks.values()) else None


def _company_comes(state: State, now: Instant) -> bool:
    """Tasks that start or stop together share messages. The first goes alone, and the last are not held up."""
    return (
        state.link is not None
        and now.elapsed < state.link.company_until
        and any(_on_its_way(task) for task in state.tasks.values())
    )


def _on_its_way(task: Task) -> bool:
    return not task.stopped and task.orphan is None and (task.stopping or task.last_status is not TaskStatus.RUNNING)


def _may_publish(link: Link) -> bool:
    return link.epoch > 0 and link.publishing is None


def _to_publish(link: Link, task: Task) -> bool:
    return task.revision > task.published_revision and task.orphan is None and not asked_for(link, task.task_id)


def acknowledge(draft: Draft, token: int) -> None:
    link = draft.link
    if link is None or link.publishing is None or link.publishing.token != token:
        return
    for task_id, (revision, number) in link.publishing.sent.items():
        task = draft.task(task_id)
        if task is not None:
            acknowledged = max(task.acknowledged_revision, revision)
            draft.put(replace(task, acknowledged_revision=acknowledged, acknowledged_report=(link.epoch, number)))
    draft.change_link(publishing=None, publish_gap=draft.rules.publish_gap)
    note_contact(draft, link.publishing.began)


def publish_again_when_due(draft: Draft) -> None:
    """No PUBACK on a living connection: a broker that is told too much drops messages in silence."""
    link = draft.link
    if link is None or link.publishing is None or link.publishing.due > draft.now.elapsed:
        return
    for task_id in link.publishing.sent:
        task = draft.task(task_id)
        if task is not None:
            draft.put(replace(task, published_revision=task.acknowledged_revision))
    draft.change_link(publishing=None, publish_gap=min(link.publish_gap * 2, draft.rules.longest_gap))


def report_of(task: Task, epoch: int, number: int, waiting: str | None = None) -> TaskReport:
    """`waiting`: what keeps it from starting."""
    stopped = task.last_status is TaskStatus.STOPPED
    return TaskReport(
        task_id=task.task_id,
        epoch=epoch,
        number=number,
        command_version=task.command_version,
        last_status=task.last_status,
        stop_code=task.stop_code if stopped else None,
        stopped_reason=task.stopped_reason if stopped else None,
        containers=tuple(_container(task, container, waiting) for container in task.containers),
        pull_started_at=task.pull_started_at,
        pull_stopped_at=task.pull_stopped_at,
        started_at=task.started_at,
        stopping_at=task.stopping_at,
        execution_stopped_at=task.execution_stopped_at,
        stopped_at=task.stopped_at,
        restarts=task.restarts,
    )


def _container(task: Task, container: Container, waiting: str | None) -> ContainerReport:
    """One that is to be started again counts as running, unless it has to wait for another one first."""
    waits = container.phase is Phase.ENDED and not may_go_on(task, container)
    return ContainerReport(
        name=container.name,
        last_status=TaskStatus.PENDING if waits else _STATUS.get(container.phase, TaskStatus.PENDING),
        exit_code=container.exit_code,
        reason=container.reason or (None if container.has_started else waiting),
        runtime_id=container.runtime_id,
        image_digest=container.image_digest,
        network_bindings=container.bindings,
        health_status=container.health,
    )


_STATUS = {
    Phase.RUNNING: TaskStatus.RUNNING,
    Phase.STOPPING: TaskStatus.RUNNING,
    Phase.STOPPED: TaskStatus.STOPPED,
    Phase.ENDED: TaskStatus.RUNNING,
    Phase.RESTARTING: TaskStatus.RUNNING,
}
