"""Processes that outlive the command: found again by pid and start time, so that nobody else's is ever ended.

And one that does not: `run` ends what it runs, with all that this has started.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from ecs_anywhere.files import write_whole
from ecs_anywhere.interrupts import unbroken

TOLERANCE_SECONDS = 0.05


def start(command: Sequence[str], *, log: Path, pid_file: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a process in a session of its own, its output in a log. Answers its pid."""
    with unbroken():
        process = _start(command, log.open("ab"), env)
        process.returncode = 0  # it is meant to outlive us: Python need not warn of that
        started = psutil.Process(process.pid).create_time()
        write_whole(pid_file, json.dumps({"pid": process.pid, "started": started}))
    return process.pid


def run(command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> int:
    """Run a command to its end, its output in a log. Answers its exit status."""
    process = None
    try:
        with unbroken():
            process = _start(command, log.open("wb"), env, cwd)
        while process.poll() is None:
            time.sleep(0.05)
        return process.returncode
    finally:
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(
    command: Sequence[str], output: BinaryIO, env: Mapping[str, str] | None, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    with output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(os.environ if env is None else env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def find(pid_file: Path) -> psutil.Process | None:
    """The process that a pid file names, if it is that process still and runs."""
    try:
        noted = json.loads(pid_file.read_text())
        process = psutil.Process(noted["pid"])
        same = abs(process.create_time() - noted["started"]) < TOLERANCE_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None


def end(
    pid_file: Path,
    *,
    wait_seconds: float = 30,
    signal_first: signal.Signals = signal.SIGTERM,
    with_session: bool = False,
) -> bool:
    """SIGTERM (or another signal), and SIGKILL if that does not help. Answers whether there was anything to end.

    What it has started is left alone or, `with_session`, given a second to follow it and ended then.
    """
    process = find(pid_file)
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal_first)
        _wait(process, wait_seconds)
        if find(pid_file) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            _wait(process, 5)
        if with_session:
            _end_session(process.pid)
    pid_file.unlink(missing_ok=True)
    return process is not None


def _end_session(session: int) -> None:
    """Its leader has ended. While others are in a session, its number is given to nobody else."""
    _, alive = psutil.wait_procs(_members(session), timeout=1)
    while alive or (alive := _members(session)):
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=1)


def _members(session: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def _wait(process: psutil.Process, seconds: float) -> None:
    """Until it has ended. Our own child is reaped; a stranger's only watched."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error's message."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
