"""The one table of capabilities.

Registration of a task definition computes requiresAttributes from it, the agent announces from it what its runtime can
do, and placement compares the two: a member that a machine cannot honour never reaches it.

Names are Amazon's where it has one that means the member and nothing else; `ecs-anywhere.capability.…` is ours.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TaskDefinition = Mapping[str, Any]
"""In the shape of the ECS API; its network mode is the one that it is to run with."""

Requirement = Callable[[TaskDefinition], bool]

_AMAZON = "com.amazonaws.ecs.capability."
_ECS = "ecs.capability."
_OWN = "ecs-anywhere.capability."

EXECUTE_COMMAND = f"{_ECS}execute-command"
"""What a task that is started with enableExecuteCommand asks for; no task definition can."""


VOLUME_DRIVER = "volume-driver-"
"""The feature of a driver of Docker volumes is this and its name."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DOCKER_FEATURES = _words(
    """docker external network-mode-bridge network-mode-host network-mode-none port-mapping port-ranges links dns
    extra-hosts hostname disable-networking other-user health-check restart-policy privileged read-only-root-filesystem
    security-options interactive pseudo-terminal ulimits system-controls kernel-capabilities devices shared-memory tmpfs
    shared-namespaces bind-mounts docker-volumes volume-driver-local volumes-from
    container-ordering execute-command secrets environment-files log-secrets registry-secrets ecr"""
)
"""What the Docker runtime can do on every machine."""

DOCKER_FEATURES_OF_SOME = _words(
    """init-process swap swappiness task-limits task-namespaces apparmor selinux gpu log-driver-fluentd log-driver-gelf
    log-driver-journald log-driver-json-file log-driver-splunk log-driver-syslog log-driver-awslogs
    execution-role-awslogs task-role task-role-network-host log-driver-awsfirelens firelens firelens-s3
    firelens-secrets"""
)
"""What it can do where the Engine and the machine let it."""

PROCESS_FEATURES = _words(
    """process external network-mode-host health-check restart-policy container-ordering execute-command secrets
    environment-files task-role task-role-network-host"""
)
"""What the process runtime can do on every machine."""

PROCESS_FEATURES_OF_SOME = _words("other-user ulimits task-limits")
"""What it can do as root, and where it may make control groups."""

LOG_DRIVERS = ("awsfirelens", "awslogs", "fluentd", "gelf", "journald", "json-file", "splunk", "syslog")


@dataclass(frozen=True)
class Capability:
    """`features` is what a runtime must be able to do to announce it.

    Those that some runtime has today are above, and of the machine cpu-x86_64 or cpu-arm64. Any other is yet to come:
    what needs it can be registered, and runs nowhere. port-mapping is a host port that is not the container's,
    other-user a user other than the agent's own.
    """

    name: str
    required_by: Requirement
    features: frozenset[str]


def _needs(name: str, required_by: Requirement, *features: str) -> Capability:
    return Capability(name, required_by, frozenset(features))


def _at(value: Any, path: str) -> Any:
    for member in path.split("."):
        value = (value or {}).get(member)
    return value


def _said(value: Any) -> bool:
    """The number 0 says something."""
    return value is not None and value is not False and value not in ("", [], {})


def _task(path: str) -> Requirement:
    return lambda definition: _said(_at(definition, path))


def _container(*paths: str) -> Requirement:
    return lambda definition: any(_said(_at(each, path)) for each in _containers(definition) for path in paths)


def _one(within: str, member: str, *values: str) -> Requirement:
    """One of a container's list has one of these values."""
    return lambda definition: any(
        each.get(member) in values for container in _containers(definition) for each in container.get(within) or ()
    )


def _containers(definition: TaskDefinition) -> Iterable[Mapping[str, Any]]:
    return definition.get("containerDefinitions") or ()


def _both(first: Requirement, second: Requirement) -> Requirement:
    return lambda definition: first(definition) and second(definition)


def _either(first: Requirement, second: Requirement) -> Requirement:
    return lambda definition: first(definition) or second(definition)


def _is(path: str, value: str) -> Requirement:
    return lambda definition: _at(definition, path) == value


def _some(path: str, *values: str) -> Requirement:
    return lambda definition: any(_at(each, path) in values for each in _containers(definition))


def _maps_ports(definition: TaskDefinition) -> bool:
    """A mapping to the same port, or to none that is named, asks nothing of a runtime without a network of its own."""
    if definition.get("networkMode") == "host":
        return False
    return any(
        mapping.get("hostPort", mapping.get("containerPort")) != mapping.get("containerPort")
        for container in _containers(definition)
        for mapping in container.get("portMappings") or ()
    )


def _maps_a_range(definition: TaskDefinition) -> bool:
    return any(
        mapping.get("containerPortRange")
        for container in _containers(definition)
        for mapping in container.get("portMappings") or ()
    )


def _checks_health(definition: TaskDefinition) -> bool:
    commands = [_at(container, "healthCheck.command") for container in _containers(definition)]
    return any(command and command[0] != "NONE" for command in commands)


def _secret(path: str, *, secrets_manager: bool) -> Requirement:
    """Whether one comes from Secrets Manager, or from Systems Manager's parameters: what is no ARN is a parameter."""
    return lambda definition: any(
        (":secretsmanager:" in secret.get("valueFrom", "")) is secrets_manager
        for container in _containers(definition)
        for secret in _at(container, path) or ()
    )


def _pulls_from_ecr(definition: TaskDefinition) -> bool:
    return any(".dkr.ecr" in container.get("image", "") for container in _containers(definition))


def _routes_logs_as_another_user(definition: TaskDefinition) -> bool:
    return any(
        container.get("firelensConfiguration") and container.get("user", "0").partition(":")[0] not in {"0", "root"}
        for container in _containers(definition)
    )


def _includes_yaml(definition: TaskDefinition) -> bool:
    """What is generated is no YAML, and Fluent Bit includes no YAML in that."""
    values = (_at(each, "firelensConfiguration.options.config-file-value") for each in _containers(definition))
    return any(value.lower().endswith((".yaml", ".yml")) for value in values if value)


def _routes_by_secrets(definition: TaskDefinition) -> bool:
    """Log options that are the log router's to know, not Docker's."""
    logs = (_at(container, "logConfiguration") or {} for container in _containers(definition))
    return any(each.get("logDriver") == "awsfirelens" and each.get("secretOptions") for each in logs)


def _begins(path: str, *prefixes: str) -> Requirement:
    return lambda definition: any(
        text.startswith(prefixes) for container in _containers(definition) for text in _at(container, path) or ()
    )


def _volume(*kinds: str) -> Requirement:
    return lambda definition: any(
        _at(volume, kind) is not None and _at(volume, kind) is not False
        for volume in definition.get("volumes") or ()
        for kind in kinds
    )


def _limits_several(definition: TaskDefinition) -> bool:
    """A single container can be given the limits of its task by any runtime."""
    return len(tuple(_containers(definition))) > 1 and (_said(definition.get("cpu")) or _said(definition.get("memory")))


def _windows(definition: TaskDefinition) -> bool:
    return (_at(definition, "runtimePlatform.operatingSystemFamily") or "LINUX") != "LINUX"


_LOGS = "logConfiguration.logDriver"

CAPABILITIES: tuple[Capability, ...] = (
    # What a runtime of today has.
    _needs(
        f"{_ECS}external", lambda definition: "EXTERNAL" in definition.get("requiresCompatibilities", ()), "external"
    ),
    _needs(f"{_AMAZON}docker-remote-api.1.18", _container("dockerLabels"), "docker"),
    _needs(f"{_ECS}container-health-check", _checks_health, "health-check"),
    _needs(EXECUTE_COMMAND, lambda _: False, "execute-command"),
    _needs(f"{_ECS}container-restart-policy", _container("restartPolicy.enabled"), "restart-policy"),
    _needs(f"{_OWN}port-mapping", _maps_ports, "port-mapping"),
    _needs(f"{_OWN}container-user", _container("user"), "other-user"),
    _needs(f"{_OWN}cpu-architecture.x86_64", _is("runtimePlatform.cpuArchitecture", "X86_64"), "cpu-x86_64"),
    _needs(f"{_OWN}cpu-architecture.arm64", _is("runtimePlatform.cpuArchitecture", "ARM64"), "cpu-arm64"),
    # Roles, images and secrets.
    _needs(f"{_AMAZON}task-iam-role", _task("taskRoleArn"), "task-role"),
    _needs(
        f"{_AMAZON}task-iam-role-network-host",
        _both(_task("taskRoleArn"), _is("networkMode", "host")),
        "task-role-network-host",
    ),
    # Without a role an image of ECR is one like any other: it may have been loaded on the machine.
    _needs(f"{_AMAZON}ecr-auth", _both(_task("executionRoleArn"), _pulls_from_ecr), "ecr"),
    _needs(f"{_ECS}execution-role-ecr-pull", _both(_task("executionRoleArn"), _pulls_from_ecr), "ecr"),
    _needs(
        f"{_ECS}private-registry-authentication.secretsmanager", _container("repositoryCredentials"), "registry-secrets"
    ),
    _needs(f"{_OWN}version-consistency", _some("versionConsistency", "enabled"), "version-consistency"),
    _needs(f"{_ECS}secrets.asm.environment-variables", _secret("secrets", secrets_manager=True), "secrets"),
    _needs(f"{_ECS}secrets.ssm.environment-variables", _secret("secrets", secrets_manager=False), "secrets"),
    _needs(f"{_ECS}env-files.s3", _container("environmentFiles"), "environment-files"),
    _needs(
        f"{_ECS}gmsa",
        _either(_begins("credentialSpecs", "credentialspec:"), _begins("dockerSecurityOptions", "credentialspec:")),
        "gmsa",
    ),
    _needs(f"{_ECS}gmsa-domainless", _begins("credentialSpecs", "credentialspecdomainless:"), "gmsa-domainless"),
    # Logs.
    *(_needs(f"{_AMAZON}logging-driver.{each}", _some(_LOGS, each), f"log-driver-{each}") for each in LOG_DRIVERS),
    _needs(
        f"{_ECS}execution-role-awslogs",
        _both(_task("executionRoleArn"), _some(_LOGS, "awslogs")),
        "execution-role-awslogs",
    ),
    _needs(
        f"{_ECS}logging-driver.awsfirelens.log-driver-buffer-limit",
        _both(_some(_LOGS, "awsfirelens"), _container("logConfiguration.options.log-driver-buffer-limit")),
        "log-driver-awsfirelens",
    ),
    _needs(
        f"{_ECS}secrets.asm.bootstrap.log-driver",
        _secret("logConfiguration.secretOptions", secrets_manager=True),
        "log-secrets",
    ),
    _needs(
        f"{_ECS}secrets.ssm.bootstrap.log-driver",
        _secret("logConfiguration.secretOptions", secrets_manager=False),
        "log-secrets",
    ),
    _needs(f"{_ECS}firelens.fluentd", _some("firelensConfiguration.type", "fluentd"), "firelens"),
    _needs(f"{_ECS}firelens.fluentbit", _some("firelensConfiguration.type", "fluentbit"), "firelens"),
    _needs(
        f"{_ECS}firelens.options.config.file",
        _some("firelensConfiguration.options.config-file-type", "file"),
        "firelens",
    ),
    _needs(
        f"{_ECS}firelens.options.config.s3",
        _some("firelensConfiguration.options.config-file-type", "s3"),
        "firelens",
        "firelens-s3",
    ),
    _needs(f"{_OWN}firelens-yaml", _includes_yaml, "firelens-yaml"),
    _needs(f"{_OWN}firelens-secrets", _routes_by_secrets, "firelens", "firelens-secrets"),
    _needs(f"{_ECS}firelens.non-root-user", _routes_logs_as_another_user, "firelens"),
    # The order of containers, and what they share.
    _needs(f"{_ECS}container-ordering", _container("dependsOn", "startTimeout"), "container-ordering"),
    _needs(f"{_OWN}links", _container("links"), "links"),
    _needs(f"{_OWN}volumes-from", _container("volumesFrom"), "volumes-from"),
    _needs(f"{_ECS}pid-ipc-namespace-sharing", _either(_task("pidMode"), _task("ipcMode")), "shared-namespaces"),
    _needs(f"{_OWN}task-namespaces", _either(_is("pidMode", "task"), _is("ipcMode", "task")), "task-namespaces"),
    _needs(f"{_ECS}task-cpu-mem-limit", _limits_several, "task-limits"),
    # Volumes. One that no container mounts changes nothing, but costs nobody anything either.
    _needs(f"{_OWN}bind-mounts", _either(_volume("host"), _container("mountPoints")), "bind-mounts"),
    _needs(f"{_OWN}docker-volumes", _volume("dockerVolumeConfiguration"), "docker-volumes"),
    _needs(f"{_ECS}efs", _volume("efsVolumeConfiguration"), "efs"),
    _needs(f"{_ECS}efsAuth", _volume("efsVolumeConfiguration.authorizationConfig"), "efs"),
    _needs(f"{_ECS}storage.s3-files", _volume("s3filesVolumeConfiguration"), "s3-files"),
    _needs(f"{_ECS}fsxWindowsFileServer", _volume("fsxWindowsFileServerVolumeConfiguration"), "fsx"),
    _needs(f"{_ECS}storage.ebs-task-attach", _volume("configuredAtLaunch"), "ebs"),
    # The network.
    _needs(f"{_ECS}task-eni", _is("networkMode", "awsvpc"), "task-eni"),
    _needs(f"{_ECS}network.container-port-range", _maps_a_range, "port-ranges"),
    _needs(f"{_ECS}aws-appmesh", _task("proxyConfiguration"), "app-mesh"),
    _needs(f"{_OWN}hostname", _container("hostname"), "hostname"),
    _needs(f"{_OWN}disable-networking", _container("disableNetworking"), "disable-networking"),
    _needs(f"{_OWN}dns", _container("dnsServers", "dnsSearchDomains"), "dns"),
    _needs(f"{_OWN}extra-hosts", _container("extraHosts"), "extra-hosts"),
    # What a container may do, and how much.
    _needs(f"{_AMAZON}privileged-container", _container("privileged"), "privileged"),
    _needs(f"{_OWN}read-only-root-filesystem", _container("readonlyRootFilesystem"), "read-only-root-filesystem"),
    _needs(f"{_AMAZON}selinux", _begins("dockerSecurityOptions", "label:"), "selinux"),
    _needs(f"{_AMAZON}apparmor", _begins("dockerSecurityOptions", "apparmor:"), "apparmor"),
    _needs(f"{_OWN}security-options", _container("dockerSecurityOptions"), "security-options"),
    _needs(f"{_OWN}interactive", _container("interactive"), "interactive"),
    _needs(f"{_OWN}pseudo-terminal", _container("pseudoTerminal"), "pseudo-terminal"),
    # Amazon's name for it, Docker's API 1.18, no process has.
    _needs(f"{_OWN}ulimits", _container("ulimits"), "ulimits"),
    _needs(f"{_OWN}system-controls", _container("systemControls"), "system-controls"),
    _needs(f"{_OWN}kernel-capabilities", _container("linuxParameters.capabilities"), "kernel-capabilities"),
    _needs(f"{_OWN}devices", _container("linuxParameters.devices"), "devices"),
    _needs(f"{_AMAZON}docker-remote-api.1.25", _container("linuxParameters.initProcessEnabled"), "init-process"),
    _needs(f"{_OWN}shared-memory", _container("linuxParameters.sharedMemorySize"), "shared-memory"),
    _needs(f"{_OWN}tmpfs", _container("linuxParameters.tmpfs"), "tmpfs"),
    _needs(f"{_OWN}swap", _container("linuxParameters.maxSwap"), "swap"),
    _needs(f"{_OWN}swappiness", _container("linuxParameters.swappiness"), "swappiness"),
    _needs(f"{_OWN}gpu", _one("resourceRequirements", "type", "GPU"), "gpu"),
    _needs(f"{_OWN}neuron-devices", _one("resourceRequirements", "type", "NeuronDevice"), "neuron-devices"),
    _needs(
        f"{_ECS}task-eia",
        _either(_task("inferenceAccelerators"), _one("resourceRequirements", "type", "InferenceAccelerator")),
        "elastic-inference",
    ),
    _needs(f"{_ECS}fault-injection", _task("enableFaultInjection"), "fault-injection"),
    _needs(f"{_OWN}windows", _windows, "windows"),
)


def _plugin(driver: str) -> str:
    """An attribute's name has no colon: Amazon's agent writes `vieux/sshfs.latest`."""
    return f"{_ECS}docker-plugin.{driver.replace(':', '.')}"


def _volume_drivers(definition: TaskDefinition) -> Iterable[str]:
    """An attribute for each: which ones there are, only a machine's Docker Engine knows."""
    for volume in definition.get("volumes") or ():
        if volume.get("dockerVolumeConfiguration"):
            yield _plugin(volume["dockerVolumeConfiguration"].get("driver", "local"))


def required_attributes(definition: TaskDefinition) -> tuple[str, ...]:
    """Names of the attributes that an instance must have to run a task definition, sorted."""
    names = {capability.name for capability in CAPABILITIES if capability.required_by(definition)}
    return tuple(sorted(names.union(_volume_drivers(definition))))


def announced_attributes(features: Iterable[str]) -> tuple[str, ...]:
    """Names of the attributes that a runtime with these features announces, sorted."""
    able = frozenset(features)
    names = {capability.name for capability in CAPABILITIES if capability.features <= able}
    drivers = (each.removeprefix(VOLUME_DRIVER) for each in able if each.startswith(VOLUME_DRIVER))
    return tuple(sorted(names.union(map(_plugin, drivers))))
