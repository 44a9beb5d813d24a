"""What a container may do on a Linux machine, as a task definition says it. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LinuxParameters.html
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

_PERMISSIONS = {"read": "r", "write": "w", "mknod": "m"}


class Ulimit(NamedTuple):
    """-1 is no limit."""

    name: str
    soft: int
    hard: int


class Device(NamedTuple):
    """A device of the machine."""

    host_path: str
    container_path: str
    permissions: str
    """Of `rwm`."""


class Tmpfs(NamedTuple):
    """A file system in memory."""

    container_path: str
    size: int
    """MiB."""
    mount_options: tuple[str, ...]


class Linux(NamedTuple):
    """All that a container may do, and how much. Nothing said: as the runtime has it."""

    privileged: bool = False
    readonly_root_filesystem: bool = False
    pseudo_terminal: bool = False
    interactive: bool = False
    init_process: bool = False
    security_options: tuple[str, ...] = ()
    system_controls: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    added_capabilities: tuple[str, ...] = ()
    dropped_capabilities: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    shared_memory: int | None = None
    """MiB."""
    max_swap: int | None = None
    """MiB; 0: no swap."""
    swappiness: int | None = None
    """0 to 100. Amazon ECS ignores it unless maxSwap is said."""
    pid_mode: str | None = None
    ipc_mode: str | None = None


def linux_of(container: Mapping[str, Any], task_definition: Mapping[str, Any]) -> Linux:
    parameters: Mapping[str, Any] = container.get("linuxParameters") or {}
    capabilities: Mapping[str, Any] = parameters.get("capabilities") or {}
    max_swap = parameters.get("maxSwap")
    return Linux(
        privileged=bool(container.get("privileged")),
        readonly_root_filesystem=bool(container.get("readonlyRootFilesystem")),
        pseudo_terminal=bool(container.get("pseudoTerminal")),
        interactive=bool(container.get("interactive")),
        init_process=bool(parameters.get("initProcessEnabled")),
        security_options=tuple(container.get("dockerSecurityOptions") or ()),
        system_controls=tuple((each["namespace"], each["value"]) for each in container.get("systemControls") or ()),
        ulimits=tuple(
            Ulimit(each["name"], int(each["softLimit"]), int(each["hardLimit"]))
            for each in container.get("ulimits") or ()
        ),
        added_capabilities=tuple(capabilities.get("add") or ()),
        dropped_capabilities=tuple(capabilities.get("drop") or ()),
        devices=tuple(_device(each) for each in parameters.get("devices") or ()),
        tmpfs=tuple(
            Tmpfs(each["containerPath"], int(each["size"]), tuple(each.get("mountOptions") or ()))
            for each in parameters.get("tmpfs") or ()
        ),
        shared_memory=int(parameters.get("sharedMemorySize") or 0) or None,
        max_swap=max_swap,
        swappiness=None if max_swap is None else parameters.get("swappiness"),
        pid_mode=task_definition.get("pidMode") or None,
        ipc_mode=task_definition.get("ipcMode") or None,
    )


def _device(given: Mapping[str, Any]) -> Device:
    """Without permissions it may do everything; without a path it has the machine's."""
    permissions = given.get("permissions") or tuple(_PERMISSIONS)
    return Device(
        given["hostPath"],
        given.get("containerPath") or given["hostPath"],
        "".join(letter for word, letter in _PERMISSIONS.items() if word in permissions),
    )
