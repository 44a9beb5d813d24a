"""What to do about a service: snapshot in, plan out. Whoever carries it out may die anywhere; the next run plans anew.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.service import Service, ServiceStatus
from control_plane.domain.task import Task
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus

STARTS_BEFORE_THROTTLING = 3
FIRST_WAIT_SECONDS = 10
LONGEST_WAIT_SECONDS = 900


@dataclass(frozen=True)
class ServicePlan:
    """`start` tasks to place now, `stop` tasks to end, `ended` tasks to strike off the service's list."""

    start: int
    stop: tuple[Task, ...]
    ended: tuple[Task, ...]
    running: int
    pending: int
    failed_starts: int
    not_before: datetime | None
    status: ServiceStatus

    @property
    def steady(self) -> bool:
        """Nothing is left to do, and nothing to wait for."""
        return not self.start and not self.stop and not self.pending and self.not_before is None


def plan(service: Service, tasks: Sequence[Task], now: datetime) -> ServicePlan:
    """Compare what runs with what should.

    `tasks` are those on the service's list, stopped ones included: one that has stopped is counted as an end exactly
    once, since striking it off is part of the same commit as what the end leads to.
    """
    ended = tuple(task for task in tasks if task.stopped)
    kept = [task for task in tasks if not task.stopped and task.desired_status is DesiredStatus.RUNNING]
    leaving = [task for task in tasks if not task.stopped and task.desired_status is DesiredStatus.STOPPED]
    wanted = service.desired_count if service.status is ServiceStatus.ACTIVE else 0
    running = sum(task.last_status is TaskStatus.RUNNING for task in kept)

    failed_starts = service.failed_starts + sum(_failed_to_start(task) for task in ended)
    not_before = service.not_before
    if running >= wanted and not any(_failed_to_start(task) for task in ended):
        failed_starts, not_before = 0, None
    elif failed_starts > service.failed_starts:
        not_before = _wait_until(failed_starts, now)
    throttled = not_before is not None and now < not_before
    if not throttled:
        not_before = None

    missing = max(0, wanted - len(kept))
    done = service.status is not ServiceStatus.ACTIVE and not kept and not leaving
    return ServicePlan(
        start=0 if throttled else missing,
        stop=_surplus(kept, len(kept) - wanted),
        ended=ended,
        running=running,
        pending=len(kept) - running,
        failed_starts=failed_starts,
        not_before=not_before if missing else None,
        status=ServiceStatus.INACTIVE if done else service.status,
    )


def _failed_to_start(task: Task) -> bool:
    asked_for = task.stop_code in {StopCode.USER_INITIATED, StopCode.SERVICE_SCHEDULER_INITIATED}
    return task.started_at is None and not asked_for


def _wait_until(failed_starts: int, now: datetime) -> datetime | None:
    excess = failed_starts - STARTS_BEFORE_THROTTLING
    if excess < 0:
        return None
    seconds = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(excess, 10))
    return now + timedelta(seconds=seconds)


def _surplus(kept: Sequence[Task], count: int) -> tuple[Task, ...]:
    """Those that run least go first, then those on the fullest instances, then the newest."""
    if count <= 0:
        return ()
    on_instance = Counter(task.instance_id for task in kept)
    ranked = sorted(
        kept,
        key=lambda task: (
            task.last_status is TaskStatus.RUNNING,
            -on_instance[task.instance_id],
            -task.created_at.timestamp(),
            task.task_id,
        ),
    )
    return tuple(ranked[:count])
