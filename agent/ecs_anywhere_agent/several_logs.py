"""The logs of several containers as one."""

import queue
import threading
from collections.abc import Iterator, Sequence

from ecs_anywhere_agent.container_logs import ContainerLog, UnreadableLogError, Written

_PIECES_AHEAD = 64

Named = tuple[str, Written]


def read_several(
    logs: Sequence[ContainerLog], tail: int | None, follow: bool, since: float | None = None
) -> Iterator[Written]:
    """Whole lines, each with its container's name. Raises UnreadableLogError, OSError."""
    pieces = _together(logs, tail, since) if follow else _one_after_the_other(logs, tail, since)
    return by_line(pieces, max(len(log.ref.name) for log in logs))


def _one_after_the_other(logs: Sequence[ContainerLog], tail: int | None, since: float | None) -> Iterator[Named]:
    for log in logs:
        for written in log.read(tail, False, since):
            yield log.ref.name, written


def _together(logs: Sequence[ContainerLog], tail: int | None, since: float | None) -> Iterator[Named]:
    """As it comes. The threads end with their containers, or with the command."""
    pieces: queue.Queue[Named | UnreadableLogError | OSError | None] = queue.Queue(_PIECES_AHEAD)

    def follow(log: ContainerLog) -> None:
        try:
            for written in log.read(tail, True, since):
                pieces.put((log.ref.name, written))
            pieces.put(None)
        except (UnreadableLogError, OSError) as error:
            pieces.put(error)

    for log in logs:
        threading.Thread(target=follow, args=(log,), daemon=True).start()
    unfinished = len(logs)
    while unfinished:
        piece = pieces.get()
        if isinstance(piece, Exception):
            raise piece
        if piece is None:
            unfinished -= 1
        else:
            yield piece


def by_line(pieces: Iterator[Named], width: int) -> Iterator[Written]:
    """Whole lines, each with its container's name. Pure."""
    begun: dict[tuple[str, bool], bytes] = {}
    for name, written in pieces:
        *lines, begun[name, written.to_stderr] = (begun.get((name, written.to_stderr), b"") + written.content).split(
            b"\n"
        )
        for line in lines:
            yield Written(written.to_stderr, _prefix(name, width) + line + b"\n")
    for (name, to_stderr), line in begun.items():
        if line:
            yield Written(to_stderr, _prefix(name, width) + line + b"\n")


def _prefix(name: str, width: int) -> bytes:
    return f"{name.ljust(width)} | ".encode()
