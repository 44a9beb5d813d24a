"""Log routers (FireLens) with Docker: their files on the machine, and what the Engine is told of them.

    <data dir>/firelens/<task id>/config/fluent.conf   what the router is told; external.conf: what of it is from S3
    <data dir>/firelens/<task id>/socket/fluent.sock   the router makes it, and the Engine sends there what is written

As with Amazon's agent: https://github.com/aws/amazon-ecs-agent/blob/master/agent/taskresource/firelens/firelens_unix.go
"""

import errno
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.container_firelens import BUFFER_LIMIT, EXTERNAL, LogRouter
from ecs_anywhere_agent.container_spec import LogConfiguration
from ecs_anywhere_agent.core.values import ContainerRef

_CONFIGURATION = {"fluentbit": "/fluent-bit/etc/fluent-bit.conf", "fluentd": "/fluentd/etc/fluent.conf"}
"""Where the images of the two expect it."""
_LONGEST_PATH = 107
"""Of a Unix socket's, in bytes."""


def directory_of(data_dir: str, task_id: str) -> Path:
    return Path(data_dir) / "firelens" / task_id


def can_route_logs(data_dir: str) -> bool:
    """Whether the path of a task's socket is short enough."""
    return len(str(_socket(data_dir, "0" * 32)).encode()) <= _LONGEST_PATH


def _socket(data_dir: str, task_id: str) -> Path:
    return directory_of(data_dir, task_id) / "socket" / "fluent.sock"


def router_binds(task_id: str, router: LogRouter, data_dir: str) -> Iterator[str]:
    directory = directory_of(data_dir, task_id)
    yield f"{directory / 'config' / 'fluent.conf'}:{_CONFIGURATION[router.kind]}"
    yield f"{directory / 'socket'}/:/var/run/"
    if router.external:
        yield f"{directory / 'config' / 'external.conf'}:{EXTERNAL[router.kind]}"


def router_environment(router: LogRouter) -> dict[str, str]:
    """Fluentd's image would give up being root, and the socket is of root."""
    return {"FLUENT_UID": "0"} if router.kind == "fluentd" else {}


def sender_log_config(ref: ContainerRef, logs: LogConfiguration, data_dir: str) -> dict[str, Any]:
    """The Engine's own driver, to the router's socket. All options but one are the router's."""
    limit = dict(logs.options).get(BUFFER_LIMIT)
    return {
        "Type": "fluentd",
        "Config": {
            "tag": f"{ref.name}-firelens-{ref.task_id}",
            "fluentd-address": f"unix://{_socket(data_dir, ref.task_id)}",
            "fluentd-async": "true",
            "fluentd-sub-second-precision": "true",
            **({"fluentd-buffer-limit": limit} if limit else {}),
        },
    }


def _write(path: Path, content: bytes) -> None:
    """All or nothing, and for whatever user the router runs as."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o644)
    new.replace(path)


class RouterFiles:
    """Made before the router is, and removed with the task's last container."""

    def __init__(self, data_dir: str, has_containers: Callable[[str], bool]) -> None:
        """`has_containers`: whether the Engine has any of a task."""
        self._data_dir = data_dir
        self._has_containers = has_containers

    def prepare(self, task_id: str, router: LogRouter, objects: Mapping[str, bytes]) -> None:
        """Safe to repeat. `objects`: what the router's configuration needs of S3, by ARN. Raises OSError.

        Whatever user the router runs as, it may make its socket; nobody else on the machine comes that far.
        """
        socket = _socket(self._data_dir, task_id)
        if not can_route_logs(self._data_dir):
            raise OSError(errno.ENAMETOOLONG, "the path of the log router's socket is too long", str(socket))
        directory = directory_of(self._data_dir, task_id)
        directory.parent.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / "config").mkdir(exist_ok=True)
        socket.parent.mkdir(exist_ok=True)
        socket.parent.chmod(0o777)
        _write(directory / "config" / "fluent.conf", router.configuration.encode())
        if router.external:
            _write(directory / "config" / "external.conf", objects[router.external])

    def remove_of(self, task_id: str) -> None:
        """Unless one of its containers is still there: who removes that calls this again."""
        directory = directory_of(self._data_dir, task_id)
        if directory.exists() and not self._has_containers(task_id):
            shutil.rmtree(directory, ignore_errors=True)

    def remove_leftovers(self, task_ids: Collection[str]) -> None:
        """What is left of tasks that have no container."""
        for directory in directory_of(self._data_dir, "").glob("*"):
            if directory.name not in task_ids:
                shutil.rmtree(directory, ignore_errors=True)
