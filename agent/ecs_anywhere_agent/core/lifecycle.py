"""How a task gets from what it is to what it should be, one action of each container at a time.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from ecs_anywhere_agent.container_spec import ContainerSpec, UnusableTaskDefinitionError, container_specs
from ecs_anywhere_agent.core.actions import (
    CreateContainer,
    PullImage,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    StopContainer,
)
from ecs_anywhere_agent.core.contact import stops_at
from ecs_anywhere_agent.core.credentials import why_waiting
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import Attempt
from ecs_anywhere_agent.core.news import answer_when_due, worth_a_report
from ecs_anywhere_agent.core.ordering import backwards, forwards, give_up, is_needed, may_go_on, timeouts
from ecs_anywhere_agent.core.restarting import (
    begin_again,
    begins_again,
    by_policy,
    cause_of_end,
    restart_by_policy,
    take_back,
)
from ecs_anywhere_agent.core.roles import Role
from ecs_anywhere_agent.core.values import Container, ContainerRef, Instant, Phase, Rules, State, Task, update
from ecs_protocol.capabilities import required_attributes
from ecs_protocol.roles import needed_roles
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus

NOT_STARTED = "Task failed to start"
ESSENTIAL_EXITED = "Essential container in task exited"
CUT_OFF = "The container instance was cut off for longer than the task's stop-after allows"

_NOTHING_RUNS = frozenset({Phase.WAITING, Phase.PULLING, Phase.PULLED, Phase.CREATED, Phase.ENDED})
"""Phases from which a container that should stop has stopped: a late answer to a pull changes nothing."""
_CIRCUMSTANCES = ("container_instance_arn", "contact", "credentials", "cut_off", "duplicate", "offline_at", "rebooted")


def advance(draft: Draft, task: Task) -> None:
    """Take the task as far as it can go now, and note whether its state is worth a report.

    Once more would change nothing, until the task changes, one of its `dues` comes, or the circumstances are others.
    """
    task = take_back(draft, task)
    if task.stopped:
        _forget_when_due(draft, draft.put(answer_when_due(draft, task)))
        return
    task = give_up(restart_by_policy(_plan(draft, task)), draft.now.elapsed)
    if begins_again(draft, task):
        task = begin_again(draft, _stop(draft, task))
    if not begins_again(draft, task):
        task = _decide_to_stop(draft, update(task, restart_at=None))
        task = _stop(draft, task) if task.stopping else _start(draft, task)
        task = _status(draft, _note_times(task, draft.now))
    draft.put(worth_a_report(draft, task))


def other_circumstances(one: State, other: State) -> bool:
    """No step changes a mapping in place, so that the same one says the same."""
    return one.task_definitions is not other.task_definitions or any(
        getattr(one, member) != getattr(other, member) for member in _CIRCUMSTANCES
    )


def dues(state: State, task: Task) -> Iterator[float | None]:
    """When something becomes of the task without any event, on the clock of Instant.elapsed."""
    yield task.answer_at
    yield None if task.removed else task.forget_at
    yield None if task.stopping else task.restart_at
    yield stops_at(state, task)
    if not task.stopping:
        yield from timeouts(task)
    for container in task.containers:
        yield container.kill_at


def is_due(draft: Draft, task: Task) -> bool:
    return any(due is not None and due <= draft.now.elapsed for due in dues(draft.state, task))


def _plan(draft: Draft, task: Task) -> Task:
    """The containers of the task, once it and its definition are known; an adopted task has some already."""
    if task.planned or task.stopping or task.command is None:
        return task
    if task.task_definition not in draft.state.task_definitions:
        return task
    try:
        _refuse_what_is_withheld(draft, task)
        specs = _specs(draft, task)
    except UnusableTaskDefinitionError as error:
        return replace(
            task,
            stopping_at=draft.now.wall,
            stop_code=StopCode.TASK_FAILED_TO_START,
            stopped_reason=f"{NOT_STARTED}: {error}"[:1024],
        )
    known = {container.name: container for container in task.containers}
    containers = tuple(
        replace(
            known.pop(spec.name, Container(name=spec.name)),
            essential=spec.origin.essential,
            stop_timeout=spec.origin.stop_timeout,
            restart_policy=spec.restart_policy,
            depends_on=spec.origin.depends_on,
            gpu_ids=spec.origin.gpu_ids,
            start_timeout=spec.start_timeout,
        )
        for spec in specs
    )
    needed = needed_roles(draft.state.task_definitions[task.task_definition], task.command.overrides)
    roles = tuple(Role(kind, arn) for kind, arn in needed.items())
    return replace(task, planned=True, containers=(*containers, *known.values()), roles=roles)


def _refuse_what_is_withheld(draft: Draft, task: Task) -> None:
    """It is not announced: only a control plane that is not itself, or has not heard of it yet, sends such a task."""
    required = required_attributes(draft.state.task_definitions[task.task_definition]) if draft.rules.withheld else ()
    withheld = sorted(draft.rules.withheld.intersection(required))
    if withheld:
        raise UnusableTaskDefinitionError(f"this machine's owner does not allow {', '.join(withheld)}")


def _specs(draft: Draft, task: Task) -> tuple[ContainerSpec, ...]:
    command = task.command
    if command is None:
        raise UnusableTaskDefinitionError("the control plane has not sent the task")
    return container_specs(
        draft.state.task_definitions[task.task_definition],
        command.overrides,
        container_instance_arn=draft.state.container_instance_arn,
        cluster=command.cluster_arn,
        task_arn=command.task_arn,
        restart=command.restart,
        stop_after=command.stop_after,
        gpu_ids=command.gpu_ids,
        default_stop_timeout=draft.rules.stop_timeout,
    )


def _decide_to_stop(draft: Draft, task: Task) -> Task:
    """The end of an essential container, or of all of them, ends the task; so does being cut off for too long."""
    if task.stopping_at is not None:
        return task
    ending = replace(task, stopping_at=draft.now.wall, end_revision=task.revision + 1)
    if task.desired is DesiredStatus.STOPPED:
        return ending
    last_moment = stops_at(draft.state, task)
    if last_moment is not None and last_moment <= draft.now.elapsed:
        draft.log(f"task {task.task_id}: without contact for too long, to stop")
        return replace(ending, stop_code=StopCode.SERVICE_SCHEDULER_INITIATED, stopped_reason=CUT_OFF)
    cause = cause_of_end(task)
    if cause is None:
        return task
    code, reason = (
        (StopCode.ESSENTIAL_CONTAINER_EXITED, ESSENTIAL_EXITED)
        if cause.has_started
        else (StopCode.TASK_FAILED_TO_START, _why_not_started(cause))
    )
    return replace(ending, stop_code=code, stopped_reason=reason)


def _why_not_started(cause: Container) -> str:
    """As with Amazon ECS, what the execution role could not fetch is the task's own reason."""
    reason = cause.reason or NOT_STARTED
    return reason if reason.startswith(Attempt.RESOURCES) else NOT_STARTED


def _start(draft: Draft, task: Task) -> Task:
    return forwards(task, lambda current, container: _start_one(draft, current, container))


def _stop(draft: Draft, task: Task) -> Task:
    return backwards(task, lambda current, container: _stop_one(draft, current, container))


def _start_one(draft: Draft, task: Task, container: Container) -> Container:
    ref = ContainerRef(task.task_id, container.name)
    if container.phase not in {Phase.WAITING, Phase.PULLED, Phase.CREATED, Phase.ENDED}:
        return _killed_when_due(draft, ref, container)
    if not may_go_on(task, container) and not _goes_alone(draft, container):
        return container
    if task.stop_after is not None and draft.state.rebooted:
        return container  # who knows for how long the machine was off: its replacement may run already
    if draft.state.duplicate:
        return container
    if draft.state.offline_at is not None and container.phase is not Phase.ENDED:
        return container  # the disk may be an older one: the control plane is heard first, if it can be
    if container.phase is not Phase.ENDED and why_waiting(draft.state, task, draft.now):
        return container  # for credentials
    if container.phase is Phase.ENDED:
        draft.do(RestartContainer(ref))
        return replace(container, phase=Phase.RESTARTING)
    if container.phase is Phase.CREATED:
        draft.do(StartContainer(ref))
        return replace(container, phase=Phase.STARTING)
    if task.task_definition not in draft.state.task_definitions or task.command is None:
        return container
    spec = next((spec for spec in _specs(draft, task) if spec.name == container.name), None)
    if spec is None:
        return container
    if container.phase is Phase.WAITING:
        draft.do(PullImage(ref, spec.image, spec.registry))
        return replace(container, phase=Phase.PULLING)
    draft.do(CreateContainer(ref, spec))
    return replace(container, phase=Phase.CREATING)


def _goes_alone(draft: Draft, container: Container) -> bool:
    """Whatever the others do, it is started again by its own policy, or its image may be pulled."""
    if container.phase is Phase.ENDED:
        return by_policy(container)
    return container.phase is Phase.WAITING and draft.rules.pull_upfront


def _stop_one(draft: Draft, task: Task, container: Container) -> Container:
    """While an answer to a create or a start is due it is waited for: its container is known only then."""
    ref = ContainerRef(task.task_id, container.name)
    if container.phase in _NOTHING_RUNS:
        return replace(container, phase=Phase.STOPPED)
    if container.phase is Phase.RUNNING and not is_needed(task, container):
        draft.do(StopContainer(ref))
        return replace(container, phase=Phase.STOPPING, kill_at=draft.now.elapsed + container.stop_timeout)
    return _killed_when_due(draft, ref, container)


def _killed_when_due(draft: Draft, ref: ContainerRef, container: Container) -> Container:
    """Whatever has become of the reason to stop it since: it was asked to end, and may be half gone."""
    if container.phase is not Phase.STOPPING or container.kill_at is None or container.kill_at > draft.now.elapsed:
        return container
    draft.do(StopContainer(ref, kill=True))
    return replace(container, kill_at=draft.now.elapsed + draft.rules.kill_again_after)


def _note_times(task: Task, now: Instant) -> Task:
    def first(known: datetime | None, happened: bool) -> datetime | None:
        return known or (now.wall if happened else None)

    containers = task.containers
    pulling = any(container.phase in {Phase.WAITING, Phase.PULLING} for container in containers)
    started = bool(containers) and all(container.has_started for container in containers)
    ended = next(
        (each for each in containers if task.stopping_at is not None and each.essential and _has_ended(each)), None
    )
    return update(
        task,
        pull_started_at=first(task.pull_started_at, pulling and not task.stopping),
        pull_stopped_at=first(task.pull_stopped_at, task.pull_started_at is not None and not pulling),
        started_at=first(task.started_at, started),
        execution_stopped_at=task.execution_stopped_at or (None if ended is None else ended.finished_at or now.wall),
    )


def _has_ended(container: Container) -> bool:
    return container.has_started and container.phase is Phase.STOPPED


def _status(draft: Draft, task: Task) -> Task:
    containers = task.containers
    if task.stopping:
        if all(container.phase is Phase.STOPPED for container in containers):
            return replace(
                task,
                last_status=TaskStatus.STOPPED,
                stopped_at=draft.now.wall,
                forget_at=draft.now.elapsed + _keep_stopped(draft.rules, task.task_id),
            )
        answer_at = draft.now.elapsed + draft.rules.answer_after
        return (
            task
            if task.last_status is TaskStatus.STOPPING
            else replace(task, last_status=TaskStatus.STOPPING, answer_at=task.answer_at or answer_at)
        )
    if containers and all(container.phase in {Phase.RUNNING, Phase.STOPPED} for container in containers):
        return replace(task, last_status=TaskStatus.RUNNING, started_at=task.started_at or draft.now.wall)
    return task


def _keep_stopped(rules: Rules, task_id: str) -> float:
    """A task's id is random, and always gives the same."""
    return rules.keep_stopped + rules.keep_stopped_jitter * int(task_id[:8], 16) / 0x1_0000_0000


def _forget_when_due(draft: Draft, task: Task) -> None:
    """Containers go after their time; the task itself stays until the control plane has what became of it."""
    if task.forget_at is not None and task.forget_at > draft.now.elapsed:
        return
    if not task.removed:
        draft.do(*(RemoveContainer(ContainerRef(task.task_id, container.name)) for container in task.containers))
        task = draft.put(replace(task, removed=True))
    delivered = task.orphan is not None or task.acknowledged_revision >= task.revision
    if delivered and not task.listed:
        draft.forget(task)
