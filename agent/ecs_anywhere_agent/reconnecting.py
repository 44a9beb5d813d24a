"""How long to wait before the next connection.

A fleet that lost its broker at one moment must not come back at one moment: IoT Core takes 500 connections a second
(https://docs.aws.amazon.com/general/latest/gr/iot-core.html), and one a second of each machine. Nobody tells a machine
how many others wait, so each spreads its tries over twice the time after each refusal, until all fit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

_SHORTEST_SECONDS = 1.0
_LONGEST_DOUBLING = 16
LASTING_SECONDS = 60.0
"""A connection that was of use for as long has proved that the next one is worth an early try."""


class Outcome(Enum):
    """What became of a connection, and the longest wait after it in seconds."""

    UNREACHABLE = 60.0
    """The broker was never asked, so trying costs nobody anything."""
    REFUSED = 600.0
    """The broker did not take the connection, or not for long."""
    LASTED = 2.0
    DUPLICATE = 3600.0
    """Another machine uses this one's identity: each connection ends one of that machine's."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """Counts the tries since the last connection that lasted, each kind for itself."""

    unreachable: int = 0
    refused: int = 0

    def after(self, outcome: Outcome) -> "BackOff":
        match outcome:
            case Outcome.UNREACHABLE:
                return replace(self, unreachable=self.unreachable + 1)
            case Outcome.REFUSED:
                return replace(self, refused=self.refused + 1)
            case Outcome.LASTED | Outcome.DUPLICATE:
                return BackOff()

    def wait(self, outcome: Outcome, uniform: Callable[[float, float], float]) -> float:
        """Seconds until the next try, after `after(outcome)`."""
        if outcome is Outcome.DUPLICATE:
            return uniform(outcome.value / 2, outcome.value)
        tries = self.unreachable if outcome is Outcome.UNREACHABLE else self.refused
        longest = min(_SHORTEST_SECONDS * 2 ** min(max(tries, 1), _LONGEST_DOUBLING), outcome.value)
        return uniform(_SHORTEST_SECONDS, longest)
