"""Which of the instances that can take a task is the best, by the strategies in their order. Pure.

    instances ──► a bucket for each combination of values of the attributes that tasks are spread over
                  │  within it a heap by what is the instance's own: what it has left, its tasks, chance
                  └─► buckets with the same first values: a heap by the counts of the next value, and so on
                       └─► a heap of the first values

To place a task changes the rank of one instance, and the counts of the values that are its own: so one place in each
heap on the way up changes, and nothing else is looked at again, however many instances or values there are.
"""

import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Iterable

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.placement.filters import Candidate, Demand
from control_plane.domain.placement.rules import Binpack, Random, Spread, Strategy

Path = tuple[str, ...]
"""The values of the attributes that tasks are spread over, in their order; empty where an instance has none."""

Rank = tuple[float, ...]


class Ranking:
    """Instances that can take a task of one kind; those that cannot are only counted."""

    def __init__(self, demand: Demand, seed: str) -> None:
        self._demand = demand
        self._seed = seed
        self._spread_over = [each.attribute for each in demand.strategy if isinstance(each, Spread) and each.attribute]
        self._counts: dict[Path, int] = defaultdict(int)
        self._members: dict[Path, list[tuple[Rank, str, Candidate]]] = defaultdict(list)
        """Of each bucket, the best first."""
        self._order: dict[Path, list[tuple[Rank, str, int, Path, Path]]] = defaultdict(list)
        """By the first values: rank and id of the best instance of each next value, the change that it is from, the
        values with that next one, and the bucket of the instance."""
        self._changes: dict[Path, int] = defaultdict(int)
        """How often the place of some first values among their like has changed: earlier ones count no more."""
        self._chances: dict[str, tuple[int, float]] = {}

    def fill(self, able: Iterable[Candidate], everyone: Iterable[Candidate]) -> None:
        """Tasks on instances that are ACTIVE count, whether these can take another or not."""
        if self._spread_over:
            for candidate in everyone:
                held = candidate.groups.get(self._demand.group, 0)
                if held and candidate.instance.status is InstanceStatus.ACTIVE:
                    self._add(self._path(candidate), held)
        for candidate in able:
            self._members[self._path(candidate)].append(self._member(candidate))
        for members in self._members.values():
            heapq.heapify(members)
        for length in range(len(self._spread_over), 0, -1):
            for path in {each[:length] for each in self._members}:
                self._place(path)

    def take_best(self) -> Candidate | None:
        """The best instance, which is not among them until it is put back. None: there is none."""
        bucket = self._best(())
        return None if bucket is None else heapq.heappop(self._members[bucket])[2]

    def put_back(self, candidate: Candidate, *, able: bool) -> None:
        """The instance that was taken, as it is with the task."""
        path = self._path(candidate)
        if able:
            heapq.heappush(self._members[path], self._member(candidate))
        self._add(path, 1)
        for length in range(len(path), 0, -1):
            self._place(path[:length])

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

    def _best(self, path: Path) -> Path | None:
        """The bucket of the best instance of those with these first values. None: there is none."""
        if len(path) == len(self._spread_over):
            return path if self._members[path] else None
        order = self._order[path]
        while order and order[0][2] != self._changes[order[0][3]]:
            heapq.heappop(order)
        return order[0][4] if order else None

    def _place(self, path: Path) -> None:
        """Put the instances with these first values where they belong now among their like."""
        self._changes[path] += 1
        bucket = self._best(path)
        if bucket is not None:
            own, instance_id, _ = self._members[bucket][0]
            place = (self._rank(bucket, own, len(path)), instance_id, self._changes[path], path, bucket)
            heapq.heappush(self._order[path[:-1]], place)

    def _rank(self, bucket: Path, own: Rank, length: int) -> Rank:
        """The counts of the bucket and what is its best instance's own, in the order of the strategies.

        Among those whose values before the one at `length` are the same, so that the counts of these tell nothing.
        """
        rank: list[float] = []
        level = 0
        for strategy in self._demand.strategy:
            if isinstance(strategy, Spread) and strategy.attribute:
                level += 1
                rank.append(self._counts[bucket[:level]] if level >= length else 0)
            else:
                rank.append(own[len(rank) - level])
        return (*rank, own[-1])
