"""How starts that fail are spaced out, each further one twice as long: the numbers between are ours. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from control_plane.domain.scheduling.rollout import failed_to_start
from control_plane.domain.service import Service
from control_plane.domain.task import Task

STARTS_BEFORE_THROTTLING = 3
FIRST_WAIT_SECONDS = 10
LONGEST_WAIT_SECONDS = 27 * 60
"""Amazon ECS's."""


def throttle(service: Service, ended: Iterable[Task], now: datetime, *, all_run: bool) -> tuple[int, datetime | None]:
    """How many starts in a row have failed, and until when no other is tried.

    `ended`: tasks that have stopped since this was last asked; `all_run`: as many run as are wanted. Those that fail
    together are one failure, and what had started before the wait is none: else a hundred tasks that find no registry
    once would wait as long as can be.
    """
    if all_run:
        return 0, None
    waited_for = service.not_before
    failed = any(failed_to_start(task) and not (waited_for and task.created_at < waited_for) for task in ended)
    failed_starts = service.failed_starts + failed
    not_before = wait_until(failed_starts, now) if failed else waited_for
    return failed_starts, not_before if not_before is not None and now < not_before else None


def wait_until(failed_starts: int, now: datetime) -> datetime | None:
    """Until when no other start is tried once so many in a row have failed."""
    excess = failed_starts - STARTS_BEFORE_THROTTLING
    if excess < 0:
        return None
    seconds = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(excess, 10))
    return now + timedelta(seconds=seconds)
