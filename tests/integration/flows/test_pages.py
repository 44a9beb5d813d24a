"""Pages of what is spread over several keys of the table."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from control_plane.domain.pages import Asked, Place
from control_plane.store.items import Item
from control_plane.store.keys import Key
from control_plane.store.pages import Batch, Part, beginning, merge, read_page, walk
from control_plane.store.table import Table
from world import TABLE_SCHEMA

PARTITIONS = ("a", "b", "c", "d", "e", "f")
Reading = Callable[[Table, Asked], Iterator[Batch]]


def walked(table: Table, asked: Asked, *, descending: bool = False) -> Iterator[Batch]:
    names = [pk for pk in PARTITIONS if asked.after is None or pk >= asked.after.part]
    return walk(table, (Part(pk, pk, descending=descending) for pk in names), asked)


READINGS: dict[str, Reading] = {
    "walk": walked,
    "walk, each part backwards": lambda table, asked: walked(table, asked, descending=True),
    "merge": lambda table, asked: merge(table, PARTITIONS, asked),
    "merge backwards": lambda table, asked: merge(table, PARTITIONS, asked, descending=True),
}


def expected(reading: str, there: Sequence[Key]) -> list[str]:
    """In the order that the list has."""
    backwards = "backwards" in reading
    if reading.startswith("merge"):
        return [key.sk for key in sorted(there, key=lambda key: key.sk, reverse=backwards)]
    of_each = [sorted((key.sk for key in there if key.pk == pk), reverse=backwards) for pk in PARTITIONS]
    return [sk for part in of_each for sk in part]


@pytest.fixture
def table(moto_dynamodb: Any) -> Table:
    moto_dynamodb.create_table(TableName="pages", **TABLE_SCHEMA)
    return Table(moto_dynamodb, "pages")


def put(table: Table, sizes: Sequence[int]) -> list[Key]:
    """So many items of each partition, under numbers that no other has."""
    numbers = list(range(100, 100 + sum(sizes)))
    random.Random(1).shuffle(numbers)
    there = [Key(pk, str(numbers.pop())) for pk, size in zip(PARTITIONS, sizes, strict=True) for _ in range(size)]
    table.put_many({key: {} for key in there})
    return there


def plain(items: Sequence[Item]) -> list[dict[str, str]]:
    return [{"": item["sk"]} for item in items]


def every_page(
    table: Table, reading: Reading, size: int, shown: Any = plain, read_at_most: int = 2000
) -> list[list[str]]:
    found: list[list[str]] = []
    after: Place | None = None
    while True:
        asked = Asked(size, after)
        page, after = read_page(reading(table, asked), asked, shown, read_at_most=read_at_most)
        found.append(page)
        if after is None:
            return found


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((0, 0, 0, 0, 0, 0), id="nothing"),
        pytest.param((1, 1, 1, 1, 1, 1), id="one in each"),
        pytest.param((0, 0, 0, 0, 0, 9), id="only the last"),
        pytest.param((9, 0, 0, 1, 0, 0), id="nearly only the first"),
        pytest.param((1, 20, 1, 0, 2, 5), id="more than was to be expected"),
    ],
)
def test_pages_are_the_whole(table: Table, reading: str, sizes: Sequence[int]) -> None:
    there = expected(reading, put(table, sizes))
    for size in (1, 2, 5, 30):
        pages = every_page(table, READINGS[reading], size)
        assert [sk for page in pages for sk in page] == there
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1), "all but the last are full"


@pytest.mark.parametrize("reading", READINGS)
def test_where_little_is_shown_pages_are_short_and_the_list_goes_on(table: Table, reading: str) -> None:
    there = expected(reading, put(table, (9, 9, 9, 9, 9, 9)))
    pages = every_page(
        table,
        READINGS[reading],
        3,
        lambda items: [{"": item["sk"]} if item["sk"].endswith("00") else {} for item in items],
        read_at_most=6,
    )
    assert [sk for page in pages for sk in page] == [sk for sk in there if sk.endswith("00")] == ["100"]
    assert len(pages) > 2


@pytest.mark.parametrize("reading", READINGS)
def test_what_a_token_names_may_be_gone(table: Table, reading: str) -> None:
    keys = put(table, (3, 3, 3, 3, 3, 3))
    there = expected(reading, keys)
    page, after = read_page(READINGS[reading](table, Asked(4)), Asked(4), plain)
    table.delete_many([key for key in keys if key.sk in there[2:6]])
    asked = Asked(30, after)
    rest, ended = read_page(READINGS[reading](table, asked), asked, plain)
    assert (page, rest, ended) == (there[:4], there[6:], None)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_an_item_of_several_lines_may_be_cut(table: Table, size: int) -> None:
    there = expected("walk", put(table, (2, 1, 0, 3, 0, 0)))

    def three(items: Sequence[Item]) -> list[dict[str, str]]:
        return [{line: f"{item['sk']}{line}" for line in "xyz"} for item in items]

    pages = every_page(table, walked, size, three)
    assert [each for page in pages for each in page] == [f"{sk}{line}" for sk in there for line in "xyz"]
    assert [each for page in every_page(table, walked, size, three, 1) for each in page] == [
        f"{sk}{line}" for sk in there for line in "xyz"
    ], "also if each call reads as little as it may"


def test_keys_that_begin_so_are_read_and_no_others(table: Table) -> None:
    table.put_many({Key("a", sk): {} for sk in ("I#1", "I#2", "O#1", "A", "I")})
    page, _ = read_page(walk(table, [beginning("", "a", "I#")], Asked(9)), Asked(9), plain)
    assert page == ["I#1", "I#2"]
