"""One agent for each data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunningError(Exception):
    """Another agent uses the data directory."""


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Holds the directory's lock; the kernel lets go of it when the agent dies. Raises AlreadyRunningError."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(descriptor, 20).decode() or "?"
            raise AlreadyRunningError(
                f"Another agent (process {owner}) uses {data_dir}: stop it first, or give this one its own --data-dir"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
