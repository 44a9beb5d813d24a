"""Reading what a container of the process runtime has written."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from ecs_anywhere_agent.runtime import process_files
from ecs_anywhere_agent.runtime.log_cutting import first_byte

_BLOCK = 65536
_PAUSE_SECONDS = 0.1


def read_log(
    directory: Path, *, tail: int | None, follow: bool, closed: threading.Event | None = None
) -> Iterator[bytes]:
    """All, or the last lines of it; with `follow`, also what comes until the container has ended or is removed, or
    nobody wants more."""
    log = directory / process_files.LOG
    closed = closed or threading.Event()
    while follow and not log.exists() and not _ended(directory) and not closed.is_set():
        closed.wait(_PAUSE_SECONDS)
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with closing(file):
        first = first_byte(file)
        file.seek(first if tail is None else max(first, start_of_last(tail, file)))
        while True:
            # Asked before reading: what was written before the end is read after it.
            last = not follow or closed.is_set() or _ended(directory)
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)  # somebody has emptied it
            while block := file.read(_BLOCK):
                yield block
            if last:
                return
            closed.wait(_PAUSE_SECONDS)


def start_of_last(lines: int, file: BinaryIO) -> int:
    """Where the last lines begin; a last line may lack its end."""
    position = end = file.seek(0, os.SEEK_END)
    wanted = lines
    while position > 0:
        start = max(position - _BLOCK, 0)
        file.seek(start)
        block = file.read(position - start)
        found = len(block)
        if position == end and block.endswith(b"\n"):
            found -= 1  # ends the last line, begins none
        while wanted and (found := block.rfind(b"\n", 0, found)) >= 0:
            wanted -= 1
        if not wanted:
            return start + found + 1 if lines else end
        position = start
    return 0


def _ended(directory: Path) -> bool:
    """Whether it will write no more; one that has not been started yet will."""
    if not (directory / process_files.KEEPER).exists():
        return not directory.exists()
    keeper = process_files.open_keeper(directory)
    if keeper is None:
        return True
    os.close(keeper[1])
    return False
