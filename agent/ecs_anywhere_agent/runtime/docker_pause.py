"""A container that holds the namespaces which the containers of a task share: pidMode and ipcMode `task`.

Made and started before the task's first container, removed with its last one, as Amazon's agent does it. It is none of
the task's own containers, and nobody is told of it. If somebody kills it, the kernel ends all processes of its process
namespace, and so the task.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskDefinition.html
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.runtime import pause_program
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError
from ecs_anywhere_agent.runtime.docker_labels import owner_label, ref_of, task_id_of, task_labels

_log = logging.getLogger(__name__)
_REPOSITORY, _TAG = "ecs-anywhere-pause", "1"
_OF_CONTAINER = "container:"


class Pauses:
    """Of one Engine, those of this agent's tasks."""

    def __init__(self, engine: Engine, data_dir: str) -> None:
        self._engine = engine
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._tasks: set[str] = set()
        """Tasks that have one, or may have."""

    def prepare(self, task_id: str, spec: ContainerSpec) -> ContainerSpec:
        """With Docker's words for the two modes. Safe to repeat. Raises EngineUnreachableError, EngineError."""
        if "task" not in {spec.linux.pid_mode, spec.linux.ipc_mode}:
            return spec
        name = _name(task_id)
        with self._lock:
            self._tasks.add(task_id)
            if self._engine.image(f"{_REPOSITORY}:{_TAG}") is None:
                self._engine.import_image(_REPOSITORY, _TAG, pause_program.archive())
        try:
            self._engine.create(name, _config(task_id, spec, self._data_dir))
        except EngineError as error:
            if error.status != 409:  # there is one of that name: it is this task's
                raise
        self._engine.start(name)
        pid_mode, ipc_mode = (
            f"{_OF_CONTAINER}{name}" if mode == "task" else mode for mode in (spec.linux.pid_mode, spec.linux.ipc_mode)
        )
        return spec._replace(linux=spec.linux._replace(pid_mode=pid_mode, ipc_mode=ipc_mode))

    def restore(self, inspected: Mapping[str, Any]) -> None:
        """Before a container is started again: a restart of the machine has ended its task's, too.

        `inspected` is the container's. Without the namespaces the Engine refuses to start it, and says why.
        """
        modes = (str(inspected["HostConfig"].get(each)) for each in ("PidMode", "IpcMode"))
        for other in {mode.removeprefix(_OF_CONTAINER) for mode in modes if mode.startswith(_OF_CONTAINER)}:
            try:
                self._engine.start(other)
            except EngineError as error:
                _log.warning("what holds the namespaces of %s cannot be started: %s", inspected["Name"], error)

    def remove(self, task_id: str) -> None:
        """If none of the task's containers is there any more: who removes the last one comes here after that.

        Raises EngineUnreachableError, EngineError.
        """
        with self._lock:
            if task_id not in self._tasks:
                return
        ours = (ref_of(each["Labels"]) for each in self._engine.containers(owner_label(self._data_dir)))
        if not any(ref is not None and ref.task_id == task_id for ref in ours):
            self._remove(_name(task_id))
            with self._lock:
                self._tasks.discard(task_id)

    def adopt(self, listed: Sequence[Mapping[str, Any]]) -> None:
        """`listed`: all containers of this agent. Those of tasks that have no other container are left-overs."""
        live = {ref.task_id for each in listed if (ref := ref_of(each["Labels"]))}
        for each in listed:
            task_id = task_id_of(each["Labels"])
            if task_id is None or ref_of(each["Labels"]) is not None:
                continue
            if task_id in live:
                with self._lock:
                    self._tasks.add(task_id)
            else:
                self._remove(each["Id"])

    def _remove(self, container: str) -> None:
        try:
            self._engine.remove(container)
        except EngineError as error:
            if error.status != 404:
                _log.warning("what held the namespaces of a task stays: %s", error)


def _name(task_id: str) -> str:
    return f"ecs-anywhere-pause-{task_id}"


def _config(task_id: str, spec: ContainerSpec, data_dir: str) -> dict[str, Any]:
    ipc = {"IpcMode": "shareable"} if spec.linux.ipc_mode == "task" else {}
    return {
        "Image": f"{_REPOSITORY}:{_TAG}",
        "Entrypoint": ["/pause"],
        "Labels": task_labels(task_id, data_dir),
        "NetworkDisabled": True,
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "ReadonlyRootfs": True,
            "LogConfig": {"Type": "none"},
            **ipc,
        },
    }
