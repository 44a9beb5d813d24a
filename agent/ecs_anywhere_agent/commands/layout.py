"""Text for people. Pure."""

from collections.abc import Sequence
from datetime import datetime

_UNITS = ((730 * 86400, 365 * 86400, "years"), (48 * 3600, 86400, "days"), (5400, 3600, "h"), (60, 60, "min"))
"""From how many seconds on, how many of them make one, and its name."""


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in which what is in one column stands under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    for least, unit, name in _UNITS:
        if seconds >= least:
            return f"{int(seconds // unit)} {name}"
    return f"{max(int(seconds), 0)} s"


def lasted(since: str, now: datetime) -> str:
    """How long ago a timestamp is."""
    return duration((now - datetime.fromisoformat(since)).total_seconds())
