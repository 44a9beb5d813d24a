"""Who goes first when a service has more tasks than it should. Pure.

    tasks ── class by class: sick, draining, away, not running, not healthy, copies not preferred, the rest
                │  in each: always one of the fullest group, of that the fullest group within it, …, the newest task
                └─► so what stays is spread as the tasks were when they were placed

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.placement.rules import Spread, Strategy
from control_plane.domain.scheduling.census import CONNECTED, Census
from control_plane.domain.scheduling.standing import Connection, absence_of_task
from control_plane.domain.tags import Prefer
from control_plane.domain.task import Task
from ecs_protocol.statuses import TaskStatus

Path = tuple[str, ...]

Groups = Mapping[str, Path]
"""By container instance: the values that tasks are spread over, in the order of the strategies."""


def group_of(instance: ContainerInstance, strategy: Sequence[Strategy]) -> Path:
    """What an instance's tasks count for, where tasks are spread: it has the attribute's value, or none."""
    return tuple(
        (instance.attribute(each.attribute) or "") if each.attribute else instance.instance_id
        for each in strategy
        if isinstance(each, Spread)
    )


def ranked(
    kept: Sequence[Task], *, census: Census, places: Mapping[str, Connection], groups: Groups | None = None
) -> list[Task]:
    """Who goes first: who is to be replaced for its health, who is on an instance that is to be emptied, whose machine
    is away, who does not run, who is not healthy, who is the copy that is not preferred once a machine is back, then
    who leaves the others spread best: over `groups`, and over instances. Protected tasks do not go, and count where
    they are."""
    copies = any(task.substitute for task in kept)
    not_preferred = _copy_rank(places) if copies else lambda _task: 0.0
    known = groups or {}

    def class_of(task: Task) -> tuple[float, ...]:
        return (
            task.task_id not in census.sick,
            task.task_id not in census.draining,
            not census.away(task),
            task.last_status is TaskStatus.RUNNING,
            task.task_id in census.healthy,
            not_preferred(task),
        )

    def path_of(task: Task) -> Path:
        return (*known.get(task.instance_id, ()), task.instance_id)

    counts: Counter[Path] = Counter()
    classes: dict[tuple[float, ...], list[Task]] = defaultdict(list)
    for task in kept:
        counts.update(_prefixes(path_of(task)))
        if task.task_id not in census.protected:
            classes[class_of(task)].append(task)
    return [task for rank in sorted(classes) for task in _evenly(classes[rank], path_of, counts)]


def _prefixes(path: Path) -> list[Path]:
    return [path[:length] for length in range(1, len(path) + 1)]


def _evenly(tasks: Sequence[Task], path_of: Callable[[Task], Path], counts: Counter[Path]) -> Iterator[Task]:
    """The tasks, always one of the fullest group. `counts`: how many there are in each, which falls with each."""
    root = _Group(sorted(tasks, key=_newest_first), path_of, counts, depth=0)
    for _ in tasks:
        yield root.take()


def _newest_first(task: Task) -> tuple[float, str]:
    return -task.created_at.timestamp(), task.task_id


class _Group:
    """Tasks that share the first `depth` parts of their paths. To take one changes the place of one group in each."""

    def __init__(
        self, tasks: Sequence[Task], path_of: Callable[[Task], Path], counts: Counter[Path], *, depth: int
    ) -> None:
        """`tasks`: in the order in which they go, should nothing else decide."""
        self._counts = counts
        self._within: dict[Path, _Group] = {}
        self._tasks = list(reversed(tasks))
        self._fullest: list[tuple[int, tuple[float, str], Path]] = []
        if not tasks or depth == len(path_of(tasks[0])):
            return
        parts: dict[Path, list[Task]] = defaultdict(list)
        for task in tasks:
            parts[path_of(task)[: depth + 1]].append(task)
        for path, members in parts.items():
            self._within[path] = _Group(members, path_of, counts, depth=depth + 1)
            self._put(path)

    def take(self) -> Task:
        """One that has not been taken."""
        if not self._within:
            return self._tasks.pop()
        _, _, path = heapq.heappop(self._fullest)
        task = self._within[path].take()
        self._counts[path] -= 1
        if self._within[path].next is not None:
            self._put(path)
        return task

    @property
    def next(self) -> tuple[float, str] | None:
        """The rank of what would be taken next, among groups that are as full; None: all have been taken."""
        if self._within:
            return self._fullest[0][1] if self._fullest else None
        return _newest_first(self._tasks[-1]) if self._tasks else None

    def _put(self, path: Path) -> None:
        rank = self._within[path].next
        if rank is not None:
            heapq.heappush(self._fullest, (-self._counts[path], rank, path))


def _copy_rank(places: Mapping[str, Connection]) -> Callable[[Task], float]:
    """Smaller goes first: a substitute, or, if substitutes are preferred, who came back last."""

    def rank(task: Task) -> float:
        if absence_of_task(task).prefer is Prefer.ORIGINAL:
            return 0.0 if task.substitute else 1.0
        back = places.get(task.instance_id, CONNECTED).changed_at
        return 0.0 if task.substitute or back is None else -back.timestamp()

    return rank
