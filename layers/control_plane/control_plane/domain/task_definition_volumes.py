"""The volumes of a task definition, and where its containers mount them.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_data_volumes.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_texts import Container, has_cycle, repeated

KINDS = (
    "host",
    "dockerVolumeConfiguration",
    "efsVolumeConfiguration",
    "s3filesVolumeConfiguration",
    "fsxWindowsFileServerVolumeConfiguration",
)


def normalise_volumes(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Raises ClientException."""
    volumes = [_volume(each) for each in given]
    for name in repeated(volume["name"] for volume in volumes):
        raise ClientException(f"Volume '{name}' is declared more than once.")
    if sum(bool(volume.get("configuredAtLaunch")) for volume in volumes) > 1:
        raise ClientException("Only one volume can be configured at launch.")
    return volumes


def _volume(given: Mapping[str, Any]) -> dict[str, Any]:
    name = given.get("name", "")
    if not name:
        raise ClientException("Volume.name should not be null or empty.")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise ClientException("Volume.name contains invalid characters.")
    kinds = [kind for kind in KINDS if kind in given] + ["configuredAtLaunch"] * bool(given.get("configuredAtLaunch"))
    if len(kinds) > 1:
        raise ClientException(f"Volume '{name}' can be of one kind only, but has {kinds[0]} and {kinds[1]}.")
    if not kinds:
        return {**given, "host": {}}
    kind = kinds[0]
    for member in _NEEDED.get(kind, ()):
        if not given[kind].get(member):
            raise ClientException(f"volume.{kind}.{member} should not be null or empty.")
    return {**given, kind: _COMPLETED[kind](given[kind])} if kind in _COMPLETED else dict(given)


def _docker(given: Mapping[str, Any]) -> dict[str, Any]:
    scope = given.get("scope", "task")
    if scope == "task" and given.get("autoprovision"):
        raise ClientException("volume.dockerVolumeConfiguration.autoprovision is only for volumes of scope shared.")
    return {
        **given,
        "scope": scope,
        **({"autoprovision": given.get("autoprovision", False)} if scope == "shared" else {}),
    }


def _efs(given: Mapping[str, Any]) -> dict[str, Any]:
    encrypted = given.get("transitEncryption") == "ENABLED"
    access = given.get("authorizationConfig", {})
    if access.get("iam") == "ENABLED" and not encrypted:
        raise ClientException("EFS IAM authorization requires TransitEncryption to be enabled")
    if "accessPointId" in access and not encrypted:
        raise ClientException("EFS access points require TransitEncryption to be enabled")
    if "transitEncryptionPort" in given and not encrypted:
        raise ClientException("TransitEncryptionPort requires that TransitEncryption is enabled")
    return _mounted_at_its_root(given, "EFS", has_access_point="accessPointId" in access)


def _s3_files(given: Mapping[str, Any]) -> dict[str, Any]:
    return _mounted_at_its_root(given, "S3 Files", has_access_point="accessPointArn" in given)


def _mounted_at_its_root(given: Mapping[str, Any], what: str, *, has_access_point: bool) -> dict[str, Any]:
    root = given.get("rootDirectory", "/")
    if has_access_point and root != "/":
        raise ClientException(
            f'When using an {what} access point, the root directory must either be set to "/" or be omitted'
        )
    if not 1 <= given.get("transitEncryptionPort", 1) <= 65535:
        raise ClientException("TransitEncryptionPort should be between 1 and 65535")
    return {**given, "rootDirectory": root}


_NEEDED = {
    "efsVolumeConfiguration": ("fileSystemId",),
    "s3filesVolumeConfiguration": ("fileSystemArn",),
    "fsxWindowsFileServerVolumeConfiguration": ("fileSystemId", "rootDirectory", "authorizationConfig"),
}
_COMPLETED = {
    "dockerVolumeConfiguration": _docker,
    "efsVolumeConfiguration": _efs,
    "s3filesVolumeConfiguration": _s3_files,
}


def normalise_mounts(container: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {member: [dict(each) for each in container.get(member, ())] for member in ("mountPoints", "volumesFrom")}


def check_mounts(containers: Sequence[Container], volumes: Sequence[Mapping[str, Any]]) -> None:
    """Of all containers of a task. Raises ClientException."""
    declared = {volume["name"] for volume in volumes}
    names = {container["name"] for container in containers}
    mounted: set[str] = set()
    for container in containers:
        for mount in container["mountPoints"]:
            if mount.get("sourceVolume") not in declared:
                raise ClientException(f"Unknown volume '{mount.get('sourceVolume', 'null')}'.")
            if not mount.get("containerPath"):
                raise ClientException(
                    f"Container path should not be null or empty for container '{container['name']}'."
                )
            mounted.add(mount["sourceVolume"])
        for path in repeated(mount["containerPath"] for mount in container["mountPoints"]):
            raise ClientException(f"Container path '{path}' of container '{container['name']}' is mounted twice.")
        for source in container["volumesFrom"]:
            if source.get("sourceContainer") not in names - {container["name"]}:
                raise ClientException(
                    f"Invalid 'volumesFrom' setting. Unknown container: '{source.get('sourceContainer', 'null')}'"
                )
    edges = {each["name"]: [source["sourceContainer"] for source in each["volumesFrom"]] for each in containers}
    if has_cycle(edges):
        raise ClientException("Invalid 'volumesFrom' setting. It has a cycle.")
    at_launch = [volume["name"] for volume in volumes if volume.get("configuredAtLaunch")]
    if set(at_launch) - mounted:
        raise ClientException(f"Volumes [{', '.join(at_launch)}] are not referenced by any of the containers")
