"""Every member of a task definition that botocore's model has, and what becomes of it; a test compares.

HONOURED    a runtime does what it says (agent/ecs_anywhere_agent/container_spec.py)
HARMLESS    changes nothing on a machine, and why
CAPABLE     requires a capability that no runtime has (ecs_protocol/capabilities.py), so that no machine ignores it

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from control_plane.domain.task_definition_texts import refuse_others


def _of(path: str, members: str) -> frozenset[str]:
    return frozenset(f"{path}.{member}" if path else member for member in members.split())


_C = "containerDefinitions"

HONOURED = (
    _of("", "networkMode cpu memory pidMode ipcMode taskRoleArn")
    | _of("runtimePlatform", "cpuArchitecture operatingSystemFamily")
    | _of("volumes", "name")
    | _of("volumes.host", "sourcePath")
    | _of("volumes.dockerVolumeConfiguration", "scope autoprovision driver driverOpts labels")
    | _of(_C, "name image cpu memory memoryReservation essential entryPoint command workingDirectory user stopTimeout")
    | _of(_C, "dockerLabels privileged readonlyRootFilesystem dockerSecurityOptions interactive pseudoTerminal")
    | _of(_C, "links hostname disableNetworking dnsServers dnsSearchDomains startTimeout")
    | _of(f"{_C}.dependsOn", "containerName condition")
    | _of(f"{_C}.environment", "name value")
    | _of(f"{_C}.portMappings", "containerPort hostPort protocol containerPortRange")
    | _of(f"{_C}.extraHosts", "hostname ipAddress")
    | _of(f"{_C}.healthCheck", "command interval timeout retries startPeriod")
    | _of(f"{_C}.restartPolicy", "enabled ignoredExitCodes restartAttemptPeriod")
    | _of(f"{_C}.mountPoints", "sourceVolume containerPath readOnly")
    | _of(f"{_C}.volumesFrom", "sourceContainer readOnly")
    | _of(f"{_C}.linuxParameters", "initProcessEnabled sharedMemorySize maxSwap swappiness")
    | _of(f"{_C}.linuxParameters.capabilities", "add drop")
    | _of(f"{_C}.linuxParameters.devices", "hostPath containerPath permissions")
    | _of(f"{_C}.linuxParameters.tmpfs", "containerPath size mountOptions")
    | _of(f"{_C}.ulimits", "name softLimit hardLimit")
    | _of(f"{_C}.systemControls", "namespace value")
    | _of(f"{_C}.logConfiguration", "logDriver options")
    | _of(f"{_C}.repositoryCredentials", "credentialsParameter")
    | _of(f"{_C}.environmentFiles", "value type")
    | _of(f"{_C}.secrets", "name valueFrom")
    | _of(f"{_C}.logConfiguration.secretOptions", "name valueFrom")
    | _of(f"{_C}.resourceRequirements", "value type")
    | _of(f"{_C}.firelensConfiguration", "type options")
)
"""Each as far as its capability is announced: not every runtime and machine has it (docs/task-definition.md)."""

HARMLESS: Mapping[str, str] = {
    "family": "a name",
    "requiresCompatibilities": "checked when it is registered, and when it is to run",
    "tags.key": "the control plane's",
    "tags.value": "the control plane's",
    "placementConstraints.type": "placement's (domain/placement/rules.py)",
    "placementConstraints.expression": "placement's",
    "ephemeralStorage.sizeInGiB": "Fargate's only: such a definition does not list EXTERNAL",
    "executionRoleArn": "used by what requires a capability of its own: images of ECR, secrets, awslogs",
    f"{_C}.portMappings.name": "for Service Connect, which no service here has",
    f"{_C}.portMappings.appProtocol": "for Service Connect, which no service here has",
}

CAPABLE = (
    _of("", "enableFaultInjection")
    | _of("inferenceAccelerators", "deviceName deviceType")
    | _of("proxyConfiguration", "type containerName")
    | _of("proxyConfiguration.properties", "name value")
    | _of("volumes", "configuredAtLaunch")
    | _of("volumes.efsVolumeConfiguration", "fileSystemId rootDirectory transitEncryption transitEncryptionPort")
    | _of("volumes.efsVolumeConfiguration.authorizationConfig", "accessPointId iam")
    | _of("volumes.s3filesVolumeConfiguration", "fileSystemArn rootDirectory transitEncryptionPort accessPointArn")
    | _of("volumes.fsxWindowsFileServerVolumeConfiguration", "fileSystemId rootDirectory")
    | _of("volumes.fsxWindowsFileServerVolumeConfiguration.authorizationConfig", "credentialsParameter domain")
    | _of(_C, "versionConsistency credentialSpecs")
)

_NOT_EXTERNAL = "such a definition does not list EXTERNAL"

WHY_NOT: Mapping[str, str] = {
    "enableFaultInjection": "Amazon ECS has it for EC2 and Fargate",
    "inferenceAccelerators": f"{_NOT_EXTERNAL}: Amazon's own agent does not announce it there either",
    "proxyConfiguration": f"{_NOT_EXTERNAL}: Amazon's own agent does not announce it there either",
    "volumes.configuredAtLaunch": f"{_NOT_EXTERNAL}: no EBS volume can be attached",
    "volumes.efsVolumeConfiguration": f"{_NOT_EXTERNAL}; use driverOpts of a Docker volume, type nfs",
    "volumes.s3filesVolumeConfiguration": "no runtime mounts it: it takes Amazon's own mount helper",
    "volumes.fsxWindowsFileServerVolumeConfiguration": f"{_NOT_EXTERNAL}: it is Windows's",
    f"{_C}.versionConsistency": "nobody resolves tags to digests; without it a tag is pulled as it is",
    f"{_C}.credentialSpecs": "no runtime has group managed service accounts of Active Directory",
}
"""Why the members of CAPABLE that are at or under a path are refused by their capability."""

MEMBERS = HONOURED | HARMLESS.keys() | CAPABLE

_LABELS = {
    "healthCheck": "Health check",
    "restartPolicy": "Restart policy",
    "portMappings": "Port mapping",
}
_SAYS_SOMETHING_WHEN_EMPTY = frozenset({"volumes.host"})
"""A directory that Docker chooses."""


@cache
def known(path: str) -> frozenset[str]:
    """The members of the structure at a path, `""` being the whole request; none if it is no structure."""
    prefix = f"{path}." if path else ""
    return frozenset(each[len(prefix) :].partition(".")[0] for each in MEMBERS if each.startswith(prefix))


def read(given: Mapping[str, Any], path: str = "", what: str = "Task definition") -> dict[str, Any]:
    """A request, or a structure in it, without the members that say nothing; what is false or 0 stays as it was said.

    Raises ClientException for a member that is not known here: it would change what runs, and nothing would honour it.
    """
    refuse_others(given, known(path), what)
    members = {
        member: _read(value, f"{path}.{member}" if path else member, what)
        for member, value in given.items()
        if member in known(path)
    }
    return {
        member: value
        for member, value in members.items()
        if value not in (None, "", [], {}) or (value == {} and f"{path}.{member}" in _SAYS_SOMETHING_WHEN_EMPTY)
    }


def _read(value: Any, path: str, what: str) -> Any:
    if not known(path) or value is None:
        return value
    if isinstance(value, Mapping):
        return read(value, path, _named(path, value, what))
    return [read(each, path, _named(path, each, what)) for each in value]


def _named(path: str, value: Mapping[str, Any], what: str) -> str:
    if path == _C:
        return f"Container '{value.get('name', '')}'"
    member = path.rpartition(".")[2]
    return f"{_LABELS.get(member, member)} of {what[0].lower()}{what[1:]}"
