"""Ctrl-C, SIGTERM and SIGHUP at any point: what was started is ended, and the ending itself is not interrupted.

A signal becomes a KeyboardInterrupt, but not within `unbroken()`: there it waits until the block is left, so that
nothing is started without being noted, and nothing is half cleaned up.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODE = 128 + signal.SIGINT

PATIENCE_SECONDS = 2.0
"""Signals so soon after one that was acted upon are impatience, and would only break off the ending."""


class _Interrupts:
    depth = 0
    waiting = False
    last = float("-inf")


def install() -> None:
    """From here on the three signals are one; but `nohup` keeps its meaning."""
    _Interrupts.last = float("-inf")
    for number in SIGNALS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def ignore() -> None:
    """All is done but Python's own end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def unbroken(*, ending: bool = False) -> Iterator[None]:
    """No KeyboardInterrupt within; one that came is raised at the end, unless this was the ending already."""
    _Interrupts.depth += 1
    try:
        yield
    finally:
        _Interrupts.depth -= 1
        if ending:
            _Interrupts.waiting = False
    if _Interrupts.waiting and not _Interrupts.depth:
        _interrupt()


def _handle(*_: Any) -> None:
    if _Interrupts.depth:
        _Interrupts.waiting = True
    elif time.monotonic() - _Interrupts.last > PATIENCE_SECONDS:
        _interrupt()


def _interrupt() -> None:
    _Interrupts.waiting = False
    _Interrupts.last = time.monotonic()
    raise KeyboardInterrupt
