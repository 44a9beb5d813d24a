"""Reads a page of a list that is spread over many keys, and about what the page shows.

`walk` reads one part after another, which is cheapest. `merge` reads several partitions side by side, for lists
sorted by name, whatever partition a name is in. `read_page` takes from either what a page shows. A page ends at a key,
so that what comes or goes before the next one neither hides nor repeats what stays. Reads are eventually consistent.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from control_plane.domain.pages import Asked, Place
from control_plane.store.items import Item
from control_plane.store.table import Table

T = TypeVar("T")

READ_AT_MOST = 2000
"""Items that are read for one page, about: where a filter lets few through, a page is short, and the list goes on."""
READ_AT_ONCE = 500
PARTS_AT_ONCE = 16

FIRST, LAST = " ", "~"
"""What comes before and after all that keys are made of."""

Batch = Sequence[tuple[str, Item]]
"""Items, each with the name of its part."""


@dataclass(frozen=True)
class Part:
    """The items of one partition from key to key, both counted."""

    name: str
    """Which no other part of the list has; a token says it."""
    pk: str
    low: str = FIRST
    high: str = LAST
    descending: bool = False
    given: str = ""
    """The key that a reading ended with, and the next begins with."""

    def resumed(self, key: str) -> "Part":
        return replace(self, high=key) if self.descending else replace(self, low=key)


@dataclass(frozen=True)
class Chunk:
    """The first items of a part, and whether they are all of it."""

    part: Part
    items: Sequence[Item]
    whole: bool

    def lines(self) -> list[tuple[str, Item]]:
        """Without the one that was given already."""
        return [(self.part.name, item) for item in self.items if item["sk"] != self.part.given]

    def rest(self) -> Part:
        last = self.items[-1]["sk"]
        return replace(self.part.resumed(last), given=last)


def beginning(name: str, pk: str, begins: str) -> Part:
    """The items of a partition whose keys begin so."""
    return Part(name, pk, begins or FIRST, begins + LAST)


def read_page(
    batches: Iterable[Batch],
    asked: Asked,
    shown: Callable[[Sequence[Item]], Sequence[Mapping[str, T]]],
    *,
    read_at_most: int = READ_AT_MOST,
) -> tuple[list[T], Place | None]:
    """A page, and where it ended, if the list may go on.

    `shown` says of each item what the list shows of it, by the name of the line (`""` if it is one line only), sorted.
    """
    found: list[tuple[Place, T]] = []
    after, read = asked.after, 0
    for batch in batches:
        for (part, item), lines in zip(batch, shown([item for _, item in batch]), strict=True):
            here = Place(part, item["sk"])
            done = after.line if after and (after.part, after.key) == (here.part, here.key) else None
            read += done is None
            found += [(replace(here, line=line), of_it) for line, of_it in lines.items() if done is None or line > done]
            if len(found) > asked.size:
                return [each for _, each in found[: asked.size]], found[asked.size - 1][0]
            after = replace(here, line=max(lines, default=""))
        if read >= read_at_most:
            return [each for _, each in found], after
    return [each for _, each in found], None


def walk(table: Table, parts: Iterable[Part], asked: Asked) -> Iterator[Batch]:
    """The items of one part after another. `parts` begin with that of `asked.after`, or the first after it.

    One part is read first, for as many items as the page may need. Then as many at once as should yield what is
    lacking, going by those that were read to their ends.
    """
    rest = (_from(asked.after, part) for part in parts)
    read = ended = 0

    def aim() -> int:
        lacking = asked.size + 2 - read  # one was given already, and one tells whether the list goes on
        return lacking if lacking > 0 else min(read, READ_AT_ONCE)

    while True:
        width = min(PARTS_AT_ONCE, 4 * ended or 1, -(-aim() * ended // read) if read and ended else PARTS_AT_ONCE)
        wave = list(islice(rest, width))
        if not wave:
            return
        lines: list[tuple[str, Item]] = []
        for first in _read(table, wave, aim() + 1 if width == 1 else 2 * aim() // width + 2):
            chunk = first
            lines += chunk.lines()
            while not chunk.whole:  # perhaps this is enough, and else the rest of the part comes before the others
                read += len(lines)
                yield lines
                [chunk] = _read(table, [chunk.rest()], aim() + 1)
                lines = chunk.lines()
            ended += 1
        read += len(lines)
        yield lines


def merge(
    table: Table, partitions: Sequence[str], asked: Asked, *, begins: str = "", descending: bool = False
) -> Iterator[Batch]:
    """The items of several partitions in the order of their keys. A merged list is one part, which has no name."""
    parts = [replace(beginning("", pk, begins), descending=descending) for pk in partitions]
    parts = [_from(asked.after, part) for part in parts]
    limit = 3 * (asked.size + 2) // (2 * len(parts)) + 2
    streams = [_stream(table, first, limit) for first in _read(table, parts, limit)]
    lines = heapq.merge(*streams, key=lambda item: str(item["sk"]), reverse=descending)
    while batch := [("", item) for item in islice(lines, asked.size + 2)]:
        yield batch


def _stream(table: Table, chunk: Chunk, limit: int) -> Iterator[Item]:
    """The items of a part, of which some were read already."""
    yield from chunk.items
    while not chunk.whole:
        [chunk] = _read(table, [chunk.rest()], limit)
        yield from (item for _, item in chunk.lines())


def _from(after: Place | None, part: Part) -> Part:
    return part.resumed(after.key) if after and after.part == part.name else part


def _read(table: Table, parts: Sequence[Part], limit: int) -> list[Chunk]:
    def read(part: Part) -> Chunk:
        items, whole = table.query_some(part.pk, part.low, part.high, newest_first=part.descending, limit=limit)
        return Chunk(part, items, whole)

    if len(parts) == 1:
        return [read(parts[0])]
    with ThreadPoolExecutor(max_workers=PARTS_AT_ONCE) as threads:
        return list(threads.map(read, parts))
