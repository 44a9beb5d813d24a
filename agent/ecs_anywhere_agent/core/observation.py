"""What a runtime saw becomes what the agent knows of a container."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ecs_anywhere_agent.core.actions import RemoveContainer
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, Condition, ContainerSnapshot, ImagePulled
from ecs_anywhere_agent.core.restarting import take_back_again
from ecs_anywhere_agent.core.values import Container, ContainerRef, Orphan, Phase, Task, update

_BEFORE_CREATION = frozenset({Phase.WAITING, Phase.PULLING, Phase.PULLED})
_TRIED_IN = {
    Attempt.RESOURCES: {Phase.PULLING, Phase.CREATING},
    Attempt.PULL_ECR: {Phase.PULLING},
    Attempt.PULL: {Phase.PULLING},
    Attempt.CREATE: {Phase.CREATING},
    Attempt.CREATE_VOLUME: {Phase.CREATING},
    Attempt.START: {Phase.STARTING, Phase.RESTARTING},
}

GONE = "The container was removed from the machine."


def take_inventory(draft: Draft, containers: Iterable[ContainerSnapshot]) -> None:
    """The truth about every container at one moment.

    An action that the inventory does not show as done counts as not done: its container goes back one phase and
    `advance` gives the action again. A container that was to stop is asked again, with its whole stopTimeout.
    """
    found = {snapshot.ref: snapshot for snapshot in containers}
    for each in draft.tasks():
        task = take_back_again(draft, each, proved=_was_started_since(each, found)) if each.stopped else each
        if not task.stopped:
            draft.put(
                update(
                    task,
                    containers=tuple(
                        _clocked(draft, _recount(task, container, found)) for container in task.containers
                    ),
                )
            )
    for snapshot in found.values():
        _adopt(draft, snapshot)


def _was_started_since(task: Task, found: Mapping[ContainerRef, ContainerSnapshot]) -> bool:
    """A container of it has had a run that the state does not know of."""
    runs = ((container, found.get(ContainerRef(task.task_id, container.name))) for container in task.containers)
    return any(snapshot is not None and _is_newer(container, snapshot) for container, snapshot in runs)


def _is_newer(container: Container, snapshot: ContainerSnapshot) -> bool:
    """Whether it shows a run that the state does not know of."""
    return snapshot.run not in {container.run, None}


def see(draft: Draft, snapshot: ContainerSnapshot) -> None:
    _change(draft, snapshot.ref, lambda container: _clocked(draft, merge(container, snapshot)))


def pulled(draft: Draft, event: ImagePulled) -> None:
    def change(container: Container) -> Container:
        if container.phase is not Phase.PULLING:
            return container
        return replace(container, phase=Phase.PULLED, image_digest=event.image_digest)

    _change(draft, event.ref, change)


def failed(draft: Draft, event: ActionFailed) -> None:
    def change(container: Container) -> Container:
        if container.phase not in _TRIED_IN[event.attempt]:
            return container
        return replace(container, phase=Phase.STOPPED, ran=0.0, reason=f"{event.attempt}: {event.reason}"[:1024])

    _change(draft, event.ref, change)


def merge(container: Container, snapshot: ContainerSnapshot) -> Container:
    """Within one run a container only moves forward: what comes late or twice, or of another run, changes nothing."""
    if container.phase in {Phase.STOPPED, Phase.ENDED} or _of_another_run(container, snapshot):
        return container
    if container.phase is Phase.RESTARTING:
        container = _begun_again(container, snapshot)
    known = replace(
        container,
        runtime_id=snapshot.runtime_id or container.runtime_id,
        run=snapshot.run or container.run,
        bindings=snapshot.bindings or container.bindings,
        health=snapshot.health,
        image_digest=snapshot.image_digest or container.image_digest,
        has_started=container.has_started or snapshot.condition in {Condition.RUNNING, Condition.EXITED},
        started_at=container.started_at or snapshot.started_at,
        finished_at=snapshot.finished_at,
    )
    match snapshot.condition:
        case Condition.CREATED:
            made = container.phase in {Phase.CREATING, Phase.RESTARTING}
            return replace(known, phase=Phase.CREATED) if made else container
        case Condition.RUNNING:
            return known if container.phase is Phase.STOPPING else replace(known, phase=Phase.RUNNING)
        case Condition.EXITED:
            return replace(
                known, phase=Phase.STOPPED, exit_code=snapshot.exit_code, reason=snapshot.reason, kill_at=None
            )
        case Condition.GONE:
            if container.phase in _BEFORE_CREATION:
                return container
            if container.phase is Phase.RESTARTING:  # nothing is left to start again: it is made anew
                return replace(container, phase=Phase.WAITING, runtime_id=None, run=None)
            return replace(container, phase=Phase.STOPPED, reason=snapshot.reason or GONE, kill_at=None)


def _of_another_run(container: Container, snapshot: ContainerSnapshot) -> bool:
    """Only our own action begins a new run, and only while RESTARTING; it may not have been done yet."""
    if container.run is None or snapshot.run is None:
        return False
    return (snapshot.run == container.run) is (container.phase is Phase.RESTARTING)


def _begun_again(container: Container, snapshot: ContainerSnapshot) -> Container:
    if snapshot.condition not in {Condition.RUNNING, Condition.EXITED}:
        return container
    return replace(container, exit_code=None, reason=None, started_at=None, finished_at=None, ran=0.0)


def _clocked(draft: Draft, container: Container) -> Container:
    """How long a container ran counts from when it was first seen to run to when its end was."""
    if container.phase is Phase.RUNNING and container.running_since is None:
        return replace(container, running_since=draft.now.elapsed)
    if container.phase is Phase.STOPPED and container.running_since is not None:
        return replace(container, running_since=None, ran=draft.now.elapsed - container.running_since)
    return container


def _recount(task: Task, container: Container, found: dict[ContainerRef, ContainerSnapshot]) -> Container:
    snapshot = found.get(ContainerRef(task.task_id, container.name))
    if snapshot is None:
        match container.phase:
            case Phase.WAITING | Phase.PULLED | Phase.STOPPED:
                return container
            case Phase.PULLING | Phase.ENDED | Phase.RESTARTING:
                return replace(container, phase=Phase.WAITING, runtime_id=None, run=None)
            case Phase.CREATING:
                return replace(container, phase=Phase.PULLED)
            case _:
                return replace(container, phase=Phase.STOPPED, reason=GONE, kill_at=None)
    if container.phase is not Phase.RESTARTING and _is_newer(container, snapshot):
        # The state is older than the machine: it does not know of this run, which is the one that counts.
        begun = _begun_again(container, snapshot)
        container = replace(begun, phase=Phase.STARTING, run=None, running_since=None, kill_at=None)
    if container.phase in {Phase.STOPPED, Phase.ENDED}:
        return container
    if container.phase is Phase.RESTARTING and snapshot.run == container.run:
        return replace(container, phase=Phase.ENDED)
    if snapshot.condition is Condition.CREATED:
        return replace(container, phase=Phase.CREATED, runtime_id=snapshot.runtime_id)
    seen = merge(container, snapshot)
    return replace(seen, phase=Phase.RUNNING, kill_at=None) if seen.phase is Phase.STOPPING else seen


def _adopt(draft: Draft, snapshot: ContainerSnapshot) -> None:
    """A container that the state does not know: the state file is older than the container, or is lost."""
    task_id, name = snapshot.ref
    origin = snapshot.origin
    task = draft.task(task_id)
    leaks = task is not None and task.stopped and (task.removed or snapshot.condition is Condition.RUNNING)
    if leaks or task_id in draft.state.ended:
        draft.do(RemoveContainer(snapshot.ref))
        return
    if origin is None or (task is not None and (task.stopped or _has(task, name))):
        return
    if task is None:
        earlier = origin.container_instance_arn != draft.state.container_instance_arn
        task = Task(
            task_id=task_id,
            task_definition=origin.task_definition,
            orphan=Orphan.EARLIER_IDENTITY if earlier else None,
            found=origin,
        )
        draft.log(f"task {task_id}: found running without a record of it, adopted")
    container = Container(
        name=name,
        essential=origin.essential,
        stop_timeout=origin.stop_timeout,
        depends_on=origin.depends_on,
        gpu_ids=origin.gpu_ids,
        phase=Phase.CREATING,
    )
    draft.put(replace(task, containers=(*task.containers, merge(container, snapshot))))


def _has(task: Task, name: str) -> bool:
    return any(container.name == name for container in task.containers)


def _change(draft: Draft, ref: ContainerRef, change: Callable[[Container], Container]) -> None:
    task = draft.task(ref.task_id)
    if task is None:
        return
    containers = tuple(change(container) if container.name == ref.name else container for container in task.containers)
    if containers != task.containers:
        draft.put(replace(task, containers=containers))
