"""Tags: Amazon's rules for them, and what three of them mean here.

    ecs-anywhere:disconnect        keep | replace-after=D [prefer=original|replacement] | stop-after=D
    ecs-anywhere:restart           offline | never
    ecs-anywhere:circuit-breaker   count-exits

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from control_plane.domain.errors import InvalidParameterException, LimitExceededException

DISCONNECT = "ecs-anywhere:disconnect"
RESTART = "ecs-anywhere:restart"
CIRCUIT_BREAKER = "ecs-anywhere:circuit-breaker"

MAX_TAGS = 50
MAX_KEY, MAX_VALUE = 128, 256
SHORTEST_STOP_AFTER = timedelta(seconds=60)
"""Two of the pings that keep a connection: a shorter time would stop tasks of machines that are well."""
LONGEST = timedelta(days=366)

_TEXT = re.compile(r"[\w\s+\-=.:/@]*")
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Prefer(StrEnum):
    """Which of two copies stays once the machine is back."""

    ORIGINAL = "original"
    REPLACEMENT = "replacement"


@dataclass(frozen=True)
class Absence:
    """What it means for a task that its machine is away."""

    kind: Literal["keep", "replace-after", "stop-after"] = "keep"
    after: timedelta = timedelta()
    prefer: Prefer = Prefer.ORIGINAL


KEEP = Absence()


def checked(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Tags of a request, by key. Raises InvalidParameterException."""
    if len(tags) > MAX_TAGS:
        raise InvalidParameterException(f"The maximum number of tags that can be applied to a resource is {MAX_TAGS}.")
    found: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("key", ""), tag.get("value") or ""
        if not 1 <= len(key) <= MAX_KEY or not _TEXT.fullmatch(key):
            raise InvalidParameterException(
                f"A tag key has 1 to {MAX_KEY} letters, numbers, spaces or characters of + - = . _ : / @, "
                f"but one is '{key}'."
            )
        if len(value) > MAX_VALUE or not _TEXT.fullmatch(value):
            raise InvalidParameterException(
                f"The value of tag {key} has at most {MAX_VALUE} letters, numbers, spaces or characters of "
                "+ - = . _ : / @."
            )
        _require_not_reserved(key)
        if key in found:
            raise InvalidParameterException(f"Duplicate tag keys found: {key}.")
        found[key] = value
    return found


def checked_keys(keys: Sequence[str]) -> frozenset[str]:
    """Keys of tags that are to go. Raises InvalidParameterException."""
    for key in keys:
        _require_not_reserved(key)
    return frozenset(keys)


def _require_not_reserved(key: str) -> None:
    if key.lower().startswith("aws:"):
        raise InvalidParameterException("Tag keys that begin with aws: are reserved for AWS.")


def require_room(tags: Mapping[str, str]) -> None:
    """Amazon ECS's own do not count. Raises LimitExceededException."""
    if sum(not key.lower().startswith("aws:") for key in tags) > MAX_TAGS:
        raise LimitExceededException(f"The maximum number of tags that can be applied to a resource is {MAX_TAGS}.")


def require_sense(tags: Mapping[str, str]) -> None:
    """What three of them say must be understood, wherever they are. Raises InvalidParameterException."""
    absence_of(tags)
    restarts_offline(tags, by_default=True)
    counts_exits(tags)


def require_same_policy(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """A task goes by what was said when it was started: nobody is to think it changed.

    Raises InvalidParameterException.
    """
    for key in (DISCONNECT, RESTART):
        if before.get(key) != after.get(key):
            raise InvalidParameterException(
                f"Tag {key} holds for a task from its start, and cannot be changed then. Give it to the service, or "
                "to RunTask."
            )


def require_no_policy(tags: Mapping[str, str]) -> None:
    """A task set's tasks go by what their service says. Raises InvalidParameterException."""
    for key in (DISCONNECT, RESTART, CIRCUIT_BREAKER):
        if key in tags:
            raise InvalidParameterException(f"Tag {key} says nothing of a task set. Give it to the service.")


def managed(cluster: str, service: str | None = None) -> dict[str, str]:
    """Those that Amazon ECS itself gives to a task, if asked to.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html
    """
    return {"aws:ecs:clusterName": cluster, **({"aws:ecs:serviceName": service} if service else {})}


def in_the_api(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """As the ECS API gives them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def absence_of(tags: Mapping[str, str]) -> Absence:
    """Raises InvalidParameterException."""
    text = tags.get(DISCONNECT)
    return KEEP if text is None else parse_absence(text)


def parse_absence(text: str) -> Absence:
    """Raises InvalidParameterException."""
    first, *others = text.split() or [""]
    kind, _, duration = first.partition("=")
    if kind == "keep" and first == "keep" and not others:
        return KEEP
    if kind == "replace-after":
        return Absence("replace-after", _duration(duration), _prefer(others))
    if kind == "stop-after" and not others:
        after = _duration(duration)
        if after < SHORTEST_STOP_AFTER:
            raise InvalidParameterException(
                f"Tag {DISCONNECT}: stop-after={duration} is too short: write at least "
                f"{int(SHORTEST_STOP_AFTER.total_seconds())}s."
            )
        return Absence("stop-after", after)
    raise InvalidParameterException(
        f"Tag {DISCONNECT}: '{text}' is not understood. Write keep, replace-after=10m, "
        "replace-after=10m prefer=replacement, or stop-after=10m."
    )


def restarts_offline(tags: Mapping[str, str], *, by_default: bool) -> bool:
    """Whether a machine that is cut off starts the task's containers again. Raises InvalidParameterException."""
    text = tags.get(RESTART)
    if text is None:
        return by_default
    if text not in {"offline", "never"}:
        raise InvalidParameterException(f"Tag {RESTART}: '{text}' is not understood. Write offline or never.")
    return text == "offline"


def counts_exits(tags: Mapping[str, str]) -> bool:
    """Whether a task that ends by itself soon after it ran is a failure of its deployment.

    Raises InvalidParameterException.
    """
    text = tags.get(CIRCUIT_BREAKER)
    if text not in {None, "count-exits"}:
        raise InvalidParameterException(f"Tag {CIRCUIT_BREAKER}: '{text}' is not understood. Write count-exits.")
    return text is not None


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    duration = timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else timedelta()
    if not timedelta() < duration <= LONGEST:
        raise InvalidParameterException(
            f"Tag {DISCONNECT}: '{text}' is no duration. Write a whole number with s, m, h or d, such as 90s or 10m, "
            f"up to {LONGEST.days}d."
        )
    return duration


def _prefer(words: Sequence[str]) -> Prefer:
    if not words:
        return Prefer.ORIGINAL
    name, _, value = words[0].partition("=")
    if len(words) > 1 or name != "prefer" or value not in set(Prefer):
        raise InvalidParameterException(
            f"Tag {DISCONNECT}: '{' '.join(words)}' is not understood. Write prefer=original or prefer=replacement."
        )
    return Prefer(value)
