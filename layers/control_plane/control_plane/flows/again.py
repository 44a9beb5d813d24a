"""Deciding again after a lost race: on fresh data, a bounded number of times, with jitter, and measured."""

from collections.abc import Callable
from typing import TypeVar

from aws_lambda_powertools import Logger

from control_plane.domain.errors import ServerException
from control_plane.domain.races import LostRace
from control_plane.flows import metrics
from control_plane.runtime import ControlPlane

T = TypeVar("T")
ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5

logger = Logger(child=True)


def until_won(cp: ControlPlane, decide_and_commit: Callable[[int], T]) -> T:
    """Call with the attempt's number (0 at first) until it raises no LostRace; the last one is raised."""
    for attempt in range(ATTEMPTS):
        try:
            return decide_and_commit(attempt)
        except LostRace as race:
            lost = {"race": type(race).__name__, "attempt": attempt}
            if attempt == ATTEMPTS - 1:
                logger.warning("Lost too many races", extra={**lost, **metrics.one(cp, "LostRaces", "RacesGivenUp")})
                raise
            logger.info("Lost a race, deciding again", extra={**lost, **metrics.one(cp, "LostRaces")})
            cp.sleep(cp.random() * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt))
    raise AssertionError("unreachable: the last attempt returns or raises")


def until_answered(cp: ControlPlane, decide_and_commit: Callable[[int], T], *, what: str) -> T:
    """The same for whoever asks through the ECS API: `what` is changing too often, if every race is lost.

    Raises ServerException.
    """
    try:
        return until_won(cp, decide_and_commit)
    except LostRace as race:
        raise ServerException(f"The {what} is changing too often. Try again.") from race
