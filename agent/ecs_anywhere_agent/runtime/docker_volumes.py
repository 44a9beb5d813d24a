"""The volumes of a task, made before the first container that mounts them, removed after the last one is.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/docker-volumes.html
"""

import logging
from collections.abc import Collection, Mapping
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.container_storage import DockerVolume
from ecs_anywhere_agent.runtime.docker_config import volume_config, volume_name
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError
from ecs_anywhere_agent.runtime.docker_labels import owner_label, task_id_of, task_label

_log = logging.getLogger(__name__)


class CannotCreateVolumeError(Exception):
    """A volume is not there and cannot be had; the text says why."""


class Volumes:
    """Of one Engine, those that this agent's tasks use."""

    def __init__(self, engine: Engine, data_dir: str, *, match_shared: bool = False) -> None:
        """`match_shared`: a shared volume that is there must be as the task definition has it, not only its name."""
        self._engine = engine
        self._data_dir = data_dir
        self._match_shared = match_shared

    def prepare(self, task_id: str, spec: ContainerSpec) -> None:
        """Safe to repeat: the Engine answers a second creation with the volume that is there.

        Raises CannotCreateVolumeError, EngineUnreachableError.
        """
        for volume in spec.storage.docker_volumes:
            name = volume_name(task_id, spec, volume)
            try:
                found = self._engine.volume(name) if volume.shared else None
                if found is not None:
                    if self._match_shared:
                        _require_match(found, volume)
                    continue
                if not volume.autoprovision:
                    raise CannotCreateVolumeError(
                        f"volume detection failed, volume '{name}' does not exist and autoprovision is set to false"
                    )
                self._engine.create_volume(volume_config(task_id, spec, volume, self._data_dir))
            except EngineError as error:
                raise CannotCreateVolumeError(f"{name}: {error}") from error

    def remove_of(self, task_id: str) -> None:
        """All that is the task's own, unless one of its containers is still there: who removes that calls this again.

        Raises EngineUnreachableError.
        """
        for volume in self._engine.volumes(task_label(task_id), owner_label(self._data_dir)):
            self._remove(volume["Name"])

    def remove_leftovers(self, task_ids: Collection[str]) -> None:
        """What is left of tasks that have no container, when the agent was killed before it came to their volumes.

        One that was made for a container to come is made again with it. Raises EngineUnreachableError, EngineError.
        """
        for volume in self._engine.volumes(owner_label(self._data_dir)):
            if task_id_of(volume.get("Labels") or {}) not in task_ids:
                self._remove(volume["Name"])

    def _remove(self, name: str) -> None:
        try:
            self._engine.remove_volume(name)
        except EngineError as error:
            _log.debug("volume %s stays: %s", name, error)


def _require_match(found: Mapping[str, Any], volume: DockerVolume) -> None:
    """In the words of Amazon's agent. Raises CannotCreateVolumeError."""
    for what, existing, expected in (
        ("labels", found.get("Labels"), volume.labels),
        ("options", found.get("Options"), volume.driver_options),
    ):
        if dict(existing or {}) != dict(expected):
            raise CannotCreateVolumeError(
                f"intialize volume: non-autoprovisioned volume does not match existing volume {what}: "
                f"existing: {dict(existing or {})}, expected: {dict(expected)}"
            )
