"""Elapsed time over restarts and reboots."""

import pytest

from ecs_anywhere_agent.clock import Clock, ClockReading, resume

LAST = ClockReading(elapsed=100.0, wall=1_000_000.0, uptime=500.0, boot_id="one")


@pytest.mark.parametrize(
    ("wall", "uptime", "boot_id", "elapsed"),
    [
        pytest.param(1_000_060.0, 560.0, "one", 160.0, id="the-agent-was-restarted"),
        pytest.param(0.0, 560.0, "one", 160.0, id="the-wall-clock-jumped-back"),
        pytest.param(9_999_999.0, 560.0, "one", 160.0, id="the-wall-clock-jumped-ahead"),
        pytest.param(1_000_300.0, 20.0, "two", 400.0, id="a-reboot-that-the-wall-clock-proves"),
        pytest.param(0.0, 45.0, "two", 145.0, id="a-reboot-in-1970-proves-its-uptime"),
    ],
)
def test_elapsed_time_never_goes_back(wall: float, uptime: float, boot_id: str, elapsed: float) -> None:
    assert resume(LAST, wall, uptime, boot_id) == elapsed


def test_the_first_agent_starts_at_zero() -> None:
    assert resume(None, 1.0, 2.0, "one") == 0.0


def test_a_clock_goes_on_from_its_own_reading() -> None:
    first = Clock(None)
    now = first.now()
    second = Clock(first.reading(now))
    assert now.elapsed <= second.now().elapsed < now.elapsed + 5
