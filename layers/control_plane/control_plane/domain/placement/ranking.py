"""Which of the instances that can take a task is the best, by the strategies in their order. Pure.

    instances ──► one bucket for each combination of values of the attributes that tasks are spread over
                  │  within a bucket a heap by what is the instance's own: what it has left, its tasks, chance
                  └─► a heap of buckets by the counts of tasks and the best instance of each

To place a task changes the rank of one instance, and the counts of its bucket and of those that share its first value:
so nothing else is looked at again, however many instances there are.
"""

import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.placement.filters import Candidate, Demand
from control_plane.domain.placement.rules import Binpack, Random, Spread, Strategy

Path = tuple[str, ...]
"""The values of the attributes that tasks are spread over, in their order; empty where an instance has none."""

Rank = tuple[float, ...]


@dataclass
class _Bucket:
    """Its instances, best first, and how often its own place among the buckets has changed."""

    members: list[tuple[Rank, str, Candidate]] = field(default_factory=list)
    changes: int = 0


class Ranking:
    """Instances that can take a task of one kind; those that cannot are only counted."""

    def __init__(self, demand: Demand, seed: str) -> None:
        self._demand = demand
        self._seed = seed
        self._spread_over = [each.attribute for each in demand.strategy if isinstance(each, Spread) and each.attribute]
        self._counts: dict[Path, int] = defaultdict(int)
        self._buckets: dict[Path, _Bucket] = defaultdict(_Bucket)
        self._alike: dict[str, list[Path]] = defaultdict(list)
        self._order: list[tuple[Rank, str, int, Path]] = []
        self._chances: dict[str, tuple[int, float]] = {}

    def fill(self, able: Iterable[Candidate], everyone: Iterable[Candidate]) -> None:
        """Tasks on instances that are ACTIVE count, whether these can take another or not."""
        if self._spread_over:
            for candidate in everyone:
                held = candidate.groups.get(self._demand.group, 0)
                if held and candidate.instance.status is InstanceStatus.ACTIVE:
                    self._add(self._path(candidate), held)
        for candidate in able:
            self._buckets[self._path(candidate)].members.append(self._member(candidate))
        for path, bucket in self._buckets.items():
            heapq.heapify(bucket.members)
            if path:
                self._alike[path[0]].append(path)
            self._place(path)

    def take_best(self) -> Candidate | None:
        """The best instance, which is not among them any more. None: there is none."""
        while self._order:
            _, _, change, path = heapq.heappop(self._order)
            bucket = self._buckets[path]
            if change == bucket.changes:
                return heapq.heappop(bucket.members)[2]
        return None

    def put_back(self, candidate: Candidate, *, able: bool) -> None:
        """The instance that was taken, as it is with the task."""
        path = self._path(candidate)
        if able:
            heapq.heappush(self._buckets[path].members, self._member(candidate))
        if not path:
            self._place(path)
            return
        self._add(path, 1)
        for other in self._alike[path[0]]:
            self._place(other)

    def _path(self, candidate: Candidate) -> Path:
        return tuple(candidate.attribute(name) or "" for name in self._spread_over)

    def _add(self, path: Path, tasks: int) -> None:
        for length in range(1, len(path) + 1):
            self._counts[path[:length]] += tasks

    def _member(self, candidate: Candidate) -> tuple[Rank, str, Candidate]:
        own = tuple(
            self._own(strategy, candidate)
            for strategy in self._demand.strategy
            if not (isinstance(strategy, Spread) and strategy.attribute)
        )
        return (*own, candidate.instance.tasks), candidate.instance.instance_id, candidate

    def _own(self, strategy: Strategy, candidate: Candidate) -> float:
        """What a strategy says of an instance by itself; less is better."""
        match strategy:
            case Binpack(resource="cpu"):
                return candidate.instance.cpu
            case Binpack():
                return candidate.instance.memory
            case Random():
                return self._chance(candidate.instance.instance_id)
            case Spread():
                return candidate.groups.get(self._demand.group, 0)

    def _chance(self, instance_id: str) -> float:
        """When its turn comes if the waits between turns are exponential: each time, each instance is as likely."""
        turns, last = self._chances.get(instance_id, (0, 0.0))
        digest = hashlib.blake2b(f"{self._seed}/{instance_id}/{turns}".encode(), digest_size=8).digest()
        turn = last - math.log((int.from_bytes(digest) + 1) / 2**64)
        self._chances[instance_id] = (turns + 1, turn)
        return turn

    def _place(self, path: Path) -> None:
        """Put a bucket where it belongs now; its earlier place counts no more."""
        bucket = self._buckets[path]
        bucket.changes += 1
        if bucket.members:
            own, instance_id, _ = bucket.members[0]
            heapq.heappush(self._order, (self._rank(path, own), instance_id, bucket.changes, path))

    def _rank(self, path: Path, own: Rank) -> Rank:
        """The counts of the bucket and what is its best instance's own, in the order of the strategies."""
        if not path:
            return own
        rank: list[float] = []
        level = 0
        for strategy in self._demand.strategy:
            if isinstance(strategy, Spread) and strategy.attribute:
                level += 1
                rank.append(self._counts[path[:level]])
            else:
                rank.append(own[len(rank) - level])
        return (*rank, own[-1])
