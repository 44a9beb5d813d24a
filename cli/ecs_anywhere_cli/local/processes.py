"""Background processes that outlive the command that started them.

Each holds an exclusive lock on a file with its pid in it: the kernel lets go of the lock when the process dies, so
that a pid that now is somebody else's is never mistaken for it.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecs_anywhere_cli.problem import ProblemError

_POLL_SECONDS = 0.05


def holder(lock: Path) -> int | None:
    """The pid of the process that holds the lock; None if nobody does."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 20).decode().strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def hold(lock: Path) -> int:
    """Take the lock for as long as this process lives; the descriptor. Raises BlockingIOError."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for attempts_left in reversed(range(10)):  # `holder` may be looking: it locks for a moment, too
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not attempts_left:
                os.close(descriptor)
                raise
            time.sleep(_POLL_SECONDS)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def end(lock: Path, *, within_seconds: float, signal_number: int = signal.SIGTERM) -> bool:
    """Signal the process that holds the lock and wait until it is gone; killed if it takes too long.

    False if there was none.
    """
    pid = holder(lock)
    if pid is None:
        return False
    _signal(lock, pid, signal_number)
    deadline = time.monotonic() + within_seconds
    while holder(lock) == pid:
        if time.monotonic() > deadline:
            _signal(lock, pid, signal.SIGKILL)
            deadline += within_seconds
        _reap(pid)
        time.sleep(_POLL_SECONDS)
    _reap(pid)
    return True


def start(command: Sequence[str], *, environment: Mapping[str, str], log: Path, directory: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that the terminal's Ctrl-C does not reach it; the log of the last run is kept."""
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run(command: Sequence[str], *, what: str, environment: Mapping[str, str], log: Path, directory: Path) -> None:
    """Until it ends. An interrupt ends it and all that it started. Raises ProblemError with the end of its log."""
    started = start(command, environment=environment, log=log, directory=directory)
    try:
        status = started.wait()
    except BaseException:
        _end_group(started)
        raise
    if status != 0:
        raise ProblemError(f"{what} failed (exit status {status}):\n\n{last_lines(log)}\n\nThe whole log: {log}")


def last_lines(log: Path, count: int = 20) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _end_group(started: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(timeout=5)


def _signal(lock: Path, pid: int, number: int) -> None:
    """Through a pidfd: between looking and signalling the pid may have become another process's."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if holder(lock) == pid:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _reap(pid: int) -> None:
    """If it is our own child."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
