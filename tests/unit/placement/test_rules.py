"""Constraints and strategies as requests write them."""

from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.query import parse_query
from control_plane.domain.placement.rules import (
    Binpack,
    Constraints,
    Random,
    Spread,
    as_stored,
    parse_constraints,
    parse_strategy,
)

MEMBER = {"type": "memberOf", "expression": "attribute:site == berlin"}


def test_those_of_the_definition_and_of_the_request_hold_together() -> None:
    linux = {"type": "memberOf", "expression": "attribute:ecs.os-type == linux"}
    expected = Constraints((parse_query(linux["expression"]), parse_query(MEMBER["expression"])), distinct=True)
    assert parse_constraints([MEMBER, {"type": "distinctInstance"}], [linux]) == expected


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ([{"type": "distinctInstance", "expression": ""}], "distinctInstance expression should not be specified."),
        ([{"type": "memberOf"}], "needs an expression"),
        ([{"type": "memberOf", "expression": "site"}], "at character 1"),
        ([{"type": "memberOf", "expression": "x" * 2001}], "at most 2000 characters, but has 2001"),
        ([{}], "has the type distinctInstance or memberOf"),
        ([MEMBER] * 10, "at most 10 placement constraints, those of its task definition included, but has 11"),
    ],
)
def test_constraints_that_are_refused(constraints: list[dict[str, str]], words: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        parse_constraints(constraints, [MEMBER])
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("written", "strategy"),
    [
        ({"type": "random"}, Random()),
        ({"type": "random", "field": "unused"}, Random()),
        ({"type": "binpack", "field": "cpu"}, Binpack("cpu")),
        ({"type": "binpack", "field": "MEMORY"}, Binpack("memory")),
        ({"type": "spread", "field": "instanceId"}, Spread()),
        ({"type": "spread", "field": "host"}, Spread()),
        ({"type": "spread", "field": "attribute:ecs.availability-zone"}, Spread("ecs.availability-zone")),
    ],
)
def test_strategies(written: dict[str, str], strategy: Any) -> None:
    assert parse_strategy([written]) == (strategy,)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([{"type": "binpack", "field": "disk"}], "is cpu or memory, but is 'disk'"),
        ([{"type": "binpack"}], "is cpu or memory, but is ''"),
        ([{"type": "spread"}], "is instanceId, host or attribute:NAME, but is ''"),
        ([{"type": "spread", "field": "attribute:"}], "is instanceId, host or attribute:NAME"),
        ([{"field": "cpu"}], "has the type random, spread or binpack"),
        ([{"type": "random"}] * 6, "at most 5 placement strategies, but has 6"),
    ],
)
def test_strategies_that_are_refused(written: list[dict[str, str]], words: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        parse_strategy(written)
    assert words in raised.value.message


def test_host_is_given_back_as_instance_id() -> None:
    written = [{"type": "spread", "field": "host"}, {"type": "binpack", "field": "cpu"}, {"type": "random"}]
    assert as_stored(written) == ({"type": "spread", "field": "instanceId"}, *written[1:])
