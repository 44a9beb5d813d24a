"""From a container's spec to its process: what it may see, who it is, and the keeper that makes it."""

import grp
import marshal
import os
import pwd
import resource
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.runtime import keeper, process_files
from ecs_anywhere_agent.runtime.cgroups import Limits

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TELLING_SECONDS = 30.0
_LIMITED = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": 15,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}
"""The kernel's number of each name of the ECS API; two of them Python has no name for."""


_CAP_SYS_RESOURCE = 24


def may_raise_limits(status: Path = Path("/proc/self/status")) -> bool:
    """Whether a container gets whatever ulimits it asks for: root need not be able to, as in a container."""
    fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    return bool(int(fields["CapEff"], 16) >> _CAP_SYS_RESOURCE & 1)


class NotRunnableError(Exception):
    """The container cannot be a process of this machine; the text says why."""


def prepare(spec: ContainerSpec, cgroup_procs: tuple[str, ...]) -> dict[str, Any]:
    """What spec.json holds: all that is needed to start the process, and to adopt it. Raises NotRunnableError."""
    argv = (*spec.entry_point, *spec.command)
    if not argv:
        raise NotRunnableError(
            "No command specified: a process has no image to take one from; set command or entryPoint"
        )
    user, home = _identity(spec.user)
    return {
        "argv": argv,
        "environment": {
            "PATH": os.environ.get("PATH", _DEFAULT_PATH),
            "HOME": home,
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            **dict(spec.environment),
        },
        "working_directory": spec.working_directory or home,
        "user": user,
        "cgroup_procs": cgroup_procs,
        "limits": Limits.of(spec),
        "ulimits": [(_LIMITED[each.name], each.soft, each.hard) for each in spec.linux.ulimits],
        "task_limits": Limits.of_task(spec.task_limits),
        "health_check": spec.health_check,
        "image": spec.image,
        "origin": spec.origin.to_json(),
        "bindings": [
            {"bindIP": "0.0.0.0", "containerPort": port, "hostPort": port, "protocol": protocol}
            for port, _, protocol in spec.port_mappings
        ],
    }


def launch(directory: Path, environment: Mapping[str, str]) -> int | None:
    """Start a keeper and wait until it has said how it went. Its pid if it stays, to be waited for by the caller.

    `environment` is that of spec.json with what is sealed there.

    Raises OSError, ValueError if it says nothing.
    """
    spec = process_files.read(directory / process_files.SPEC)
    if spec is None:
        raise ValueError("the container was removed")
    order = {
        "directory": str(directory),
        "boot_id": process_files.boot_id(),
        "argv": spec["argv"],
        "environment": dict(environment),
        "working_directory": spec["working_directory"],
        "user": spec["user"],
        "cgroup_procs": spec["cgroup_procs"],
        "ulimits": spec.get("ulimits", []),  # a container that an earlier version of the agent made has none
        "stop_signal": int(signal.SIGTERM),
    }
    told, keeper_pid = _run_keeper(marshal.dumps(order))
    if told == b"started":
        return keeper_pid
    os.waitpid(keeper_pid, 0 if told else os.WNOHANG)
    if not told:
        raise ValueError("the process that was to be its parent did not say that it has started")
    return None


def _run_keeper(order: bytes) -> tuple[bytes, int]:
    """What the keeper says, and its pid."""
    order_out, order_in = os.pipe()
    told_out, told_in = os.pipe()
    try:
        keeper_pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", keeper.__file__],
            {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, order_out, 0),
                (os.POSIX_SPAWN_DUP2, told_in, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
        )
        os.close(told_in)
        told_in = -1
        with suppress(BrokenPipeError):
            os.write(order_in, order)
        os.close(order_in)
        order_in = -1
        poll = select.poll()
        poll.register(told_out, select.POLLIN)
        told = os.read(told_out, 100) if poll.poll(_TELLING_SECONDS * 1000) else b""
    finally:
        for descriptor in (order_out, order_in, told_out, told_in):
            if descriptor >= 0:
                os.close(descriptor)
    return told, keeper_pid


def _identity(user: str | None) -> tuple[tuple[int, int, list[int]] | None, str]:
    """(uid, gid, groups), None for the agent's own; and the home directory.

    Takes what ECS takes: user, user:group, uid, uid:gid, user:gid, uid:group.
    """
    name, _, group = (user or "").partition(":")
    try:
        account = _account(name) if name else pwd.getpwuid(os.geteuid())
        uid = int(name) if account is None else account.pw_uid
        home = "/" if account is None else account.pw_dir
        default_gid = 0 if account is None else account.pw_gid
        gid = (int(group) if group.isdigit() else grp.getgrnam(group).gr_gid) if group else default_gid
    except KeyError as error:
        raise NotRunnableError(f"no such user or group on this machine: {user}") from error
    if not os.path.isdir(home):  # noqa: PTH112
        home = "/"
    if user is None or (uid == os.geteuid() and not group):
        return None, home
    if os.geteuid() != 0:
        raise NotRunnableError(f"this agent does not run as root and cannot become user {user}")
    groups = os.getgrouplist(account.pw_name, gid) if account is not None and not group else [gid]
    return (uid, gid, groups), home


def _account(name: str) -> pwd.struct_passwd | None:
    if not name.isdigit():
        return pwd.getpwnam(name)
    try:
        return pwd.getpwuid(int(name))
    except KeyError:
        return None
