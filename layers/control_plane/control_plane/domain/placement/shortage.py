"""Why a task finds no place, for people: each reason counted by instance, and what the closest instance lacks. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from control_plane.domain.container_instance import port_names
from control_plane.domain.gpus import EVERY, free_gpus
from control_plane.domain.placement.filters import Candidate, Demand
from control_plane.domain.placement.place import Unplaced

EXAMPLES = 3
"""Instances that are named for each reason."""


def reasons(unplaced: Unplaced) -> list[dict[str, Any]]:
    """{reason, count, containerInstances} of each, the most frequent first, with a few of the instances."""
    refusing: dict[str, list[str]] = defaultdict(list)
    for instance_id, each in unplaced.refusals.items():
        for reason in each:
            refusing[reason].append(instance_id)
    return [
        {"reason": reason, "count": count, "containerInstances": refusing[reason][:EXAMPLES]}
        for reason, count in unplaced.counted.items()
    ]


def lacks(demand: Demand, unplaced: Unplaced, candidates: Iterable[Candidate]) -> dict[str, Any] | None:
    """{containerInstance, reasons, lacks} of the closest instance; None: there are no instances."""
    closest = unplaced.closest
    candidate = next((each for each in candidates if each.instance.instance_id == closest), None)
    if closest is None or candidate is None:
        return None
    return {
        "containerInstance": closest,
        "reasons": list(unplaced.refusals[closest]),
        "lacks": _lacks(demand, candidate, unplaced),
    }


def _lacks(demand: Demand, candidate: Candidate, unplaced: Unplaced) -> list[str]:
    """One line for each thing that the instance lacks, with the numbers."""
    instance, wanted = candidate.instance, demand.resources
    missing = sorted(demand.required_attributes - candidate.capabilities)
    taken = sorted(port_names(wanted) & (instance.ports | instance.reserved_ports))
    lines = {
        "RESOURCE:CPU": f"CPU: wants {wanted.cpu} units, has {instance.cpu} left",
        "RESOURCE:MEMORY": f"memory: wants {wanted.memory} MiB, has {instance.memory} left",
        "RESOURCE:PORTS": f"host ports in use: {', '.join(taken)}",
        "RESOURCE:GPU": f"GPUs: wants {_gpus(demand)}, has {len(free_gpus(instance))} of {len(instance.gpus)} left",
        "ATTRIBUTE": f"attributes: {', '.join(missing)}",
        "AGENT": "its agent is not connected",
    }
    found = [
        lines.get(reason, f"its status is {reason}")
        for reason in unplaced.refusals[instance.instance_id]
        if reason in lines or reason == str(instance.status)
    ]
    expressions = [f"does not satisfy: {each}" for each in unplaced.unsatisfied.get(instance.instance_id, ())]
    distinct = ["holds a task of the group already"] if candidate.groups.get(demand.group) else []
    return [*found, *expressions, *(distinct if demand.constraints.distinct else [])]


def _gpus(demand: Demand) -> str:
    return "all" if EVERY in demand.gpus.values() else str(sum(demand.gpus.values()))
