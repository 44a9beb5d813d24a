"""What a stream's content comes from: a container's log, or a command in it."""

from collections.abc import Callable
from typing import Protocol

from ecs_anywhere_agent.streams.session import InputTaken, SourceEnded, Written
from ecs_protocol.streams import TerminalSize

Emit = Callable[[Written | InputTaken | SourceEnded], None]
"""Waits while too much waits already; from any thread but the one that calls the source."""


class SourceError(Exception):
    """It cannot be begun; the text says why, and goes to the operator."""


class Source(Protocol):
    """One thread calls it, and never waits for it."""

    def begin(self, terminal: TerminalSize | None, emit: Emit) -> None:
        """Emits what comes, and SourceEnded once nothing will. Raises SourceError."""

    def give(self, number: int, content: bytes, *, end: bool) -> None:
        """To its stdin; InputTaken follows. `end`: nothing comes after it."""

    def resize(self, terminal: TerminalSize) -> None: ...

    def end(self) -> None:
        """End what runs; SourceEnded follows. Also before `begin`, and more than once."""
