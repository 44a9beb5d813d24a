"""A control group for each task with limits of its own: what its containers may not exceed together.

<mount of the controller>/ecs-anywhere/<task id>, under which Docker makes those of the containers. As with Amazon's
agent, which has `/ecs/<task id>`.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from ecs_anywhere_agent.container_spec import MIN_CPU_SHARES, TaskLimits
from ecs_anywhere_agent.runtime.cgroups import Cgroups, Limits

_PARENT = "/ecs-anywhere"


class TaskCgroups(NamedTuple):
    """Where Docker and this agent see the same control groups, and the agent may make some."""

    cgroups: Cgroups

    @classmethod
    def find(cls, info: Mapping[str, Any], root: Path = Path("/sys/fs/cgroup")) -> Self | None:
        """None: systemd makes Docker's groups, or this user may make none beside Docker's.

        `info` is the Engine's.
        """
        if info.get("CgroupDriver") != "cgroupfs":
            return None
        version = 2 if (root / "cgroup.controllers").exists() else 1
        parents = [root if version == 2 else root / controller for controller in ("cpu", "memory")]
        cpu, memory = (parent / _PARENT.lstrip("/") for parent in parents)
        found = cls(Cgroups(version, cpu, memory))
        with suppress(OSError):
            for parent, directory in zip(parents, (cpu, memory), strict=True):
                if not parent.is_dir():
                    return None
                directory.mkdir(exist_ok=True)
                if version == 2:
                    for each in (parent, directory):
                        (each / "cgroup.subtree_control").write_text("+cpu +memory")
            # Whether it may be limited shows only when it is done.
            probe = "probe"
            found._put(probe, Limits())
            found.remove(probe)
            return found
        return None

    def prepare(self, task_id: str, limits: TaskLimits) -> str | None:
        """The group that a task's containers belong into, made if it is not there; None: the task has no limits.

        Safe to repeat, and necessary before a container is started again: a reboot takes it away, and Docker would make
        one without limits. Raises OSError.
        """
        cpu, memory = limits
        if cpu is None and memory is None:
            return None
        shares = MIN_CPU_SHARES if cpu is None else max(cpu, MIN_CPU_SHARES)
        self._put(task_id, Limits(cpu_shares=shares, cpu_limit=cpu, memory_limit=memory, may_swap=True))
        return f"{_PARENT}/{task_id}"

    def remove(self, task_id: str) -> None:
        """If it is there, and nothing is in it any more."""
        for directory in {self.cgroups.cpu / task_id, self.cgroups.memory / task_id}:
            with suppress(OSError):
                directory.rmdir()

    def _put(self, name: str, limits: Limits) -> None:
        cpu, memory = self.cgroups.cpu / name, self.cgroups.memory / name
        for directory in {cpu, memory}:
            directory.mkdir(parents=True, exist_ok=True)
        if self.cgroups.version == 1:
            with suppress(OSError):  # newer kernels have nothing else
                (memory / "memory.use_hierarchy").write_text("1")
        self.cgroups.limit(cpu, memory, limits)
