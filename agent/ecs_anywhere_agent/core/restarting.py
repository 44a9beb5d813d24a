"""Starting the same containers again: by a container's own restart policy, and while the machine is cut off.

Cut off, the end of an essential container does not end a task that asks for it (Task.orders): its other
containers are stopped, then all are started again, after gaps that grow from one second to five minutes and never give
up. Connected, the rule of Amazon ECS holds: the task stops, and the control plane decides.

A container may also end after the link is dead and before anybody knows. Its task is reported STOPPED then, and if the
link is lost before that was acknowledged, taken back: what the control plane hears of first stands, the other is late
or is answered with a stop.
"""

from dataclasses import replace

from ecs_anywhere_agent.core.contact import stops_at
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.values import Container, Phase, Task
from ecs_protocol.messages import RestartsInPlace
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus

_ENDED_BY_ITSELF = frozenset({StopCode.ESSENTIAL_CONTAINER_EXITED, StopCode.TASK_FAILED_TO_START})


def stays(draft: Draft, task: Task) -> bool:
    """Whether an end of its own would not end the task now."""
    last_moment = stops_at(draft.state, task)
    may_run = (task.stop_after is None or not draft.state.rebooted) and (
        last_moment is None or last_moment > draft.now.elapsed
    )
    return (
        draft.state.cut_off
        and may_run
        and (task.planned or task.command is None)
        and task.desired is DesiredStatus.RUNNING
        and task.orphan is None
        and task.orders is not None
        and task.orders.restart == "offline"
    )


def cause_of_end(task: Task) -> Container | None:
    """The container whose end ends the task: an essential one, or the last of all."""
    ended = [container for container in task.containers if container.phase is Phase.STOPPED]
    cause = next((container for container in ended if container.essential), None)
    if cause is None and ended and len(ended) == len(task.containers):
        cause = ended[0]
    return cause


def unhealthy(task: Task) -> Container | None:
    """An essential container that is as good as ended, where nobody else can replace it."""
    return next(
        (
            container
            for container in task.containers
            if container.essential
            and container.health is HealthStatus.UNHEALTHY
            and container.phase in {Phase.RUNNING, Phase.STOPPING}
        ),
        None,
    )


def begins_again(draft: Draft, task: Task) -> bool:
    """Whether the task is on its way from an end that does not end it to running again."""
    return not task.stopping and stays(draft, task) and (cause_of_end(task) or unhealthy(task)) is not None


def take_back(draft: Draft, task: Task) -> Task:
    """Undo an end of its own that the control plane cannot have heard of for certain."""
    if not _end_is_unheard(task) or not stays(draft, task):
        return task
    draft.log(f"task {task.task_id}: had ended, unheard by the control plane; to be started again")
    return _taken_back(task)


def take_back_again(draft: Draft, task: Task, *, proved: bool) -> Task:
    """The state is older than the machine, which had taken the end back: `proved` by a container that was started
    since."""
    if not proved or not _end_is_unheard(task):
        return task
    draft.log(f"task {task.task_id}: had ended, and was started again since")
    return _taken_back(task)


def _end_is_unheard(task: Task) -> bool:
    """An end of its own, of which the control plane cannot have heard for certain."""
    return task.acknowledged_revision < task.end_revision and task.stop_code in _ENDED_BY_ITSELF


def _taken_back(task: Task) -> Task:
    return replace(
        task,
        last_status=TaskStatus.RUNNING if task.started_at else TaskStatus.PENDING,
        stop_code=None,
        stopped_reason=None,
        stopping_at=None,
        execution_stopped_at=None,
        stopped_at=None,
        forget_at=None,
        removed=False,
        end_revision=0,
        revision=task.revision + 1,
    )


def begin_again(draft: Draft, task: Task) -> Task:
    """With all its containers ended: wait, then start the same ones again."""
    now, rules = draft.now, draft.rules
    if any(container.phase is not Phase.STOPPED for container in task.containers):
        return task
    if task.restart_at is None:
        longest = max((container.ran for container in task.containers if container.essential), default=0.0)
        fresh = longest >= rules.longest_restart_gap or not task.restart_gap
        gap = rules.first_restart_gap if fresh else min(task.restart_gap * 2, rules.longest_restart_gap)
        draft.log(f"task {task.task_id}: ended while this machine is cut off; starts again in {gap:g} s")
        return replace(task, restart_at=now.elapsed + gap, restart_gap=gap)
    if task.restart_at > now.elapsed:
        return task
    ends = {container.name: container.exit_code for container in task.containers if container.exit_code is not None}
    so_far = task.restarts
    return replace(
        task,
        restart_at=None,
        containers=tuple(
            replace(container, phase=Phase.ENDED if _was_made(container) else Phase.WAITING, ran=0.0)
            for container in task.containers
        ),
        restarts=RestartsInPlace(
            count=so_far.count + 1 if so_far else 1,
            exit_codes={**(so_far.exit_codes if so_far else {}), **ends},
            first_at=so_far.first_at if so_far else now.wall,
            last_at=now.wall,
        ),
    )


def _was_made(container: Container) -> bool:
    return container.runtime_id is not None or container.has_started


def restart_by_policy(task: Task) -> Task:
    """What a container's own restartPolicy wants is done first, connected or not.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html
    """
    if task.stopping or not any(map(_wants_restart, task.containers)):
        return task
    return replace(
        task,
        containers=tuple(
            replace(container, phase=Phase.ENDED) if _wants_restart(container) else container
            for container in task.containers
        ),
    )


def _wants_restart(container: Container) -> bool:
    return container.phase is Phase.STOPPED and by_policy(container)


def by_policy(container: Container) -> bool:
    """Whether a container that has ended is started again by its own policy: alone, whatever the others do."""
    policy = container.restart_policy
    return (
        policy is not None
        and container.has_started
        and container.exit_code not in policy.ignored_exit_codes
        and container.ran >= policy.attempt_period
    )
