"""On what a task definition can run, and why not on the rest: each launch type has its rules.

A rule gives the reason, in Amazon ECS's words where it has them, or None.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-anywhere.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instances-task-definitions.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_network import EXTERNAL_NETWORK_MODE, EXTERNAL_NETWORK_MODE_TAG
from control_plane.domain.task_definition_sizes import FARGATE_MEMORY

Definition = Mapping[str, Any]
Rule = Callable[[Definition], str | None]

FARGATE_LOG_DRIVERS = ("awslogs", "splunk", "awsfirelens")
MAX_FARGATE_TIMEOUT_SECONDS = 120
EPHEMERAL_STORAGE_GIB = (21, 200)
LEAST_WINDOWS_CPU = 1024

NO_NETWORK_MODE = (
    "machines of your own have no VPC: register it with the tag "
    f"{EXTERNAL_NETWORK_MODE_TAG} = bridge or host, which says how it runs on them."
)


def compatibilities(definition: Definition) -> list[str]:
    """Amazon's `compatibilities`. Raises ClientException if one that is required is none of them, or there is none."""
    for required in definition.get("requiresCompatibilities", ()):
        reason = refusal(required, definition)
        if reason:
            raise ClientException(reason)
    found = [each for each in RULES if refusal(each, definition) is None]
    if not found:
        raise ClientException(refusal("FARGATE", definition) or "")
    return found


def refusal(compatibility: str, definition: Definition) -> str | None:
    """Why the definition cannot run there."""
    return next((reason for rule in RULES[compatibility] if (reason := rule(definition))), None)


def _containers(definition: Definition) -> Sequence[Definition]:
    containers: Sequence[Definition] = definition["containerDefinitions"]
    return containers


def _windows(definition: Definition) -> bool:
    family: str = definition.get("runtimePlatform", {}).get("operatingSystemFamily", "LINUX")
    return family != "LINUX"


def _has_external_network(definition: Definition) -> str | None:
    if definition.get("networkMode") == "awsvpc" and EXTERNAL_NETWORK_MODE not in definition:
        return f"Network mode 'awsvpc' is not available with EXTERNAL, for {NO_NETWORK_MODE}"
    return None


def _has_what_external_has(definition: Definition) -> str | None:
    for member, what in (("proxyConfiguration", "App Mesh"), ("inferenceAccelerators", "Elastic Inference")):
        if member in definition:
            return f"Tasks using the External launch type do not support {member}: there is no {what}."
    volumes = definition["volumes"]
    for member in ("efsVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration"):
        if any(member in volume for volume in volumes):
            return f"Tasks using the External launch type do not support {member}."
    if any(volume.get("configuredAtLaunch") for volume in volumes):
        return "Tasks using the External launch type do not support volumes that are configured at launch."
    return None


def _keeps_its_storage(definition: Definition) -> str | None:
    if "ephemeralStorage" in definition:
        return "Ephemeral storage is only supported for Fargate tasks."
    return None


def _fits_managed_instances(definition: Definition) -> str | None:
    if definition.get("networkMode") not in {"awsvpc", "host"}:
        return "Managed Instances only support network modes 'awsvpc' and 'host'."
    if _windows(definition):
        return "Managed Instances only support the operating system family LINUX."
    return None


def _has_fargates_network(definition: Definition) -> str | None:
    return None if definition.get("networkMode") == "awsvpc" else "Fargate only supports network mode 'awsvpc'."


def _has_fargates_size(definition: Definition) -> str | None:
    for member in ("cpu", "memory"):
        if member not in definition:
            return f"Fargate requires that '{member}' be defined at the task level."
    cpu, memory = int(definition["cpu"]), int(definition["memory"])
    too_little = _windows(definition) and cpu < LEAST_WINDOWS_CPU
    if memory not in FARGATE_MEMORY.get(cpu, ()) or too_little:
        return f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory."
    return None


def _has_fargates_namespaces(definition: Definition) -> str | None:
    if "ipcMode" in definition:
        return "Tasks using the Fargate launch type do not support ipcMode."
    mode = definition.get("pidMode")
    if mode not in {None, "task"}:
        return (
            f"Tasks using the Fargate launch type do not support pidMode '{mode}'. The supported value for pidMode is "
            "'task'."
        )
    return None


def _has_only_what_fargate_has(definition: Definition) -> str | None:
    found = next(iter(_not_on_fargate(definition)), None)
    return f"Fargate compatible task definitions do not support {found}" if found else None


def _not_on_fargate(definition: Definition) -> Iterable[str]:
    if definition["placementConstraints"]:
        yield "constraints"
    if "inferenceAccelerators" in definition:
        yield "inferenceAccelerators"
    for volume in definition["volumes"]:
        if "dockerVolumeConfiguration" in volume:
            yield "dockerVolumeConfiguration"
        if volume.get("host", {}).get("sourcePath"):
            yield "sourcePath"
        if "fsxWindowsFileServerVolumeConfiguration" in volume:
            yield "fsxWindowsFileServerVolumeConfiguration"
    for container in _containers(definition):
        yield from (member for member in ("dockerSecurityOptions", "resourceRequirements") if container.get(member))
        linux = container.get("linuxParameters", {})
        yield from (member for member in ("devices", "sharedMemorySize", "maxSwap", "swappiness") if member in linux)


def _stays_within_fargates_bounds(definition: Definition) -> str | None:
    least, most = EPHEMERAL_STORAGE_GIB
    size = definition.get("ephemeralStorage", {}).get("sizeInGiB", least)
    if size < least:
        return f"EphemeralStorage size should be at least {least}"
    if size > most:
        return f"EphemeralStorage size should be at most {most}"
    for container in _containers(definition):
        if container.get("privileged"):
            return "Fargate requires that the 'privileged' setting be 'false'"
        for added in container.get("linuxParameters", {}).get("capabilities", {}).get("add", ()):
            if added != "SYS_PTRACE":
                return f"{added} is not allowed on Fargate."
        for member, words in (("stopTimeout", "stop timeout"), ("startTimeout", "start timeout")):
            if container.get(member, 0) > MAX_FARGATE_TIMEOUT_SECONDS:
                return (
                    f"Tasks using the Fargate launch type must have a container {words} of less than "
                    f"{MAX_FARGATE_TIMEOUT_SECONDS} seconds."
                )
    return None


def _logs_as_on_fargate(definition: Definition) -> str | None:
    for container in _containers(definition):
        driver = container.get("logConfiguration", {}).get("logDriver", "awslogs")
        if driver not in FARGATE_LOG_DRIVERS:
            return f"{driver} is not a valid log driver. Must be one of [{', '.join(FARGATE_LOG_DRIVERS)}]"
        options = container.get("logConfiguration", {}).get("options", {})
        if driver == "awslogs" and "logConfiguration" in container:
            if not options.get("awslogs-stream-prefix"):
                return "Fargate requires log configuration options to include awslogs-stream-prefix"
            if "executionRoleArn" not in definition:
                return "Fargate requires task definition to have execution role ARN to support log driver awslogs."
        if ".dkr.ecr." in container["image"] and "executionRoleArn" not in definition:
            return "Fargate requires task definition to have execution role ARN to support ECR images."
    return None


RULES: Mapping[str, Sequence[Rule]] = {
    "EXTERNAL": (_has_external_network, _has_what_external_has, _keeps_its_storage),
    "EC2": (_keeps_its_storage,),
    "MANAGED_INSTANCES": (_fits_managed_instances, _keeps_its_storage),
    "FARGATE": (
        _has_fargates_network,
        _has_fargates_size,
        _has_fargates_namespaces,
        _has_only_what_fargate_has,
        _stays_within_fargates_bounds,
        _logs_as_on_fargate,
    ),
}
"""In the order in which Amazon ECS lists them."""
