"""CPU and memory limits for processes, where this user may make a cgroup (v1 or v2).

<base>/ecs-anywhere/<task id>-<container>     of a task without limits of its own
<base>/ecs-anywhere/<task id>/<container>     of one with limits, which its containers share
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from ecs_anywhere_agent.container_spec import MIN_CPU_SHARES, ContainerSpec, TaskLimits
from ecs_anywhere_agent.core.values import ContainerRef

_EMPTYING_SECONDS = 2.0
_MEBIBYTE = 1024 * 1024
_NANOSECONDS = 1_000_000_000
_PERIOD_MICROSECONDS = 100_000


class Limits(NamedTuple):
    """Of one container; see ContainerSpec."""

    cpu_shares: int = MIN_CPU_SHARES
    cpu_limit: int | None = None
    memory_limit: int | None = None
    memory_reservation: int | None = None
    may_swap: bool = False

    @classmethod
    def of(cls, spec: ContainerSpec) -> Self:
        """The container's own."""
        return cls(spec.cpu_shares, None, spec.memory_limit, spec.memory_reservation)

    @classmethod
    def of_task(cls, limits: TaskLimits) -> Self | None:
        if limits.cpu is None and limits.memory is None:
            return None
        shares = max(limits.cpu or 0, MIN_CPU_SHARES)
        return cls(shares, cpu_limit=limits.cpu, memory_limit=limits.memory, may_swap=True)


class Usage(NamedTuple):
    """What a container uses, or has used."""

    cpu_nanoseconds: int
    memory_bytes: int
    memory_limit_bytes: int
    """Without one of its own: the machine's memory."""
    processes: int


class Cgroups(NamedTuple):
    """Where the groups are made: one base for v2, one for each of cpu and memory for v1."""

    version: int
    cpu: Path
    memory: Path

    def make(self, ref: ContainerRef, limits: Limits, of_task: Limits | None = None) -> tuple[str, ...]:
        """The `cgroup.procs` files to join. What was there is gone, with what it counted. Raises OSError."""
        self.remove(ref)
        if of_task is not None:
            self.make_for_task(ref.task_id, of_task)
        cpu, memory = self._directories(ref)
        for directory in {cpu, memory}:
            directory.mkdir(parents=True, exist_ok=True)
        self.limit(cpu, memory, limits)
        return tuple(str(directory / "cgroup.procs") for directory in sorted({cpu, memory}))

    def make_for_task(self, task_id: str, limits: Limits) -> None:
        """What its containers' groups are made in. Safe to repeat. Raises OSError."""
        cpu, memory = self.cpu / task_id, self.memory / task_id
        for directory in {cpu, memory}:
            directory.mkdir(parents=True, exist_ok=True)
        if self.version == 1:
            with suppress(OSError):  # newer kernels have nothing else
                (memory / "memory.use_hierarchy").write_text("1")
        else:
            (cpu / "cgroup.subtree_control").write_text("+cpu +memory")
        self.limit(cpu, memory, limits)

    def remove_for_task(self, task_id: str) -> None:
        """After its last container's: one that is not empty stays."""
        for directory in {self.cpu / task_id, self.memory / task_id}:
            with suppress(OSError):
                directory.rmdir()

    def limit(self, cpu: Path, memory: Path, limits: Limits) -> None:
        """Raises OSError."""
        if self.version == 1:
            self._limit_v1(cpu, memory, limits)
        else:
            self._limit_v2(cpu, limits)

    def remove(self, ref: ContainerRef) -> None:
        """With whatever is still in it."""
        for directory in self._directories(ref):
            deadline = time.monotonic() + _EMPTYING_SECONDS
            while directory.exists() and time.monotonic() < deadline:
                with suppress(OSError):
                    for pid in (directory / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                    directory.rmdir()
                    break
                time.sleep(0.01)

    def killed_for_memory(self, ref: ContainerRef) -> bool:
        directory = self._directories(ref)[1]
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        with suppress(OSError):
            for line in (directory / name).read_text().splitlines():
                word, _, count = line.partition(" ")
                if word == "oom_kill":
                    return int(count) > 0
        return False

    def usage(self, ref: ContainerRef) -> Usage:
        """Raises OSError, ValueError."""
        cpu, memory = self._directories(ref)
        pids = [int(pid) for pid in (cpu / "cgroup.procs").read_text().split()]
        if self.version == 1:
            used, limit = "memory.usage_in_bytes", "memory.limit_in_bytes"
            accounted = cpu / "cpuacct.usage"  # not there where the two controllers are mounted apart
            nanoseconds = int(accounted.read_text()) if accounted.exists() else _cpu_nanoseconds(pids)
        else:
            used, limit = "memory.current", "memory.max"
            counts = dict(line.split() for line in (cpu / "cpu.stat").read_text().splitlines())
            nanoseconds = int(counts["usage_usec"]) * 1000
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        given = (memory / limit).read_text().strip()
        return Usage(
            cpu_nanoseconds=nanoseconds,
            memory_bytes=int((memory / used).read_text()),
            memory_limit_bytes=machine if given == "max" else min(int(given), machine),
            processes=len(pids),
        )

    def _directories(self, ref: ContainerRef) -> tuple[Path, Path]:
        within = self.memory / ref.task_id
        name = f"{ref.task_id}/{ref.name}" if within.is_dir() else f"{ref.task_id}-{ref.name}"
        return self.cpu / name, self.memory / name

    @staticmethod
    def _limit_v1(cpu: Path, memory: Path, limits: Limits) -> None:
        (cpu / "cpu.shares").write_text(str(limits.cpu_shares))
        if limits.cpu_limit:
            (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_MICROSECONDS))
            (cpu / "cpu.cfs_quota_us").write_text(str(limits.cpu_limit * _PERIOD_MICROSECONDS // 1024))
        if limits.memory_limit:
            limit = str(limits.memory_limit * _MEBIBYTE)
            (memory / "memory.limit_in_bytes").write_text(limit)
            if not limits.may_swap:
                with suppress(OSError):  # a kernel without accounting of swap has no such file
                    (memory / "memory.memsw.limit_in_bytes").write_text(limit)
        if limits.memory_reservation:
            (memory / "memory.soft_limit_in_bytes").write_text(str(limits.memory_reservation * _MEBIBYTE))

    @staticmethod
    def _limit_v2(directory: Path, limits: Limits) -> None:
        weight = 1 + (limits.cpu_shares - 2) * 9999 // 262142
        (directory / "cpu.weight").write_text(str(min(max(weight, 1), 10_000)))
        if limits.cpu_limit:
            quota = limits.cpu_limit * _PERIOD_MICROSECONDS // 1024
            (directory / "cpu.max").write_text(f"{quota} {_PERIOD_MICROSECONDS}")
        if limits.memory_limit:
            (directory / "memory.max").write_text(str(limits.memory_limit * _MEBIBYTE))
            if not limits.may_swap:
                with suppress(OSError):
                    (directory / "memory.swap.max").write_text("0")
        if limits.memory_reservation:
            (directory / "memory.low").write_text(str(limits.memory_reservation * _MEBIBYTE))


def _cpu_nanoseconds(pids: Iterable[int]) -> int:
    """Of processes that run, and of their children that have ended."""
    seconds = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(psutil.Process(pid).cpu_times()[:4])
    return round(seconds * _NANOSECONDS)


def find_cgroups(root: Path = Path("/sys/fs/cgroup")) -> Cgroups | None:
    """None: this user may make none here, so nothing can be limited."""
    with suppress(OSError):
        if (root / "cgroup.controllers").exists():
            return _find_v2(root)
        return _find_v1(root)
    return None


def _find_v1(root: Path) -> Cgroups | None:
    own = _own_groups()
    bases = []
    for controller in ("cpu", "memory"):
        mounted = root / controller
        candidates = (mounted / own.get(controller, "").lstrip("/"), mounted)
        base = next((found for candidate in candidates if (found := _try(candidate)) is not None), None)
        if base is None or not (base / ("cpu.shares" if controller == "cpu" else "memory.limit_in_bytes")).exists():
            return None
        bases.append(base)
    return Cgroups(1, bases[0], bases[1])


def _find_v2(root: Path) -> Cgroups | None:
    own = root / _own_groups().get("", "").lstrip("/")
    for candidate in (root, own):
        base = _try(candidate)
        if base is None:
            continue
        with suppress(OSError):
            for parent in (candidate, base):
                (parent / "cgroup.subtree_control").write_text("+cpu +memory")
            return Cgroups(2, base, base)
    return None


def _try(parent: Path) -> Path | None:
    base = parent / "ecs-anywhere"
    with suppress(OSError):
        base.mkdir(exist_ok=True)
        return base if os.access(base, os.W_OK) else None
    return None


def _own_groups() -> dict[str, str]:
    """Controller ("" for v2) to this process's group."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups
