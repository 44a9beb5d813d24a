"""What the process runtime says of a container to the local endpoint.

Its statistics are those of its control group, in the shape of Docker's; where the agent may make none, there are none.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime import process_files
from ecs_anywhere_agent.runtime.cgroups import Cgroups
from ecs_anywhere_agent.runtime.view import CannotLookError, Seen

_NANOSECONDS = 1_000_000_000
_HOST: Mapping[str, Any] = {"NetworkMode": "host"}


class ProcessView:
    """See View."""

    def __init__(self, data_dir: Path, cgroups: Cgroups | None) -> None:
        self._root = data_dir / "containers"
        self._cgroups = cgroups

    def look(self, ref: ContainerRef, runtime_id: str | None) -> Seen | None:
        del runtime_id
        directory = self._root / ref.task_id / ref.name
        if not (directory / process_files.SPEC).exists():
            return None
        began = (process_files.read_of_run(directory, process_files.CHILD) or {}).get("startedAt")
        ended = (process_files.read_of_run(directory, process_files.EXIT) or {}).get("finishedAt")
        return Seen(docker_name=ref.name, started_at=_time(began), finished_at=_time(ended), networks=(_HOST,))

    def stats(self, ref: ContainerRef, runtime_id: str | None) -> Mapping[str, Any] | None:
        if self.look(ref, runtime_id) is None:
            return None
        if self._cgroups is None:
            raise CannotLookError("unable to get statistics: this machine's agent may make no control groups")
        try:
            usage = self._cgroups.usage(ref)
        except (OSError, ValueError) as error:
            raise CannotLookError("unable to get statistics of its control group") from error
        return {
            "read": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "name": ref.name,
            "id": runtime_id or "",
            "num_procs": 0,
            "pids_stats": {"current": usage.processes},
            "cpu_stats": {
                "cpu_usage": {"total_usage": usage.cpu_nanoseconds},
                "system_cpu_usage": _system_cpu_nanoseconds(),
                "online_cpus": os.cpu_count() or 1,
            },
            "memory_stats": {"usage": usage.memory_bytes, "limit": usage.memory_limit_bytes},
        }

    def close(self) -> None:
        """Nothing here waits for anybody."""


def _system_cpu_nanoseconds() -> int:
    """Of all processors since the machine started, as Docker counts it: the first seven columns."""
    ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    return sum(int(each) for each in ticks) * _NANOSECONDS // os.sysconf("SC_CLK_TCK")


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
