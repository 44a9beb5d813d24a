"""Where tasks go: a pipeline of filters, then the strategy.

instances ── status ── agent ── attributes ── resources ──► those left ── strategy ──► one for each task
               │         │          │             │
               └─────────┴──────────┴─────────────┴──► refusals: why not, for each instance
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus, port_names
from control_plane.domain.resources import Resources


@dataclass(frozen=True)
class Demand:
    """What one task asks of an instance."""

    resources: Resources
    required_attributes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Candidate:
    """An instance as placement sees it, with its capability attributes."""

    instance: ContainerInstance
    capabilities: frozenset[str]


@dataclass(frozen=True)
class Placed:
    """Where a task goes."""

    instance_id: str
    registration: int


@dataclass(frozen=True)
class Unplaced:
    """Why each instance refused: instance id to the reasons, in the words of RunTask's failures."""

    refusals: Mapping[str, tuple[str, ...]]


Filter = Callable[[Demand, Candidate], tuple[str, ...]]
"""The reasons for which an instance cannot take a task; none: it can."""


def _active(_demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return () if candidate.instance.status is InstanceStatus.ACTIVE else (str(candidate.instance.status),)


def _connected(_demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return () if candidate.instance.agent_connected else ("AGENT",)


def _attributes(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return ("ATTRIBUTE",) if demand.required_attributes - candidate.capabilities else ()


def _resources(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return candidate.instance.shortages(demand.resources)


FILTERS: Sequence[Filter] = (_active, _connected, _attributes, _resources)


def refusals(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    """Every reason, so that nobody mends one shortage to meet the next."""
    return tuple(reason for reason_of in FILTERS for reason in reason_of(demand, candidate))


def place(demand: Demand, count: int, candidates: Iterable[Candidate]) -> list[Placed | Unplaced]:
    """Place `count` equal tasks: each goes to the instance with the fewest tasks, ties broken by id.

    Returns one answer a task, in order. Nothing is random, so that the same snapshot gives the same answer.
    """
    left = {candidate.instance.instance_id: candidate for candidate in candidates}
    answers: list[Placed | Unplaced] = []
    for _ in range(count):
        able = [candidate for candidate in left.values() if not refusals(demand, candidate)]
        if not able:
            refused = Unplaced({name: refusals(demand, candidate) for name, candidate in sorted(left.items())})
            answers.extend([refused] * (count - len(answers)))
            break
        chosen = min(able, key=lambda candidate: (candidate.instance.tasks, candidate.instance.instance_id))
        left[chosen.instance.instance_id] = replace(chosen, instance=take(chosen.instance, demand.resources))
        answers.append(Placed(chosen.instance.instance_id, chosen.instance.registration))
    return answers


def take(instance: ContainerInstance, wanted: Resources) -> ContainerInstance:
    """The instance with one task more."""
    return instance.model_copy(
        update={
            "cpu": instance.cpu - wanted.cpu,
            "memory": instance.memory - wanted.memory,
            "ports": instance.ports | port_names(wanted),
            "tasks": instance.tasks + 1,
        }
    )
