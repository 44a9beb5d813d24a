"""The two clocks of the agent: one that never goes back, for durations, and the wall clock, for show."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ecs_anywhere_agent.core.values import Instant


@dataclass(frozen=True, slots=True)
class ClockReading:
    """All clocks at one moment; stored, so that the next agent goes on from it."""

    elapsed: float
    wall: float
    uptime: float
    boot_id: str


def read_machine_clocks() -> tuple[float, float, str]:
    """Wall clock, time since boot with suspended time, and which boot it is."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id


def resume(last: ClockReading | None, wall: float, uptime: float, boot_id: str) -> float:
    """The elapsed time at a start: over a reboot, the longest time that either clock can prove has passed."""
    if last is None:
        return 0.0
    if last.boot_id == boot_id:
        return last.elapsed + max(uptime - last.uptime, 0.0)
    return last.elapsed + max(wall - last.wall, uptime, 0.0)


class Clock:
    """Goes on where `last` ended."""

    def __init__(self, last: ClockReading | None) -> None:
        wall, self._started, self._boot_id = read_machine_clocks()
        self._elapsed = resume(last, wall, self._started, self._boot_id)
        self.rebooted = last is not None and last.boot_id != self._boot_id

    def now(self) -> Instant:
        passed = time.clock_gettime(time.CLOCK_BOOTTIME) - self._started
        return Instant(self._elapsed + passed, datetime.now(UTC))

    def reading(self, now: Instant) -> ClockReading:
        uptime = self._started + now.elapsed - self._elapsed
        return ClockReading(now.elapsed, now.wall.timestamp(), uptime, self._boot_id)
