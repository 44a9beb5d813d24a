"""What a pattern becomes: its places, and which may follow which (Glushkov's construction). Pure.

All places that the text so far may have led to are followed at once, as the bits of a number; what a number and a
character lead to is remembered, so that a pattern that is asked again and again costs a look-up for each character.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

_REMEMBERED = 4096

Accepts = Callable[[str], bool]


@dataclass(frozen=True)
class Part:
    """A part of a pattern: the places where its texts begin and end, as bits, and whether it matches no text."""

    empty: bool
    first: int
    last: int


NOTHING = Part(empty=True, first=0, last=0)


@dataclass(frozen=True)
class Pattern:
    """What each place accepts, and the places that may follow it, as bits."""

    text: str
    _accepts: tuple[Accepts, ...] = field(compare=False, repr=False)
    _follow: tuple[int, ...] = field(compare=False, repr=False)
    _whole: Part = field(compare=False, repr=False)
    _known: dict[tuple[int, str], int] = field(default_factory=dict, compare=False, repr=False)

    def matches(self, text: str) -> bool:
        """Whether it matches the whole of `text`."""
        if not text:
            return self._whole.empty
        places = self._reached(self._whole.first, text[0])
        for char in text[1:]:
            if not places:
                return False
            places = self._next(places, char)
        return bool(places & self._whole.last)

    def _next(self, places: int, char: str) -> int:
        """The places that `char` leads to. Threads may share what is remembered: nothing is read twice."""
        known = self._known.get((places, char))
        if known is not None:
            return known
        following = 0
        for place in bits(places):
            following |= self._follow[place]
        reached = self._reached(following, char)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[places, char] = reached
        return reached

    def _reached(self, places: int, char: str) -> int:
        return sum(1 << place for place in bits(places) if self._accepts[place](char))


def bits(places: int) -> list[int]:
    """The numbers of the bits that are set."""
    found = []
    while places:
        lowest = places & -places
        found.append(lowest.bit_length() - 1)
        places ^= lowest
    return found
