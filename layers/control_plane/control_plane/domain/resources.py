"""What tasks take of an instance, and what an instance has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """CPU units, MiB of memory, host ports as (number, protocol), and GPUs by their ids."""

    cpu: int = 0
    memory: int = 0
    ports: frozenset[tuple[int, str]] = frozenset()
    gpu_ids: frozenset[str] = frozenset()

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            self.cpu + other.cpu,
            self.memory + other.memory,
            self.ports | other.ports,
            self.gpu_ids | other.gpu_ids,
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            self.cpu - other.cpu,
            self.memory - other.memory,
            self.ports - other.ports,
            self.gpu_ids - other.gpu_ids,
        )
