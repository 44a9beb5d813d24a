"""Who is heard about an activation, and who has to wait."""

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain.attempts import Failures, seconds_to_wait, source_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def counted(failures: int, *, seconds_left: float = 100) -> Failures:
    return Failures(failures=failures, until=int((NOW + timedelta(seconds=seconds_left)).timestamp()))


@pytest.mark.parametrize(
    ("source", "activation", "wait"),
    [
        pytest.param(None, None, None, id="nobody has failed"),
        pytest.param(counted(9), None, None, id="a source that has failed a few times is heard"),
        pytest.param(counted(10), None, 100, id="one that has failed too often waits until its window ends"),
        pytest.param(counted(10, seconds_left=0), None, None, id="a window that has ended does not count"),
        pytest.param(None, counted(99), None, id="a source that never failed is heard whatever others did"),
        pytest.param(counted(1), counted(30), 100, id="many sources that guess together all wait"),
        pytest.param(counted(1), counted(29), None, id="until then each is heard"),
        pytest.param(counted(1, seconds_left=7), counted(30), 7, id="no longer than its own failures count"),
        pytest.param(counted(1), counted(30, seconds_left=-1), None, id="nor than the activation's do"),
    ],
)
def test_who_waits(source: Failures | None, activation: Failures | None, wait: int | None) -> None:
    assert seconds_to_wait(source, activation, NOW) == wait


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("no address", "unknown"),
    ],
)
def test_what_one_source_is(address: str, source: str) -> None:
    assert source_of(address) == source
