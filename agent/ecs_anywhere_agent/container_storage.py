"""What a container mounts, as a task definition says it. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_data_volumes.html
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class DockerVolume(NamedTuple):
    """A volume of the Engine. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/docker-volumes.html"""

    name: str
    """In the task definition."""
    shared: bool = False
    """It outlives its task, under its own name; else it is the task's, and goes with it."""
    autoprovision: bool = True
    """Made if it is not there."""
    driver: str | None = None
    driver_options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


class Mount(NamedTuple):
    """A volume in a container."""

    source: str | DockerVolume
    """A path of the machine, or a volume."""
    container_path: str
    read_only: bool = False


class VolumesFrom(NamedTuple):
    """All mounts of another container of the task."""

    container: str
    read_only: bool = False


class Storage(NamedTuple):
    """All that a container mounts."""

    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[VolumesFrom, ...] = ()

    @property
    def docker_volumes(self) -> tuple[DockerVolume, ...]:
        return tuple(mount.source for mount in self.mounts if isinstance(mount.source, DockerVolume))


def storage_of(container: Mapping[str, Any], task_definition: Mapping[str, Any]) -> Storage:
    """Raises KeyError: a mount names no volume of the definition."""
    volumes = {volume["name"]: _source(volume) for volume in task_definition.get("volumes") or ()}
    return Storage(
        mounts=tuple(
            Mount(volumes[mount["sourceVolume"]], mount["containerPath"], bool(mount.get("readOnly")))
            for mount in container.get("mountPoints") or ()
        ),
        volumes_from=tuple(
            VolumesFrom(each["sourceContainer"], bool(each.get("readOnly")))
            for each in container.get("volumesFrom") or ()
        ),
    )


def _source(volume: Mapping[str, Any]) -> str | DockerVolume:
    """A host volume without a path is an empty one of the task: a plain volume of the Engine."""
    path = (volume.get("host") or {}).get("sourcePath")
    given: Mapping[str, Any] = volume.get("dockerVolumeConfiguration") or {}
    if path:
        return str(path)
    shared = given.get("scope") == "shared"
    return DockerVolume(
        volume["name"],
        shared=shared,
        autoprovision=bool(given.get("autoprovision")) if shared else True,
        driver=given.get("driver") or None,
        driver_options=_pairs(given.get("driverOpts")),
        labels=_pairs(given.get("labels")),
    )


def _pairs(given: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((given or {}).items()))
