"""What an instance lacks for a task: in words, and by how much, so that the closest one can be named. Pure."""

from collections.abc import Sequence

from control_plane.domain.container_instance import ContainerInstance, port_names
from control_plane.domain.gpus import EVERY, free_gpus
from control_plane.domain.placement import filters
from control_plane.domain.placement.filters import Candidate, Demand

_OF_WHAT_IT_IS = frozenset({filters.ATTRIBUTE, filters.MEMBER_OF})
"""Reasons that stay, whatever stops or connects: whoever asks why looks for a machine of the right kind first."""


def distance(demand: Demand, candidate: Candidate, reasons: Sequence[str]) -> tuple[int, int, float, str]:
    """How far an instance that refuses is from taking a task; less is closer."""
    kind = sum(reason in _OF_WHAT_IT_IS for reason in reasons)
    return kind, len(reasons), _missing(demand, candidate.instance), candidate.instance.instance_id


def _missing(demand: Demand, instance: ContainerInstance) -> float:
    """Which part of what is wanted it has not, of the resource that it has least of. 0: it has all of each."""
    wanted, ports = demand.resources, port_names(demand.resources)
    gpus = len(instance.gpus) or 1 if EVERY in demand.gpus.values() else sum(demand.gpus.values())
    wanted_and_left = (
        (wanted.cpu, instance.cpu),
        (wanted.memory, instance.memory),
        (len(ports), len(ports - instance.ports - instance.reserved_ports)),
        (gpus, len(free_gpus(instance))),
    )
    return max([0.0, *(1 - left / asked for asked, left in wanted_and_left if asked)])


def lacks(demand: Demand, candidate: Candidate, reasons: Sequence[str]) -> tuple[str, ...]:
    """A line for each reason, with the numbers and names."""
    return tuple(line for reason in reasons for line in _lines(demand, candidate, reason))


def _lines(demand: Demand, candidate: Candidate, reason: str) -> list[str]:
    instance, wanted = candidate.instance, demand.resources
    match reason:
        case "RESOURCE:CPU":
            return [f"CPU: wants {wanted.cpu} units, has {instance.cpu} left"]
        case "RESOURCE:MEMORY":
            return [f"memory: wants {wanted.memory} MiB, has {instance.memory} left"]
        case "RESOURCE:PORTS":
            taken = port_names(wanted) & (instance.ports | instance.reserved_ports)
            return [f"host ports in use: {', '.join(sorted(taken))}"]
        case "RESOURCE:GPU":
            number = "all" if EVERY in demand.gpus.values() else sum(demand.gpus.values())
            return [f"GPUs: wants {number}, has {len(free_gpus(instance))} of {len(instance.gpus)} left"]
        case filters.ATTRIBUTE:
            return [f"attributes: {', '.join(sorted(demand.required_attributes - candidate.capabilities))}"]
        case filters.MEMBER_OF:
            failed = [each for each in demand.constraints.expressions if not each.matches(candidate)]
            return [f"does not satisfy: {each}" for each in failed]
        case filters.DISTINCT_INSTANCE:
            return ["holds a task of the group already"]
        case filters.DAEMONS_FIRST:
            names = ", ".join(sorted(instance.daemons_due))
            return [f"tasks of DAEMON services go first, for a minute at most: {names}"]
        case "AGENT" if instance.agent_connected:
            return ["two machines use its identity: see ecs-anywhere duplicates list"]
        case "AGENT":
            return ["its agent is not connected"]
        case _:
            return [f"its status is {reason}"]
