"""GPUs: how many each container asks for, and which ones of an instance it gets. Pure.

They are taken by id, like static host ports, so that no two containers ever get the same one. Those that orphans run
with are kept apart from those that tasks hold: where a task was given what an orphan turns out to run with, the end of
either leaves it to the other one.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-gpu.html
"""

from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.domain.container_instance import ContainerInstance

EVERY = 0
"""How many, for a container that asks for ALL: each GPU of the instance, none of which anybody else has."""


def wanted_gpus(definition: Mapping[str, Any]) -> dict[str, int]:
    """By container, of a definition as its task runs it."""
    return {
        container["name"]: EVERY if requirement["value"] == "ALL" else int(requirement["value"])
        for container in definition["containerDefinitions"]
        for requirement in container.get("resourceRequirements", ())
        if requirement["type"] == "GPU"
    }


def free_gpus(instance: ContainerInstance) -> list[str]:
    return sorted(instance.gpus - instance.held_gpus - instance.orphan_gpus)


def has_gpus(instance: ContainerInstance, wanted: Mapping[str, int]) -> bool:
    """Whether it has as many left as a task's containers want."""
    free = len(free_gpus(instance))
    if EVERY in wanted.values():
        return 0 < free == len(instance.gpus)
    return sum(wanted.values()) <= free


def pinned_gpus(instance: ContainerInstance, wanted: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Which ones each container gets, of an instance that has as many."""
    left = iter(free_gpus(instance))
    return {
        name: tuple(left if number == EVERY else (next(left) for _ in range(number))) for name, number in wanted.items()
    }


def told_gpus(instance: ContainerInstance, told: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Of what a machine says of an orphan's GPUs, those that it has, each once: so that it cannot make an item grow."""
    left = set(instance.gpus)
    kept: dict[str, tuple[str, ...]] = {}
    for name, gpu_ids in told.items():
        own = tuple(gpu_id for gpu_id in dict.fromkeys(gpu_ids) if gpu_id in left)
        left.difference_update(own)
        kept.update({name: own} if own else {})
    return kept


def all_gpu_ids(pinned: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Of a task."""
    return frozenset(gpu_id for gpu_ids in pinned.values() for gpu_id in gpu_ids)
