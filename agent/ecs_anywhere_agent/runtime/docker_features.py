"""What this machine's Docker Engine can do, in the words of the table of capabilities.

Pure, but for whether there is a journal. https://docs.docker.com/reference/api/engine/version/v1.41/#tag/System/operation/SystemInfo
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.endpoint.endpoint import LOGS_BY_ROLE
from ecs_anywhere_agent.runtime import pause_program
from ecs_protocol.capabilities import DOCKER_FEATURES, LOG_DRIVERS, VOLUME_DRIVER

_JOURNAL = Path("/run/systemd/journal/socket")
_ROUTES_LOGS = frozenset({"firelens", "firelens-s3", "firelens-secrets", "log-driver-awsfirelens"})
"""Through the Engine's own driver for Fluentd."""


def features_of(
    info: Mapping[str, Any],
    *,
    limits_tasks: bool,
    gpus: bool = False,
    served: frozenset[str] = frozenset(),
    routes_logs: bool = False,
    journal: Path = _JOURNAL,
) -> frozenset[str]:
    """`info` is the Engine's; `limits_tasks`: the agent may make a control group for each task; `gpus`: there are some
    that it can give to containers; `served` are those of the local endpoint, where awslogs gets its credentials;
    `routes_logs`: there is a place for the sockets of log routers."""
    of_gpus = frozenset({"gpu"} if gpus else ())
    works = {"awslogs": LOGS_BY_ROLE in served, "journald": journal.exists()}
    of_logs = frozenset(f"log-driver-{each}" for each in _log_drivers(info) if works.get(each, True))
    of_routers = _ROUTES_LOGS if routes_logs and "log-driver-fluentd" in of_logs else frozenset()
    return DOCKER_FEATURES | of_gpus | of_logs | of_routers | served | frozenset(_of_machine(info, limits_tasks))


def is_rootless(info: Mapping[str, Any]) -> bool:
    """Its containers' network is behind one of its own, which no address of the machine leads out of."""
    return any("name=rootless" in option for option in info.get("SecurityOptions") or ())


def _log_drivers(info: Mapping[str, Any]) -> Iterator[str]:
    yield from (each for each in (info.get("Plugins") or {}).get("Log") or () if each in LOG_DRIVERS)


def _of_machine(info: Mapping[str, Any], limits_tasks: bool) -> Iterator[str]:
    for driver in (info.get("Plugins") or {}).get("Volume") or ():
        # A managed plugin has a tag, which a task definition need not name.
        yield from (f"{VOLUME_DRIVER}{driver}", f"{VOLUME_DRIVER}{driver.partition(':')[0]}")
    security = {
        part.removeprefix("name=")
        for option in info.get("SecurityOptions") or ()
        for part in option.split(",")
        if part.startswith("name=")
    }
    yield from security & {"apparmor", "selinux"}
    if (info.get("InitCommit") or {}).get("ID") != "N/A":
        yield "init-process"
    if info.get("SwapLimit"):
        yield "swap"
        if info.get("CgroupVersion") != "2":  # the second has nothing like it
            yield "swappiness"
    if pause_program.is_known():
        yield "task-namespaces"
    if limits_tasks:
        yield "task-limits"
