"""Does what an instance has left agree with the tasks on it? Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from control_plane.domain.container_instance import ContainerInstance, Registration, port_names
from control_plane.domain.orphan import OrphanTask
from control_plane.domain.resources import Resources
from control_plane.domain.task import Task


@dataclass(frozen=True)
class Left:
    """What an instance has left, and how many tasks are on it."""

    cpu: int
    memory: int
    ports: frozenset[str]
    tasks: int
    gpus: frozenset[str]
    orphan_gpus: frozenset[str]


def stored(instance: ContainerInstance) -> Left:
    return Left(instance.cpu, instance.memory, instance.ports, instance.tasks, instance.held_gpus, instance.orphan_gpus)


def expected(registration: Registration, tasks: Iterable[Task], orphans: Iterable[OrphanTask]) -> Left:
    """What the instance should have left: `tasks` are all on it that have not stopped."""
    taken = [task.resources for task in tasks]
    of_tasks = sum(taken, start=Resources())
    of_orphans = sum((orphan.resources for orphan in orphans), start=Resources())
    held = of_tasks + of_orphans
    return Left(
        registration.cpu - held.cpu,
        registration.memory - held.memory,
        port_names(held),
        len(taken),
        of_tasks.gpu_ids,
        of_orphans.gpu_ids,
    )


def difference(instance: Left, should: Left) -> dict[str, dict[str, object]]:
    """What differs, by name: {stored, expected}. Empty: they agree."""
    pairs = {
        "cpu": (instance.cpu, should.cpu),
        "memory": (instance.memory, should.memory),
        "ports": (sorted(instance.ports), sorted(should.ports)),
        "tasks": (instance.tasks, should.tasks),
        "gpus": (sorted(instance.gpus), sorted(should.gpus)),
        "orphanGpus": (sorted(instance.orphan_gpus), sorted(should.orphan_gpus)),
    }
    return {name: {"stored": is_, "expected": be} for name, (is_, be) in pairs.items() if is_ != be}
