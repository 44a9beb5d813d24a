"""The files of one process container, and the keeper that they name."""

import errno
import json
import os
import select
import signal
import time
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


def read_of_run(directory: Path, name: str) -> dict[str, Any] | None:
    """What the keeper of the newest run wrote; what an earlier one left behind is as good as not there."""
    keeper, content = read(directory / KEEPER), read(directory / name)
    if keeper is None or content is None:
        return None
    newest = f"{keeper['pid']}.{keeper['startTime']}"
    # A keeper that an earlier version of the agent made names itself nowhere, and its container has one run only.
    return content if content.get("keeper", newest) == newest else None


def forget_run(directory: Path) -> None:
    """Make room for the next run of a container that has ended.

    This is the only file operation between two runs, so that an agent that is killed leaves either the end of the last
    run or a container as if never started, and nothing in between: without keeper.json nobody reads what its keeper
    wrote (read_of_run), and the next keeper replaces each file when its time comes. To remove those files as well could
    hit the next keeper's: one that a killed agent has launched may claim keeper.json at any moment from now on.
    """
    (directory / KEEPER).unlink(missing_ok=True)


def read_snapshot(ref: ContainerRef, directory: Path) -> ContainerSnapshot | None:
    """None: it was never wholly created."""
    spec = read(directory / SPEC)
    if spec is None:
        return None
    snapshot = ContainerSnapshot(
        ref,
        Condition.CREATED,
        bindings=tuple(NetworkBinding.model_validate(binding) for binding in spec["bindings"]),
        origin=Origin.from_json(spec["origin"]),
    )
    keeper = read(directory / KEEPER)
    if keeper is None or start_failure(directory) is not None:
        return snapshot
    alive = _wait_till_started(directory)
    child = read_of_run(directory, CHILD)
    if child is not None:
        run = f"{child['pid']}.{child['startTime']}"
        snapshot = replace(snapshot, runtime_id=run, run=run, started_at=_time(child["startedAt"]))
    ended = read_of_run(directory, EXIT)
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
    if child is not None and start_time(child["pid"]) in {0, child["startTime"]}:
        signal_session(child["pid"], signal.SIGKILL)
    return replace(snapshot, condition=Condition.EXITED, reason=KEEPER_LOST)


def because(snapshot: ContainerSnapshot, reason: str) -> ContainerSnapshot:
    return replace(snapshot, reason=reason)


def start_failure(directory: Path) -> str | None:
    """Why the process could not be made, if so."""
    ended = read_of_run(directory, EXIT)
    if ended is None or "failed" not in ended:
        return None
    spec = read(directory / SPEC) or {}
    about = {"exec": spec.get("argv", ["?"])[0], "workingDirectory": spec.get("working_directory", "?")}
    stage = ended["failed"]
    return f"{stage}: {about[stage] + ': ' if stage in about else ''}{os.strerror(ended['errno'] or errno.EINVAL)}"


def session(directory: Path) -> int:
    return int((read_of_run(directory, CHILD) or {}).get("pid", 0))


def age(directory: Path) -> float:
    """Seconds since the process was made, on a clock that nobody sets."""
    ticks = (read_of_run(directory, CHILD) or {}).get("startTime", 0)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - float(ticks) / os.sysconf("SC_CLK_TCK")


def open_keeper(directory: Path) -> tuple[int, int] | None:
    """The living keeper: its pid, and a pidfd that the caller closes."""
    keeper = read(directory / KEEPER)
    if keeper is None or keeper["bootId"] != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(keeper["pid"])
    except OSError:
        return None
    # The pid is held by the pidfd now: if the start time is the keeper's, no other process can slip in.
    if start_time(keeper["pid"]) == keeper["startTime"] and not _has_ended(pidfd):
        return keeper["pid"], pidfd
    os.close(pidfd)
    return None


def ask_keeper_to_stop(directory: Path, *, kill: bool) -> bool:
    """False: there is no living keeper."""
    keeper = open_keeper(directory)
    if keeper is None:
        return False
    _, pidfd = keeper
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1 if kill else signal.SIGTERM)
    os.close(pidfd)
    return True


def kill_and_wait(directory: Path) -> None:
    keeper = open_keeper(directory)
    if keeper is None:
        return
    _, pidfd = keeper
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
    _has_ended(pidfd, _DYING_SECONDS)
    os.close(pidfd)


def _wait_till_started(directory: Path) -> bool:
    """Whether the keeper lives; one that has just been made gets the time to make its process."""
    keeper = open_keeper(directory)
    if keeper is None:
        return False
    _, pidfd = keeper
    waited = 0.0
    while read_of_run(directory, CHILD) is None and waited < _STARTING_SECONDS and not _has_ended(pidfd, 0.01):
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
