"""Who goes first when a service has more tasks than it should. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from control_plane.domain.scheduling.census import CONNECTED, Census
from control_plane.domain.scheduling.standing import Connection, absence_of_task
from control_plane.domain.tags import Prefer
from control_plane.domain.task import Task
from ecs_protocol.statuses import TaskStatus


def ranked(kept: Sequence[Task], census: Census, places: Mapping[str, Connection]) -> list[Task]:
    """Who goes first: who is unhealthy, who is on an instance that is to be emptied, whose machine is away, who runs
    least, who is the copy that is not preferred once a machine is back, who is on the fullest instance, and then the
    newest."""
    on_instance = Counter(task.instance_id for task in kept)
    copies = any(task.substitute for task in kept)
    not_preferred = _copy_rank(places) if copies else lambda _task: 0.0
    return sorted(
        kept,
        key=lambda task: (
            task.task_id not in census.sick,
            task.task_id not in census.draining,
            not census.away(task),
            task.last_status is TaskStatus.RUNNING,
            not_preferred(task),
            -on_instance[task.instance_id],
            -task.created_at.timestamp(),
            task.task_id,
        ),
    )


def _copy_rank(places: Mapping[str, Connection]) -> Callable[[Task], float]:
    """Smaller goes first: a substitute, or, if substitutes are preferred, who came back last."""

    def rank(task: Task) -> float:
        if absence_of_task(task).prefer is Prefer.ORIGINAL:
            return 0.0 if task.substitute else 1.0
        back = places.get(task.instance_id, CONNECTED).changed_at
        return 0.0 if task.substitute or back is None else -back.timestamp()

    return rank
