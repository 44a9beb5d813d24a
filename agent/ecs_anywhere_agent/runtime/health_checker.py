"""Runs the health checks of all process containers, on one thread that sleeps until a check is due or has ended."""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ecs_anywhere_agent.container_spec import HealthCheck
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.health import Health
from ecs_protocol.statuses import HealthStatus

_GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")
"""Waits for a line before it becomes the probe, so that nothing of the probe comes before the limits."""


class Probe(NamedTuple):
    """What a check runs: in the container's place, as its user, under its limits."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str
    user: tuple[int, int, list[int]] | None
    cgroup_procs: tuple[str, ...]

    def start(self) -> "subprocess.Popen[bytes]":
        """In a session of its own. Raises OSError, SubprocessError."""
        uid, gid, groups = self.user or (None, None, None)
        process = subprocess.Popen(
            (*_GATE, *self.argv) if self.cgroup_procs else self.argv,
            cwd=self.working_directory,
            env=self.environment,
            user=uid,
            group=gid,
            extra_groups=groups,
            stdin=subprocess.PIPE if self.cgroup_procs else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if process.stdin is not None:
            for procs in self.cgroup_procs:
                with suppress(OSError):  # a check without limits is better than a failed one
                    Path(procs).write_text(str(process.pid))
            with suppress(BrokenPipeError), process.stdin as gate:
                gate.write(b"\n")
        return process


def probe_of(spec: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[HealthCheck, Probe]:
    """From spec.json, which has a health check."""
    check = HealthCheck(*spec["health_check"])
    form, *words = check.command
    argv = (("/bin/sh", "-c") if form == "CMD-SHELL" else ()) + tuple(words)
    return check, Probe(argv, environment, spec["working_directory"], spec["user"], tuple(spec["cgroup_procs"]))


@dataclass
class _Checked:
    """One run of a container."""

    run: str
    probe: Probe
    health: Health


@dataclass
class _Running:
    """One probe on its way; whose run may be over."""

    ref: ContainerRef
    checked: _Checked
    process: "subprocess.Popen[bytes]"
    began: float
    overdue: bool = False

    @property
    def deadline(self) -> float:
        return self.began + self.checked.health.check.timeout


class HealthChecker:
    """Calls `changed(ref)`, on its own thread, when the health of a container has changed."""

    def __init__(self, changed: Callable[[ContainerRef], None]) -> None:
        self._changed = changed
        self._epoll = select.epoll()
        self._wake = os.eventfd(0)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._lock = threading.Lock()
        self._checked: dict[ContainerRef, _Checked] = {}
        self._running: dict[int, _Running] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def check(self, ref: ContainerRef, run: str, check: HealthCheck, probe: Probe, age: float) -> HealthStatus:
        """Check this run from now on, unless it is checked already; its health now. `age`: of the run, in seconds."""
        with self._lock:
            checked = self._checked.get(ref)
            if checked is None or checked.run != run:
                self._kill_probe(ref)
                checked = _Checked(run, probe, Health.of_run(check, time.monotonic(), age))
                self._checked[ref] = checked
                os.eventfd_write(self._wake, 1)
            return checked.health.status

    def forget(self, ref: ContainerRef) -> None:
        """Check no more."""
        with self._lock:
            if self._checked.pop(ref, None) is not None:
                self._kill_probe(ref)

    def close(self) -> None:
        self._closing = True
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join()
        for descriptor, running in self._running.items():
            _kill(running.process)
            running.process.wait()
            os.close(descriptor)
        os.close(self._wake)
        self._epoll.close()

    def _run(self) -> None:
        while True:
            ended = self._epoll.poll(self._pause())
            if self._closing:
                return
            changed: list[ContainerRef] = []
            with self._lock:
                for descriptor, _ in ended:
                    if descriptor == self._wake:
                        os.eventfd_read(self._wake)
                    else:
                        self._finish(descriptor, changed)
                now = time.monotonic()
                for running in self._running.values():
                    if running.deadline <= now and not running.overdue:
                        running.overdue = True
                        _kill(running.process)
                busy = {running.ref for running in self._running.values()}
                for ref, checked in self._checked.items():
                    if checked.health.due <= now and ref not in busy:
                        self._begin(ref, checked, changed)
            for ref in changed:
                self._changed(ref)

    def _pause(self) -> float | None:
        """Seconds; None: till somebody wakes us."""
        with self._lock:
            busy = {running.ref for running in self._running.values()}
            times = [checked.health.due for ref, checked in self._checked.items() if ref not in busy]
            times += [running.deadline for running in self._running.values() if not running.overdue]
            return max(0.0, min(times) - time.monotonic()) if times else None

    def _begin(self, ref: ContainerRef, checked: _Checked, changed: list[ContainerRef]) -> None:
        began = time.monotonic()
        try:
            process = checked.probe.start()
        except (OSError, subprocess.SubprocessError):
            self._take(ref, checked, began, changed, passed=False)
            return
        descriptor = os.pidfd_open(process.pid)
        self._running[descriptor] = _Running(ref, checked, process, began)
        self._epoll.register(descriptor, select.EPOLLIN)

    def _finish(self, descriptor: int, changed: list[ContainerRef]) -> None:
        running = self._running.pop(descriptor)
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        _kill(running.process)  # what it left behind: until it is waited for, the number of its group is its own
        passed = running.process.wait() == 0  # what was killed has another
        self._take(running.ref, running.checked, running.began, changed, passed=passed)

    def _take(
        self, ref: ContainerRef, checked: _Checked, began: float, changed: list[ContainerRef], *, passed: bool
    ) -> None:
        before = checked.health.status
        checked.health = checked.health.after(began, time.monotonic(), passed=passed)
        if checked.health.status is not before and self._checked.get(ref) is checked:
            changed.append(ref)

    def _kill_probe(self, ref: ContainerRef) -> None:
        for running in self._running.values():
            if running.ref == ref:
                _kill(running.process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With its whole group; what is killed is not waited for."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
