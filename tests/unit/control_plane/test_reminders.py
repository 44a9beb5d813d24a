"""When somebody is looked at again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.inbox import Look
from control_plane.domain.reminders import (
    FIRST_GAP,
    GRID_SECONDS,
    PROBE_SECONDS,
    command_due,
    command_was_due,
    next_probe,
    on_grid,
    watching_command,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INSTANCE = "8b4c1a2f6d3e4057a1b2c3d4e5f60718"
instants = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
ids = st.text("0123456789abcdef", min_size=32, max_size=32)


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        pytest.param(0, 30, id="first-after-half-a-minute"),
        pytest.param(30, 60, id="then-one"),
        pytest.param(60, 120, id="then-two"),
        pytest.param(125, 240, id="then-four"),
        pytest.param(3600, 3840, id="gaps-double"),
    ],
)
def test_a_silent_machine_is_asked_again_with_growing_gaps(passed: int, expected: int) -> None:
    assert command_due(NOW, NOW + timedelta(seconds=passed)) == (NOW + timedelta(seconds=expected)).timestamp()


@given(instants, st.timedeltas(timedelta(0), timedelta(days=30)))
def test_the_next_time_lies_ahead_and_is_one_of_its_times(since: datetime, passed: timedelta) -> None:
    now = since + passed
    due = command_due(since, now)
    assert due > now.timestamp()
    assert due % GRID_SECONDS == 0
    assert command_was_due(since, due)
    assert not command_was_due(since, due + GRID_SECONDS)


@given(instants)
def test_the_first_reminder_finds_its_command_due_and_comes_after_its_deed(since: datetime) -> None:
    """What is stored has milliseconds; it must be due at the same times as what was decided."""
    reminder = watching_command("default", INSTANCE, since)
    stored = datetime.fromisoformat(since.isoformat(timespec="milliseconds"))
    assert command_was_due(stored, reminder.at)
    assert reminder.at >= (since + FIRST_GAP).timestamp() - 0.001
    assert reminder.at - (since + FIRST_GAP).timestamp() < GRID_SECONDS


@given(ids, instants, st.timedeltas(timedelta(0), timedelta(days=2)))
def test_an_instance_is_probed_once_every_six_hours_however_often_it_is_asked_for(
    instance_id: str, now: datetime, later: timedelta
) -> None:
    first, second = next_probe("default", instance_id, now), next_probe("default", instance_id, now + later)
    assert (first.look, first.at % GRID_SECONDS) == (Look.PROBE, 0)
    assert now.timestamp() < first.at <= now.timestamp() + PROBE_SECONDS
    assert (second.at - first.at) % PROBE_SECONDS == 0
    assert next_probe("default", instance_id, datetime.fromtimestamp(first.at, UTC)).at == first.at + PROBE_SECONDS


def test_the_grid_is_not_before_its_time() -> None:
    assert on_grid(NOW) == NOW.timestamp()
    assert on_grid(NOW + timedelta(milliseconds=1)) == NOW.timestamp() + GRID_SECONDS
