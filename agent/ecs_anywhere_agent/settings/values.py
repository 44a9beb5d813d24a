"""How Amazon's agent reads the value of a variable: as Go does. Each raises ValueError for what it does not take.

https://github.com/aws/amazon-ecs-agent/blob/master/agent/config/parse.go
"""

import json
import re
from collections.abc import Callable
from typing import Any

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[-+]?(?:{_PART.pattern})+")
_TRUE, _FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}
_LARGEST_UINT16 = 65535


def duration(text: str) -> float:
    """Seconds of `1h30m`, `300ms`, `0`. https://pkg.go.dev/time#ParseDuration"""
    unsigned = text.lstrip("+-")
    if unsigned == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(unsigned))
    return -seconds if text.startswith("-") else seconds


def boolean(text: str) -> bool:
    """https://pkg.go.dev/strconv#ParseBool"""
    word = text.strip()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return word in _TRUE


def whole_number(text: str) -> int:
    if not re.fullmatch(r"[-+]?\d+", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def uint16(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _LARGEST_UINT16:
        raise ValueError(f"{text!r} is not a whole number from 0 to {_LARGEST_UINT16}")
    return int(text)


def percentage(text: str) -> int:
    number = whole_number(text)
    if not 0 <= number <= 100:
        raise ValueError(f"{text!r} is not a percentage from 0 to 100")
    return number


def ports(text: str) -> tuple[int, ...]:
    """An empty list is no value: Go cannot tell it from one that was not given."""
    found = _json(text, list, "a JSON array of ports such as [22, 80]")
    if not all(isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= _LARGEST_UINT16 for port in found):
        raise ValueError(f"{text!r} is not a JSON array of ports such as [22, 80]")
    if not found:
        raise ValueError(f"{text!r} names none")
    return tuple(found)


def words(text: str) -> tuple[str, ...]:
    found = _json(text, list, 'a JSON array of words such as ["json-file", "syslog"]')
    if not all(isinstance(word, str) for word in found):
        raise ValueError(f'{text!r} is not a JSON array of words such as ["json-file", "syslog"]')
    if not found:
        raise ValueError(f"{text!r} names none")
    return tuple(found)


def text_map(text: str) -> tuple[tuple[str, str], ...]:
    found = _json(text, dict, 'a JSON object of texts such as {"stack": "prod"}')
    if not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f'{text!r} is not a JSON object of texts such as {{"stack": "prod"}}')
    return tuple(found.items())


def commas(text: str) -> tuple[str, ...]:
    return tuple(part for each in text.split(",") if (part := each.strip()))


def rates(text: str) -> tuple[int, int]:
    """Steady state and burst, in requests a second."""
    parts = text.split(",")
    if len(parts) != 2:
        raise ValueError(f"{text!r} is not of the form rateLimit,burst")
    steady, burst = (whole_number(part.strip()) for part in parts)
    if steady <= 0 or burst <= 0:
        raise ValueError(f"{text!r} has a rate that is not above 0")
    return steady, burst


def at_least(minimum: float, read: Callable[[str], Any] = duration) -> Callable[[str], Any]:
    """What is less is no value, as with 0, which Go cannot tell from one that was not given."""

    def bounded(text: str) -> Any:
        value = read(text)
        if value < minimum:
            raise ValueError(f"{text!r} is less than {minimum:g}{' seconds' if read is duration else ''}")
        return value

    return bounded


def raised_to(minimum: float) -> Callable[[str], float]:
    """What is less is taken as the minimum; 0 is no value."""

    def bounded(text: str) -> float:
        value = duration(text)
        if value == 0:
            raise ValueError(f"{text!r} is no time at all")
        return max(value, minimum)

    return bounded


def positive(text: str) -> float:
    value = duration(text)
    if value <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return value


def one_of(*allowed: str) -> Callable[[str], str]:
    def chosen(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
        return text

    return chosen


def _json(text: str, kind: type, expected: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not {expected}") from error
    if not isinstance(found, kind):
        raise ValueError(f"{text!r} is not {expected}")
    return found
