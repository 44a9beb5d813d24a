"""Where tasks go: a pipeline of filters, then the strategies.

instances ── status ── agent ── attributes ── constraints ── resources ──► those left ── strategies ──► one for each
               │         │          │              │             │                                       task
               └─────────┴──────────┴──────────────┴─────────────┴──► refusals: why not, for each instance

Each filter is asked once for each instance, and again only of an instance that a task was placed on: nothing else can
have changed by it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.domain.gpus import pinned_gpus
from control_plane.domain.placement.filters import (
    Candidate,
    Demand,
    can_take,
    refusals,
    take,
    with_task,
)
from control_plane.domain.placement.ranking import Ranking
from control_plane.domain.placement.shortage import distance, lacks

__all__ = ["Candidate", "Demand", "Placed", "Unplaced", "place", "refusals", "take"]

TOLD = 100
"""Instances of which it is said what they lack: the closest ones stand for those of a large fleet."""

MAX_WORDS = 500
"""Characters that say what one lacks, in an answer: 100 of them fit into an event and an item, whatever was written."""


@dataclass(frozen=True)
class Placed:
    """Where a task goes. `believed`: attributes of the instance's item that the commit must find as they are here."""

    instance_id: str
    registration: int
    believed: Mapping[str, int] = field(default_factory=dict)
    gpu_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the instance's GPUs, those that each container gets."""


@dataclass(frozen=True)
class Unplaced:
    """Why each instance refused: instance id to the reasons, in the words of RunTask's failures; the closest first."""

    refusals: Mapping[str, tuple[str, ...]]
    lacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Of the closest ones, what each lacks: a line for each reason, with the numbers and names."""

    @property
    def counted(self) -> Mapping[str, int]:
        """How many instances refused for each reason, the most frequent first."""
        counts = Counter(reason for reasons in self.refusals.values() for reason in reasons)
        return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))

    @property
    def closest(self) -> str | None:
        """None: there are no instances."""
        return next(iter(self.refusals), None)

    def words(self, instance_id: str) -> str:
        """What an instance lacks, in parentheses; empty if that is not known."""
        words = "; ".join(self.lacks.get(instance_id, ()))
        shown = words if len(words) <= MAX_WORDS else f"{words[: MAX_WORDS - 1]}…"
        return f" ({shown})" if shown else ""

    def detail(self, instance_id: str) -> str:
        """All reasons of an instance, and what it lacks."""
        return ", ".join(self.refusals[instance_id]) + self.words(instance_id)


def place(demand: Demand, count: int, candidates: Iterable[Candidate], seed: str = "") -> list[Placed | Unplaced]:
    """Place `count` equal tasks by the demand's strategies, then by the fewest tasks, ties broken by id.

    Returns one answer a task, in order. Chance is drawn from `seed`: the same snapshot and seed give the same answer.
    """
    fleet = {candidate.instance.instance_id: candidate for candidate in candidates}
    ranking = Ranking(demand, seed)
    ranking.fill((each for each in fleet.values() if can_take(demand, each)), fleet.values())
    answers: list[Placed | Unplaced] = []
    for _ in range(count):
        chosen = ranking.take_best()
        if chosen is None:
            answers.extend([_unplaced(demand, fleet)] * (count - len(answers)))
            break
        after = with_task(chosen, demand)
        fleet[chosen.instance.instance_id] = after
        ranking.put_back(after, able=can_take(demand, after))
        answers.append(_placed(demand, chosen))
    return answers


def _placed(demand: Demand, candidate: Candidate) -> Placed:
    """What expressions say of attributes holds only as long as nobody changes these."""
    instance = candidate.instance
    believed = {"attributesVersion": instance.attributes_version or 0} if demand.constraints.expressions else {}
    return Placed(instance.instance_id, instance.registration, believed, pinned_gpus(instance, demand.gpus))


def _unplaced(demand: Demand, fleet: Mapping[str, Candidate]) -> Unplaced:
    refused = [(candidate, refusals(demand, candidate)) for candidate in fleet.values()]
    refused.sort(key=lambda each: distance(demand, *each))
    return Unplaced(
        {candidate.instance.instance_id: reasons for candidate, reasons in refused},
        {each.instance.instance_id: lacks(demand, each, reasons) for each, reasons in refused[:TOLD]},
    )
