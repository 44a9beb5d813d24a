"""A control group for each task with limits of its own: what its containers may not exceed together.

<mount of the controller>/ecs-anywhere/<task id>, under which Docker makes those of the containers. As with Amazon's
agent, which has `/ecs/<task id>`.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from ecs_anywhere_agent.container_spec import TaskLimits
from ecs_anywhere_agent.runtime.cgroups import Cgroups, Limits
from ecs_anywhere_agent.runtime.docker_labels import task_id_of, task_limits_of

_log = logging.getLogger(__name__)
_PARENT, _PROBE = "/ecs-anywhere", "probe"


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
            found.cgroups.make_for_task(_PROBE, Limits(cpu_limit=1024, memory_limit=64, may_swap=True))
            found.cgroups.remove_for_task(_PROBE)
            return found
        return None

    def prepare(self, task_id: str, limits: TaskLimits) -> str | None:
        """The group that a task's containers belong into, made if it is not there; None: the task has no limits.

        Safe to repeat. Raises OSError.
        """
        of_task = Limits.of_task(limits)
        if of_task is None:
            return None
        self.cgroups.make_for_task(task_id, of_task)
        return f"{_PARENT}/{task_id}"

    def restore(self, inspected: Mapping[str, Any]) -> None:
        """Before a container is started again: a reboot takes its group away, and Docker would make one without limits.

        `inspected` is the container's. One that cannot be limited any more runs all the same.
        """
        task_id = task_id_of(labels := inspected["Config"]["Labels"])
        if task_id is not None and inspected["HostConfig"].get("CgroupParent"):
            try:
                self.prepare(task_id, task_limits_of(labels))
            except OSError as error:
                _log.warning("the limits of task %s cannot be set: %s", task_id, error)

    def remove(self, task_id: str) -> None:
        """If nothing is in it any more."""
        self.cgroups.remove_for_task(task_id)
