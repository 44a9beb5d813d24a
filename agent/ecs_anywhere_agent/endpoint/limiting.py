"""How often one may ask: a bucket for each that drops fill again. As Amazon's agent: 40 a second, 60 at once.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html (ECS_TASK_METADATA_RPS_LIMIT)
"""

import threading
from collections.abc import Hashable
from typing import NamedTuple

_LONGEST = 1000
"""Of the buckets that are kept; the fullest go first, which is as if they had never been."""


class Rate(NamedTuple):
    steady: float = 40.0
    """Requests a second."""
    burst: float = 60.0
    """At once, after a pause."""


class Limiter:
    """For threads."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, tuple[float, float]] = {}
        """What is left, and when that was so."""

    def allows(self, who: Hashable, now: float) -> bool:
        """`now` is on a clock that does not go back."""
        with self._lock:
            left = self._left(who, now)
            allowed = left >= 1
            self._buckets[who] = (left - 1 if allowed else left, now)
            if len(self._buckets) > _LONGEST:
                fullest = sorted(self._buckets, key=lambda each: -self._left(each, now))
                for each in fullest[: _LONGEST // 2]:
                    del self._buckets[each]
            return allowed

    def _left(self, who: Hashable, now: float) -> float:
        left, since = self._buckets.get(who, (self._rate.burst, now))
        return min(left + (now - since) * self._rate.steady, self._rate.burst)
