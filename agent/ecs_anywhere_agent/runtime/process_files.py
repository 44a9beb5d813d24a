"""The files of one process container, and the keeper that they name."""

import errno
import json
import os
import select
import signal
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.container_spec import Origin
from ecs_anywhere_agent.core.events import Condition, ContainerSnapshot
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.keeper import signal_session, start_time
from ecs_protocol.messages import NetworkBinding

SPEC, KEEPER, CHILD, EXIT, LOG = "spec.json", "keeper.json", "child.json", "exit.json", "log"
_STARTING_SECONDS = 5.0
_DYING_SECONDS = 10.0

REBOOTED = "The machine was restarted; the exit code is not known."
KEEPER_LOST = "The process that kept the exit code was killed; the exit code is not known."


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write(path: Path, text: str) -> None:
    """All or nothing."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.rename(path)


def read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_snapshot(ref: ContainerRef, directory: Path) -> ContainerSnapshot | None:
    """None: it was never wholly created."""
    spec = read(directory / SPEC)
    if spec is None:
        return None
    snapshot = ContainerSnapshot(
        ref,
        Condition.CREATED,
        bindings=tuple(NetworkBinding.model_validate(binding) for binding in spec["bindings"]),
        origin=Origin(*spec["origin"]),
    )
    keeper = read(directory / KEEPER)
    if keeper is None or start_failure(directory) is not None:
        return snapshot
    alive = _wait_till_started(directory)
    child = read(directory / CHILD) or {}
    snapshot = replace(
        snapshot,
        runtime_id=f"{child.get('pid', 0)}.{child.get('startTime', 0)}",
        started_at=_time(child.get("startedAt")),
    )
    ended = read(directory / EXIT)
    if alive and ended is None:
        return replace(snapshot, condition=Condition.RUNNING)
    if ended is not None:
        return replace(
            snapshot,
            condition=Condition.EXITED,
            exit_code=ended.get("exitCode"),
            finished_at=_time(ended.get("finishedAt")),
        )
    if keeper["bootId"] != boot_id():
        return replace(snapshot, condition=Condition.EXITED, reason=REBOOTED)
    if child:
        signal_session(child["pid"], signal.SIGKILL)
    return replace(snapshot, condition=Condition.EXITED, reason=KEEPER_LOST)


def because(snapshot: ContainerSnapshot, reason: str) -> ContainerSnapshot:
    return replace(snapshot, reason=reason)


def start_failure(directory: Path) -> str | None:
    """Why the process could not be made, if so."""
    ended = read(directory / EXIT)
    if ended is None or "failed" not in ended:
        return None
    spec = read(directory / SPEC) or {}
    about = {"exec": spec.get("argv", ["?"])[0], "workingDirectory": spec.get("working_directory", "?")}
    stage = ended["failed"]
    return f"{stage}: {about[stage] + ': ' if stage in about else ''}{os.strerror(ended['errno'] or errno.EINVAL)}"


def session(directory: Path) -> int:
    return int((read(directory / CHILD) or {}).get("pid", 0))


def open_keeper(directory: Path) -> int | None:
    """A pidfd of the living keeper; the caller closes it."""
    keeper = read(directory / KEEPER)
    if keeper is None or keeper["bootId"] != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(keeper["pid"])
    except OSError:
        return None
    # The pid is held by the pidfd now: if the start time is the keeper's, no other process can slip in.
    if start_time(keeper["pid"]) == keeper["startTime"] and not _has_ended(pidfd):
        return pidfd
    os.close(pidfd)
    return None


def ask_keeper_to_stop(directory: Path, *, kill: bool) -> bool:
    """False: there is no living keeper."""
    pidfd = open_keeper(directory)
    if pidfd is None:
        return False
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1 if kill else signal.SIGTERM)
    os.close(pidfd)
    return True


def kill_and_wait(directory: Path) -> None:
    pidfd = open_keeper(directory)
    if pidfd is None:
        return
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
    _has_ended(pidfd, _DYING_SECONDS)
    os.close(pidfd)


def _wait_till_started(directory: Path) -> bool:
    """Whether the keeper lives; one that has just been made gets the time to make its process."""
    pidfd = open_keeper(directory)
    if pidfd is None:
        return False
    if not (directory / CHILD).exists():
        waited = 0.0
        while waited < _STARTING_SECONDS and not (directory / CHILD).exists() and not _has_ended(pidfd, 0.01):
            waited += 0.01
    alive = not _has_ended(pidfd)
    os.close(pidfd)
    return alive


def _has_ended(pidfd: int, timeout_seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
