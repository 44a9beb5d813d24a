"""Each member of botocore's task definition is honoured, is harmless, or keeps the task from every machine of today.

A member that a newer botocore brings fails here until somebody has decided which it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape

from control_plane.domain.task_definition import normalise
from control_plane.domain.task_definition_members import CAPABLE, HARMLESS, HONOURED
from control_plane.gateways.ecs_model import service_model
from ecs_protocol.capabilities import (
    DOCKER_FEATURES,
    DOCKER_FEATURES_OF_SOME,
    PROCESS_FEATURES,
    PROCESS_FEATURES_OF_SOME,
    announced_attributes,
)
from unit.task_definition.builders import container, port, request

SHAPE: Any = service_model().operation_model("RegisterTaskDefinition").input_shape

MACHINES = (
    DOCKER_FEATURES | DOCKER_FEATURES_OF_SOME | {"cpu-x86_64", "volume-driver-rexray/ebs"},
    PROCESS_FEATURES | PROCESS_FEATURES_OF_SOME | {"cpu-x86_64"},
)
"""What the runtimes of today can do."""

ROLE = "arn:aws:iam::123456789012:role/role"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s"
ARN = "arn:aws:s3:::bucket/key"


def leaves(shape: Shape, path: str = "") -> Iterator[str]:
    """The paths of the model that hold a value: of structures, their members'."""
    if isinstance(shape, ListShape):
        yield from leaves(shape.member, path)
    elif isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    else:
        yield path


def paths_of(value: Any, path: str = "") -> Iterator[str]:
    """The paths that a request has, of those in the model."""
    if path in LEAVES:
        yield path
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from paths_of(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for each in value:
            yield from paths_of(each, path)


LEAVES = frozenset(leaves(SHAPE))


def test_every_member_of_amazons_model_has_been_decided_upon() -> None:
    assert HONOURED | HARMLESS.keys() | CAPABLE == LEAVES
    assert not HONOURED & HARMLESS.keys() | CAPABLE & (HONOURED | HARMLESS.keys())


def volume(**members: Any) -> dict[str, Any]:
    mounted = container(mountPoints=[{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}])
    return request(mounted, volumes=[{"name": "data", **members}])


SIDE = container(name="side", essential=False)
ROUTED = container(logConfiguration={"logDriver": "awsfirelens", "options": {"Name": "stdout"}})


def routed_with(kind: str, where: str) -> dict[str, Any]:
    options = {"config-file-type": kind, "config-file-value": where}
    return request(ROUTED, container(name="side", firelensConfiguration={"type": "fluentbit", "options": options}))


ACCELERATED = {"inferenceAccelerators": [{"deviceName": "eia", "deviceType": "eia1.medium"}]}
PROPERTIES = [
    {"name": name, "value": "1"} for name in ("ProxyIngressPort", "ProxyEgressPort", "AppPorts", "IgnoredUID")
]
ENCRYPTED = {"transitEncryption": "ENABLED", "transitEncryptionPort": 2999}
ACCESS_POINT = {"authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"}}

SAMPLES: Mapping[str, dict[str, Any]] = {
    "task-role": request(taskRoleArn=ROLE),
    "pid-mode-task": request(pidMode="task"),
    "pid-mode-host": request(pidMode="host"),
    "ipc-mode-task": request(ipcMode="task"),
    "ipc-mode-none": request(ipcMode="none"),
    "fault-injection": request(enableFaultInjection=True),
    "inference-accelerators": request(**ACCELERATED),
    "proxy": request(
        networkMode="awsvpc",
        tags=[{"key": "ecs-anywhere:external-network-mode", "value": "host"}],
        proxyConfiguration={"type": "APPMESH", "containerName": "main", "properties": PROPERTIES},
    ),
    "volume-that-docker-chooses": volume(),
    "volume-of-the-machine": volume(host={"sourcePath": "/srv"}),
    "volume-that-nothing-mounts": request(volumes=[{"name": "data"}]),
    "volume-configured-at-launch": volume(configuredAtLaunch=True),
    "docker-volume": volume(
        dockerVolumeConfiguration={
            "scope": "shared",
            "autoprovision": True,
            "driver": "rexray/ebs",
            "driverOpts": {"a": "b"},
            "labels": {"a": "b"},
        }
    ),
    "efs": volume(efsVolumeConfiguration={"fileSystemId": "fs-1", "rootDirectory": "/", **ENCRYPTED, **ACCESS_POINT}),
    "s3-files": volume(
        s3filesVolumeConfiguration={
            "fileSystemArn": "arn:aws:s3files:eu-west-1:1:file-system/fs",
            "rootDirectory": "/",
            "transitEncryptionPort": 2999,
            "accessPointArn": "arn:aws:s3files:eu-west-1:1:access-point/ap",
        }
    ),
    "fsx": volume(
        fsxWindowsFileServerVolumeConfiguration={
            "fileSystemId": "fs-1",
            "rootDirectory": "share",
            "authorizationConfig": {"credentialsParameter": SECRET, "domain": "example.com"},
        }
    ),
    "links": request(container(links=["side:s"]), SIDE),
    "hostname": request(container(hostname="web")),
    "no-network": request(container(disableNetworking=True)),
    "dns-servers": request(container(dnsServers=["10.0.0.2"])),
    "dns-search-domains": request(container(dnsSearchDomains=["example.com"])),
    "extra-hosts": request(container(extraHosts=[{"hostname": "db", "ipAddress": "10.0.0.3"}])),
    "privileged": request(container(privileged=True)),
    "read-only": request(container(readonlyRootFilesystem=True)),
    "security-options": request(container(dockerSecurityOptions=["no-new-privileges"])),
    "interactive": request(container(interactive=True)),
    "pseudo-terminal": request(container(pseudoTerminal=True)),
    "start-timeout": request(container(startTimeout=10)),
    "version-consistency": request(container(versionConsistency="enabled")),
    "credential-specs": request(container(credentialSpecs=[f"credentialspec:{ARN}"])),
    "credential-specs-as-security-option": request(container(dockerSecurityOptions=[f"credentialspec:{ARN}"])),
    "volume-driver-that-is-nowhere": volume(dockerVolumeConfiguration={"driver": "elsewhere"}),
    "domainless-credential-specs": request(container(credentialSpecs=[f"credentialspecdomainless:{ARN}"])),
    "repository-credentials": request(container(repositoryCredentials={"credentialsParameter": SECRET})),
    "port-range": request(container(portMappings=[{"containerPortRange": "8000-8009", "protocol": "tcp"}])),
    "environment-files": request(container(environmentFiles=[{"value": ARN, "type": "s3"}])),
    "volumes-from": request(container(volumesFrom=[{"sourceContainer": "side", "readOnly": True}]), SIDE),
    "init-process": request(container(linuxParameters={"initProcessEnabled": True})),
    "shared-memory": request(container(linuxParameters={"sharedMemorySize": 64})),
    "no-swap": request(container(linuxParameters={"maxSwap": 0})),
    "swappiness": request(container(linuxParameters={"swappiness": 0})),
    "more-kernel-capabilities": request(container(linuxParameters={"capabilities": {"add": ["NET_ADMIN"]}})),
    "fewer-kernel-capabilities": request(container(linuxParameters={"capabilities": {"drop": ["ALL"]}})),
    "devices": request(
        container(
            linuxParameters={
                "devices": [{"hostPath": "/dev/fuse", "containerPath": "/dev/fuse", "permissions": ["read"]}]
            }
        )
    ),
    "tmpfs": request(
        container(linuxParameters={"tmpfs": [{"containerPath": "/tmp", "size": 64, "mountOptions": ["noexec"]}]})
    ),
    "secrets-of-secrets-manager": request(
        container(secrets=[{"name": "A", "valueFrom": SECRET}]), executionRoleArn=ROLE
    ),
    "secrets-of-systems-manager": request(container(secrets=[{"name": "A", "valueFrom": "a"}]), executionRoleArn=ROLE),
    "depends-on": request(container(dependsOn=[{"containerName": "side", "condition": "START"}]), SIDE),
    "ulimits": request(container(ulimits=[{"name": "nofile", "softLimit": 1, "hardLimit": 2}])),
    "log-secrets": request(
        container(
            logConfiguration={
                "logDriver": "splunk",
                "options": {"splunk-url": "https://example.com"},
                "secretOptions": [{"name": "splunk-token", "valueFrom": SECRET}],
            }
        ),
        executionRoleArn=ROLE,
    ),
    "system-controls": request(container(systemControls=[{"namespace": "net.core.somaxconn", "value": "1024"}])),
    "gpu": request(container(resourceRequirements=[{"type": "GPU", "value": "1"}])),
    "neuron": request(container(resourceRequirements=[{"type": "NeuronDevice", "value": "ALL"}])),
    "limits-of-several-containers": request(container(), SIDE, cpu="256", memory="512"),
    "firelens": request(
        ROUTED, container(name="side", firelensConfiguration={"type": "fluentbit", "options": {"a": "b"}})
    ),
    "firelens-fluentd": request(ROUTED, container(name="side", firelensConfiguration={"type": "fluentd"})),
    "firelens-as-another-user": request(
        ROUTED, container(name="side", user="1234:5678", firelensConfiguration={"type": "fluentbit"})
    ),
    "firelens-with-a-buffer": request(
        container(logConfiguration={"logDriver": "awsfirelens", "options": {"log-driver-buffer-limit": "2097152"}}),
        container(name="side", firelensConfiguration={"type": "fluentbit"}),
    ),
    "firelens-with-a-file": routed_with("file", "/own.conf"),
    "firelens-with-a-file-of-s3": routed_with("s3", ARN),
    "firelens-with-yaml": routed_with("file", "/own.YAML"),
    "firelens-with-secrets": request(
        container(
            logConfiguration={
                "logDriver": "awsfirelens",
                "options": {"Name": "splunk"},
                "secretOptions": [{"name": "splunk_token", "valueFrom": SECRET}],
            }
        ),
        container(name="side", firelensConfiguration={"type": "fluentbit"}),
        executionRoleArn=ROLE,
    ),
    **{
        f"log-driver-{driver}": request(container(logConfiguration={"logDriver": driver, "options": {"tag": "web"}}))
        for driver in ("fluentd", "gelf", "journald", "json-file", "splunk", "syslog")
    },
    "log-driver-awslogs": request(
        container(
            logConfiguration={
                "logDriver": "awslogs",
                "options": {"awslogs-group": "g", "awslogs-region": "eu-west-1"},
            }
        )
    ),
    "image-of-ecr-that-a-role-pulls": request(
        container(image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/web"), executionRoleArn=ROLE
    ),
    "windows": request(runtimePlatform={"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}),
}


def runs_on_a_machine_of_today(made: Mapping[str, Any]) -> bool:
    required = {attribute["name"] for attribute in made["requiresAttributes"]}
    return "EXTERNAL" in made["compatibilities"] and any(
        required <= set(announced_attributes(machine)) for machine in MACHINES
    )


NOWHERE = frozenset(
    [
        "fault-injection",
        "inference-accelerators",
        "proxy",
        "volume-configured-at-launch",
        "efs",
        "s3-files",
        "fsx",
        "version-consistency",
        "credential-specs",
        "credential-specs-as-security-option",
        "volume-driver-that-is-nowhere",
        "domainless-credential-specs",
        "neuron",
        "firelens-with-yaml",
        "windows",
    ]
)
"""What no runtime of today honours."""

RUNS_EVERYWHERE = frozenset(
    [
        "task-role",
        "volume-that-nothing-mounts",
        "ulimits",
        "depends-on",
        "start-timeout",
        "limits-of-several-containers",
        "environment-files",
        "secrets-of-secrets-manager",
        "secrets-of-systems-manager",
    ]
)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_runtime_honours_runs_and_what_none_does_is_registered_and_reaches_no_machine(name: str) -> None:
    made = normalise(SAMPLES[name])
    assert runs_on_a_machine_of_today(made) is (name not in NOWHERE)
    required = {attribute["name"] for attribute in made["requiresAttributes"]}
    announced = {name for machine in MACHINES for name in announced_attributes(machine)}
    assert bool(required - announced) is (name in NOWHERE)


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - NOWHERE - RUNS_EVERYWHERE))
def test_what_only_docker_honours_reaches_no_other_runtime(name: str) -> None:
    required = {attribute["name"] for attribute in normalise(SAMPLES[name])["requiresAttributes"]}
    assert required - set(announced_attributes(MACHINES[1]))


def test_each_member_that_no_runtime_honours_has_a_sample() -> None:
    assert {path for name in NOWHERE for path in paths_of(SAMPLES[name])} >= CAPABLE


EVERYTHING_HONOURED = request(
    container(
        cpu=128,
        memoryReservation=32,
        essential=True,
        entryPoint=["sh"],
        command=["-c", "true"],
        environment=[{"name": "A", "value": "b"}],
        portMappings=[port(80, 8080, protocol="udp", name="web", appProtocol="http")],
        workingDirectory="/srv",
        user="app",
        stopTimeout=10,
        dockerLabels={"a": "b"},
        healthCheck={"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 0},
        restartPolicy={"enabled": True, "ignoredExitCodes": [0], "restartAttemptPeriod": 60},
    ),
    networkMode="bridge",
    requiresCompatibilities=["EXTERNAL"],
    cpu="256",
    memory="512",
    runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
    executionRoleArn=ROLE,
    placementConstraints=[{"type": "memberOf", "expression": "attribute:site == basement"}],
    tags=[{"key": "a", "value": "b"}],
)


def test_what_is_honoured_or_harmless_runs() -> None:
    assert runs_on_a_machine_of_today(normalise(EVERYTHING_HONOURED))
    honoured = (SAMPLES[name] for name in SAMPLES.keys() - NOWHERE)
    used = {path for sample in (EVERYTHING_HONOURED, *honoured) for path in paths_of(sample)}
    assert used == (HONOURED | HARMLESS.keys()) - {"ephemeralStorage.sizeInGiB"}


def test_what_is_sent_is_what_is_answered() -> None:
    """Member for member, in its order: so Terraform's second plan is empty."""
    for sample in (*SAMPLES.values(), EVERYTHING_HONOURED):
        made = normalise(sample)
        assert holds(made, {name: value for name, value in sample.items() if name != "tags"})


def holds(made: Any, said: Any) -> bool:
    """Whether an answer has all that was said, and only more members."""
    if isinstance(said, Mapping):
        return all(name in made and holds(made[name], value) for name, value in said.items())
    if isinstance(said, list):
        return len(made) == len(said) and all(map(holds, made, said))
    return bool(made == said)
