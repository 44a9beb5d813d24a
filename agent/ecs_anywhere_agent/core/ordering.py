"""When a container may go on for what it depends on, and when it may stop for what depends on it.

    dependsOn     CREATE  there is the other container (volumesFrom)
                  START   it runs, or has run (links, too)
                  COMPLETE, SUCCESS  it has ended; with 0
                  HEALTHY it runs and its check says so

What can never be any more ends the container that waits for it: an essential one, and so its task. Containers stop in
the reverse order. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ecs_anywhere_agent.container_order import Dependency, DependencyCondition, ordered
from ecs_anywhere_agent.core.restarting import by_policy
from ecs_anywhere_agent.core.values import Container, Phase, Task
from ecs_protocol.statuses import HealthStatus

_UNMADE = frozenset({Phase.WAITING, Phase.PULLING, Phase.PULLED, Phase.CREATING})
_AT_REST = frozenset({Phase.WAITING, Phase.PULLED, Phase.CREATED, Phase.ENDED})
_TIMED = frozenset({DependencyCondition.COMPLETE, DependencyCondition.SUCCESS, DependencyCondition.HEALTHY})


def may_go_on(task: Task, container: Container) -> bool:
    return all(_is_fulfilled(dependency.condition, other) for dependency, other in _dependencies(task, container))


def give_up(task: Task, now: float) -> Task:
    """End what waits in vain, and what waits for that. `now` is on the clock of Instant.elapsed."""

    def change(current: Task, container: Container) -> Container:
        if container.phase not in _AT_REST or by_policy(container):
            return container
        reason = _why_never(current, container, now)
        return container if reason is None else replace(container, phase=Phase.STOPPED, reason=reason)

    return task if task.stopping else forwards(task, change)


def _why_never(task: Task, container: Container, now: float) -> str | None:
    for dependency, other in _dependencies(task, container):
        if _is_fulfilled(dependency.condition, other):
            continue
        names = f"container ordering dependency [{other.name}: {dependency.condition}] for target [{container.name}]"
        due = _times_out_at(container, dependency, other)
        if due is not None and due <= now:
            return f"dependency graph: {names} has timed out."
        if other.phase is Phase.STOPPED:
            return f"dependency graph: failed to resolve {names}: {_ended(other)}"
    return None


def timeouts(task: Task) -> Iterator[float]:
    """When a container gives up waiting for another one."""
    for container in task.containers:
        for dependency, other in _dependencies(task, container):
            due = _times_out_at(container, dependency, other)
            if due is not None and not _is_fulfilled(dependency.condition, other):
                yield due


def is_needed(task: Task, container: Container) -> bool:
    """Whether another container that depends on it has not stopped yet."""
    return any(
        dependency.container == container.name
        for other in task.containers
        if other.phase is not Phase.STOPPED
        for dependency in other.depends_on
    )


def forwards(task: Task, change: Callable[[Task, Container], Container]) -> Task:
    """Change each container after those that it depends on, in sight of what became of them."""
    return _changed(task, _order(task), change)


def backwards(task: Task, change: Callable[[Task, Container], Container]) -> Task:
    """Change each container after those that depend on it."""
    return _changed(task, tuple(reversed(_order(task))), change)


def _order(task: Task) -> tuple[str, ...]:
    edges = {container.name: [each.container for each in container.depends_on] for container in task.containers}
    return ordered(edges) or tuple(edges)


def _changed(task: Task, names: tuple[str, ...], change: Callable[[Task, Container], Container]) -> Task:
    for name in names:
        containers = tuple(
            change(task, container) if container.name == name else container for container in task.containers
        )
        if containers != task.containers:
            task = replace(task, containers=containers)
    return task


def _dependencies(task: Task, container: Container) -> Iterator[tuple[Dependency, Container]]:
    """Those whose container is known: of an adopted task some may not be."""
    if container.depends_on:
        by_name = {each.name: each for each in task.containers}
        for dependency in container.depends_on:
            if dependency.container in by_name:
                yield dependency, by_name[dependency.container]


def _is_fulfilled(condition: DependencyCondition, other: Container) -> bool:
    stopped = other.phase is Phase.STOPPED
    match condition:
        case DependencyCondition.CREATE:
            return other.runtime_id is not None if stopped else other.phase not in _UNMADE
        case DependencyCondition.START:
            return other.has_started if stopped else other.phase in {Phase.RUNNING, Phase.STOPPING}
        case DependencyCondition.COMPLETE:
            return stopped and other.exit_code is not None
        case DependencyCondition.SUCCESS:
            return stopped and other.exit_code == 0
        case DependencyCondition.HEALTHY:
            return other.phase is Phase.RUNNING and other.health is HealthStatus.HEALTHY


def _times_out_at(container: Container, dependency: Dependency, other: Container) -> float | None:
    """The other one's startTimeout counts from its start, as long as this one has not been created (again)."""
    if dependency.condition not in _TIMED or container.phase not in {Phase.WAITING, Phase.PULLED, Phase.ENDED}:
        return None
    if by_policy(container):  # it waits for nobody
        return None
    if other.start_timeout is None or other.phase is not Phase.RUNNING or other.running_since is None:
        return None
    return other.running_since + other.start_timeout


def _ended(container: Container) -> str:
    return f"it has ended with exit code {container.exit_code}" if container.exit_code is not None else "it did not run"
