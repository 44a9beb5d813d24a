"""Which containers of a task come before which. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class DependencyCondition(StrEnum):
    """What must have become of a container for one that depends on it to go on."""

    CREATE = "CREATE"
    """Not in the API: what `volumesFrom` comes down to."""
    START = "START"
    COMPLETE = "COMPLETE"
    SUCCESS = "SUCCESS"
    HEALTHY = "HEALTHY"


class Dependency(NamedTuple):
    """On another container of the task."""

    container: str
    condition: DependencyCondition


def dependencies_of(container: Mapping[str, Any]) -> tuple[Dependency, ...]:
    """What it says, then what its volumes and links come down to, as with Amazon's agent."""
    said = [
        Dependency(each["containerName"], DependencyCondition(each["condition"]))
        for each in container.get("dependsOn") or ()
    ]
    volumes = [
        Dependency(each["sourceContainer"], DependencyCondition.CREATE) for each in container.get("volumesFrom") or ()
    ]
    links = [Dependency(text.partition(":")[0], DependencyCondition.START) for text in container.get("links") or ()]
    return tuple(dict.fromkeys((*said, *volumes, *links)))


def ordered(edges: Mapping[str, Iterable[str]]) -> tuple[str, ...] | None:
    """Names, each after all that it depends on; else as given. What is not there is not waited for. None: a cycle."""
    left = {name: {target for target in targets if target in edges} for name, targets in edges.items()}
    result: list[str] = []
    while left:
        free = [name for name, targets in left.items() if targets <= set(result)]
        if not free:
            return None
        result += free
        for name in free:
            del left[name]
    return tuple(result)


def to_text(dependencies: Iterable[Dependency]) -> str:
    """As a label of a container has it."""
    return ",".join(f"{each.container}:{each.condition}" for each in dependencies)


def from_text(text: str) -> tuple[Dependency, ...]:
    """A condition that only a later version of the agent knows is not waited for."""
    pairs = (each.partition(":") for each in text.split(",") if each)
    known = set(DependencyCondition)
    return tuple(Dependency(name, DependencyCondition(condition)) for name, _, condition in pairs if condition in known)
