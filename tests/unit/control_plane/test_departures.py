"""How fast machines that went away are written off.

A fleet is written as when each machine went: `.` is there, a number is minutes ago.
"""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.scheduling.departures import Limits, delays
from unit.control_plane.builders import NOW, an_instance

LIMITS = Limits()


def fleet(picture: str, *, site: str | None = None, first: int = 0) -> list[ContainerInstance]:
    return [
        an_instance(
            chr(ord("A") + first + number),
            agent_connected=word == ".",
            connection_changed_at=None if word == "." else NOW - timedelta(minutes=float(word)),
            attributes={"site": site} if site else {},
        )
        for number, word in enumerate(picture.split())
    ]


def minutes(picture: str, resumed_at: datetime | None = None) -> dict[str, float | None]:
    """Delay by machine; None: held."""
    found = delays(fleet(picture), LIMITS, resumed_at)
    return {name[0]: None if delay is None else delay.total_seconds() / 60 for name, delay in sorted(found.items())}


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        pytest.param(". . .", {}, id="all-there"),
        pytest.param("1", {"A": 0}, id="one-machine-is-no-mass"),
        pytest.param("1 .", {"A": 0}, id="half-is-not-more-than-half"),
        pytest.param("1 1 .", {"A": None, "B": None}, id="two-of-three"),
        pytest.param("1 1 . .", {"A": 0, "B": 1}, id="two-of-four-one-a-minute"),
        pytest.param("9 8 7 6 5", {"A": None, "B": None, "C": None, "D": None, "E": None}, id="all-within-the-window"),
        pytest.param("30 20 10 1 .", {"A": 0, "B": 0, "C": 0, "D": 0}, id="one-after-the-other-is-no-mass"),
        pytest.param("999 998 997 1 1 . .", {"A": 0, "B": 0, "C": 0, "D": 0, "E": 1}, id="the-long-dead-delay-nobody"),
        pytest.param("99 1 1 .", {"A": 0, "B": None, "C": None}, id="more-than-half-of-those-that-were-there"),
        pytest.param("2 2 2 2 . . . . . .", {"A": 0, "B": 1, "C": 2, "D": 3}, id="a-tenth-a-minute"),
    ],
)
def test_who_is_held_and_who_is_delayed(picture: str, expected: dict[str, float | None]) -> None:
    assert minutes(picture) == expected


def test_a_tenth_of_a_large_cluster_a_minute() -> None:
    assert list(minutes("1 1 1 1 1 " + ". " * 15).values()) == [0, 0, 1, 1, 2]


def test_a_site_of_its_own() -> None:
    members = [*fleet("1 1 1 .", site="north"), *fleet(". " * 12, site="south", first=4)]
    assert set(delays(members, LIMITS, None).values()) == {None}


def test_an_operator_resumes_what_had_vanished() -> None:
    assert minutes("3 3 .", resumed_at=NOW - timedelta(minutes=2)) == {"A": 0, "B": 1}
    assert minutes("3 3 .", resumed_at=NOW - timedelta(minutes=4)) == {"A": None, "B": None}


times = st.lists(st.one_of(st.none(), st.floats(0, 600)), min_size=1, max_size=30)


@given(times)
def test_never_more_than_a_tenth_in_any_minute(gone: list[float | None]) -> None:
    members = [
        an_instance(
            agent_connected=minute is None,
            connection_changed_at=None if minute is None else NOW - timedelta(minutes=minute),
        ).model_copy(update={"instance_id": f"{number:032x}"})
        for number, minute in enumerate(gone)
    ]
    found = delays(members, LIMITS, None)
    at = sorted(
        each.connection_changed_at + delay
        for each in members
        if each.connection_changed_at and (delay := found[each.instance_id]) is not None
    )
    allowed = max(1, len(members) // 10)
    assert all(later - first >= timedelta(minutes=1) for first, later in zip(at, at[allowed:], strict=False))
    assert all(delay is None or delay >= timedelta() for delay in found.values())
