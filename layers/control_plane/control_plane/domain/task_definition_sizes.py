"""CPU and memory of a task and of its containers: their units, their bounds, and that the parts fit into the whole.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException

LEAST_CPU, MOST_CPU = 128, 196_608
LEAST_MEMORY = 6
"""MiB; Docker takes no less."""

FARGATE_MEMORY: Mapping[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""MiB that a task on Fargate can have with so many CPU units.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
"""

_NUMBER = re.compile(r"\d{1,9}")
_VIRTUAL_CPUS = re.compile(r"(\d{1,9}|\d{0,9}\.\d{1,9})\s*vcpu", re.IGNORECASE)
_GIGABYTES = re.compile(r"(\d{1,9}|\d{0,9}\.\d{1,9})\s*gb", re.IGNORECASE)


def cpu_units(text: str) -> int:
    """Of a task: `512`, `0.5 vCPU` and `.5 vcpu` are the same. Raises ClientException."""
    units = _number(text, _VIRTUAL_CPUS)
    if units is None or not LEAST_CPU <= units <= MOST_CPU:
        raise ClientException(
            f"Invalid 'cpu' setting for task. Write {LEAST_CPU} to {MOST_CPU} CPU units (512), or vCPUs (0.5 vCPU)."
        )
    return units


def mebibytes(text: str) -> int:
    """Of a task: `1024`, `1 GB` and `1gb` are the same. Raises ClientException."""
    size = _number(text, _GIGABYTES)
    if size is None or size < LEAST_MEMORY:
        raise ClientException(
            f"Invalid 'memory' setting for task. Write at least {LEAST_MEMORY} MiB (1024), or GB (1 GB)."
        )
    return size


def task_sizes(definition: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """CPU units and MiB of the task as a whole, where it has any. Raises ClientException."""
    cpu, memory = definition.get("cpu"), definition.get("memory")
    return cpu_units(cpu) if cpu else None, mebibytes(memory) if memory else None


def _number(text: str, in_larger_units: re.Pattern[str]) -> int | None:
    """A plain number, or 1,024 for each of the larger units. Digits of other scripts are none."""
    if not text.isascii():
        return None
    if _NUMBER.fullmatch(text):
        return int(text)
    larger = in_larger_units.fullmatch(text)
    return round(float(larger[1]) * 1024) if larger else None


def reserved(container: Mapping[str, Any]) -> int:
    """MiB that a container takes of its instance: what it reserves, or its limit where it reserves nothing."""
    return int(container.get("memoryReservation") or container.get("memory") or 0)


def check_sizes(containers: Sequence[Mapping[str, Any]], cpu: int | None, memory: int | None) -> None:
    """`cpu` and `memory` are the task's, if it has any. Raises ClientException."""
    for container in containers:
        _check_container(container, memory)
    needed = sum(container.get("cpu", 0) for container in containers)
    if cpu is not None and needed > cpu:
        raise ClientException(
            "The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value: they need "
            f"{needed} CPU units, but the task has {cpu}."
        )
    needed = sum(reserved(container) for container in containers)
    if memory is not None and needed > memory:
        raise ClientException(
            f"Invalid 'memory' setting for task. Its containers reserve {needed} MiB, but the task has {memory}."
        )


def _check_container(container: Mapping[str, Any], task_memory: int | None) -> None:
    name = container["name"]
    if container.get("cpu", 0) < 0:
        raise ClientException(f"Invalid 'cpu' setting for container '{name}'.")
    for member in ("memory", "memoryReservation"):
        size = container.get(member)
        if size is not None and size < LEAST_MEMORY:
            raise ClientException(
                f"Invalid '{member}' setting for container '{name}'. Write at least {LEAST_MEMORY} MiB."
            )
        if size is not None and task_memory is not None and size > task_memory:
            raise ClientException(f"The '{member}' setting for container '{name}' is greater than for the task.")
    hard, soft = container.get("memory"), container.get("memoryReservation")
    if task_memory is None and hard is None and soft is None:
        raise ClientException(
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be "
            "specified."
        )
    if hard is not None and soft is not None and soft > hard:
        raise ClientException(
            f"Invalid setting for container '{name}'. 'memory' must be greater than or equal to 'memoryReservation'."
        )
