"""Whether this is still the machine that an identity was made on. Pure.

A disk that is copied takes the identity with it, and two machines under one identity end each other's connections and
run each other's tasks. So what the hardware says of itself is kept beside the key, and compared at each start.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Marks = Mapping[str, frozenset[str]]
"""What tells a machine from others, as hashes, by kind: a network card is one of several, the others are one each."""


@dataclass(frozen=True)
class Comparison:
    """Of the kinds that both then and now could be read."""

    agree: tuple[str, ...]
    differ: tuple[str, ...]

    @property
    def same_machine(self) -> bool:
        """Most agree, or nothing can be said. As many as differ are not most: where little can be read, a copied disk
        agrees with itself in the machine id, and the one thing that is left is another."""
        return len(self.agree) > len(self.differ) or not self.differ


def compare(kept: Marks, now: Marks) -> Comparison:
    """A machine that has one of its network cards still has its network cards."""
    both = sorted(kind for kind in kept if kind in now)
    agree = tuple(kind for kind in both if kept[kind] & now[kind])
    return Comparison(agree, tuple(kind for kind in both if kind not in agree))


def renewed(kept: Marks, now: Marks) -> dict[str, frozenset[str]]:
    """What is kept of the same machine from now on: a part that was changed counts as it is now, one that cannot be
    read at this moment as it was."""
    return {**kept, **now}
