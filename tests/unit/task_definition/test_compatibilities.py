"""On what a definition can run, what each launch type refuses, and how an awsvpc one runs on one's own machines."""

from typing import Any

import pytest

from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.task_definition import normalise
from control_plane.domain.task_definition_network import on_external
from control_plane.domain.task_definition_sizes import FARGATE_MEMORY
from control_plane.domain.task_overrides import task_resources
from unit.task_definition.builders import container, definition, port, request

ROLE = "arn:aws:iam::123456789012:role/role"
AWSLOGS = {"awslogs-group": "g", "awslogs-region": "eu-west-1"}


def tagged(mode: str) -> list[dict[str, str]]:
    return [{"key": "ecs-anywhere:external-network-mode", "value": mode}]


def fargate(*containers: dict[str, Any], **members: Any) -> dict[str, Any]:
    asked = {"networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"], **members}
    return request(*(containers or ({"name": "main", "image": "busybox"},)), **asked)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param({}, ["EXTERNAL", "EC2"], id="bridge"),
        pytest.param({"networkMode": "none"}, ["EXTERNAL", "EC2"], id="no-network"),
        pytest.param({"networkMode": "host"}, ["EXTERNAL", "EC2", "MANAGED_INSTANCES"], id="host"),
        pytest.param({"networkMode": "awsvpc"}, ["EC2", "MANAGED_INSTANCES"], id="awsvpc"),
        pytest.param(
            {"networkMode": "awsvpc", "cpu": "0.25 vCPU", "memory": "0.5 GB"},
            ["EC2", "MANAGED_INSTANCES", "FARGATE"],
            id="awsvpc-of-a-size-that-fargate-has",
        ),
        pytest.param(
            {"networkMode": "awsvpc", "cpu": "256", "memory": "512", "tags": tagged("host")},
            ["EXTERNAL", "EC2", "MANAGED_INSTANCES", "FARGATE"],
            id="awsvpc-on-both-sides",
        ),
        pytest.param(
            {"networkMode": "awsvpc", "cpu": "256", "memory": "512", "ephemeralStorage": {"sizeInGiB": 21}},
            ["FARGATE"],
            id="ephemeral-storage",
        ),
        pytest.param(
            {"volumes": [{"name": "d", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]}, ["EC2"], id="efs"
        ),
        pytest.param({"inferenceAccelerators": [{"deviceName": "a", "deviceType": "b"}]}, ["EC2"], id="accelerator"),
    ],
)
def test_on_what_a_definition_can_run(members: dict[str, Any], expected: list[str]) -> None:
    assert definition(**members)["compatibilities"] == expected


def test_what_fargate_takes() -> None:
    whole = container(
        image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/web",
        stopTimeout=120,
        logConfiguration={"logDriver": "awslogs", "options": {**AWSLOGS, "awslogs-stream-prefix": "p"}},
        linuxParameters={"capabilities": {"add": ["SYS_PTRACE"]}, "initProcessEnabled": True},
        portMappings=[port(80)],
    )
    made = normalise(
        fargate(whole, executionRoleArn=ROLE, pidMode="task", ephemeralStorage={"sizeInGiB": 200}, volumes=[])
    )
    assert made["compatibilities"] == ["FARGATE"]
    assert made["containerDefinitions"][0]["portMappings"] == [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"networkMode": "bridge"}, "Fargate only supports network mode 'awsvpc'.", id="network"),
        pytest.param({"cpu": ""}, "Fargate requires that 'cpu' be defined at the task level.", id="no-cpu"),
        pytest.param({"memory": ""}, "Fargate requires that 'memory' be defined at the task level.", id="no-memory"),
        pytest.param(
            {"memory": "513"}, "No Fargate configuration exists for given values: 256 CPU, 513 memory.", id="memory"
        ),
        pytest.param({"cpu": "257"}, "No Fargate configuration exists for given values", id="cpu"),
        pytest.param(
            {"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}},
            "No Fargate configuration exists for given values",
            id="windows-needs-a-cpu",
        ),
        pytest.param({"ipcMode": "task"}, "Tasks using the Fargate launch type do not support ipcMode.", id="ipc"),
        pytest.param({"pidMode": "host"}, "do not support pidMode 'host'. The supported value", id="pid"),
        pytest.param(
            {"placementConstraints": [{"type": "memberOf", "expression": "agentConnected == true"}]},
            "Fargate compatible task definitions do not support constraints",
            id="constraints",
        ),
        pytest.param(
            {"volumes": [{"name": "d", "host": {"sourcePath": "/srv"}}]},
            "Fargate compatible task definitions do not support sourcePath",
            id="source-path",
        ),
        pytest.param(
            {"volumes": [{"name": "d", "dockerVolumeConfiguration": {"driver": "local"}}]},
            "Fargate compatible task definitions do not support dockerVolumeConfiguration",
            id="docker-volume",
        ),
        pytest.param(
            {"ephemeralStorage": {"sizeInGiB": 20}}, "EphemeralStorage size should be at least 21", id="little-storage"
        ),
        pytest.param(
            {"ephemeralStorage": {"sizeInGiB": 201}}, "EphemeralStorage size should be at most 200", id="much-storage"
        ),
    ],
)
def test_what_fargate_refuses(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        normalise(fargate(**members) if members.get("memory", "x") else fargate(container(), **members))
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param(
            {"privileged": True}, "Fargate requires that the 'privileged' setting be 'false'", id="privileged"
        ),
        pytest.param(
            {"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}},
            "SYS_ADMIN is not allowed on Fargate.",
            id="add",
        ),
        pytest.param(
            {"linuxParameters": {"devices": [{"hostPath": "/dev/fuse"}]}},
            "Fargate compatible task definitions do not support devices",
            id="devices",
        ),
        pytest.param(
            {"linuxParameters": {"sharedMemorySize": 64}},
            "Fargate compatible task definitions do not support sharedMemorySize",
            id="shared-memory",
        ),
        pytest.param(
            {"dockerSecurityOptions": ["no-new-privileges"]},
            "Fargate compatible task definitions do not support dockerSecurityOptions",
            id="security-options",
        ),
        pytest.param(
            {"resourceRequirements": [{"type": "GPU", "value": "1"}]},
            "Fargate compatible task definitions do not support resourceRequirements",
            id="gpu",
        ),
        pytest.param(
            {"stopTimeout": 121},
            "Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds.",
            id="stop-timeout",
        ),
        pytest.param(
            {"logConfiguration": {"logDriver": "gelf"}},
            "gelf is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]",
            id="log-driver",
        ),
        pytest.param(
            {"logConfiguration": {"logDriver": "awslogs", "options": {**AWSLOGS, "awslogs-stream-prefix": "p"}}},
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
            id="awslogs-without-a-role",
        ),
        pytest.param(
            {"logConfiguration": {"logDriver": "awslogs", "options": AWSLOGS}},
            "Fargate requires log configuration options to include awslogs-stream-prefix",
            id="awslogs-without-a-prefix",
        ),
        pytest.param(
            {"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web"},
            "Fargate requires task definition to have execution role ARN to support ECR images.",
            id="ecr-without-a-role",
        ),
    ],
)
def test_containers_that_fargate_refuses(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        normalise(fargate(container(**members)))
    assert words in raised.value.message
    made = normalise({**fargate(container(**members)), "requiresCompatibilities": ["EC2"]})
    assert "FARGATE" not in made["compatibilities"]


def test_the_sizes_that_fargate_has() -> None:
    """By Amazon's table: the least and the greatest memory of each, and how many there are."""
    assert {cpu: (sizes[0], sizes[-1], len(sizes)) for cpu, sizes in FARGATE_MEMORY.items()} == {
        256: (512, 2048, 3),
        512: (1024, 4096, 4),
        1024: (2048, 8192, 7),
        2048: (4096, 16384, 13),
        4096: (8192, 30720, 23),
        8192: (16384, 61440, 12),
        16384: (32768, 122880, 12),
    }


@pytest.mark.parametrize(
    ("required", "members", "words"),
    [
        pytest.param("EXTERNAL", {"networkMode": "awsvpc"}, "ecs-anywhere:external-network-mode = bridge", id="awsvpc"),
        pytest.param("EXTERNAL", {"ephemeralStorage": {"sizeInGiB": 21}}, "only supported for Fargate", id="storage"),
        pytest.param("EC2", {"ephemeralStorage": {"sizeInGiB": 21}}, "only supported for Fargate tasks.", id="ec2"),
        pytest.param(
            "EXTERNAL",
            {"volumes": [{"name": "d", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
            "Tasks using the External launch type do not support efsVolumeConfiguration.",
            id="efs",
        ),
        pytest.param("MANAGED_INSTANCES", {}, "only support network modes 'awsvpc' and 'host'", id="managed-instances"),
        pytest.param(
            "MANAGED_INSTANCES",
            {"networkMode": "host", "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}},
            "only support the operating system family LINUX",
            id="managed-windows",
        ),
    ],
)
def test_what_is_required_and_cannot_be(required: str, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        definition(requiresCompatibilities=[required], **members)
    assert words in raised.value.message


def test_a_definition_that_nothing_could_run_is_refused() -> None:
    with pytest.raises(ClientException) as raised:
        definition(ephemeralStorage={"sizeInGiB": 21})
    assert raised.value.message == "Fargate only supports network mode 'awsvpc'."


@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_an_awsvpc_definition_runs_on_ones_own_machines_in_the_mode_that_its_tag_names(mode: str) -> None:
    made = definition(
        container(portMappings=[port(80)]),
        networkMode="awsvpc",
        requiresCompatibilities=["EXTERNAL"],
        tags=tagged(mode),
    )
    assert made["networkMode"] == "awsvpc"
    assert made["requiresAttributes"] == [{"name": "ecs.capability.external"}]
    assert on_external(made) == {
        **{name: value for name, value in made.items() if name != "externalNetworkMode"},
        "networkMode": mode,
    }
    assert task_resources(on_external(made), {}).ports == {(80, "tcp")}


def test_without_the_tag_it_needs_a_network_interface() -> None:
    assert definition(networkMode="awsvpc")["requiresAttributes"] == [{"name": "ecs.capability.task-eni"}]


def test_another_definition_runs_in_its_own_mode_whatever_the_tag_says() -> None:
    made = definition(networkMode="none", tags=tagged("host"))
    assert on_external(made) == made == definition(networkMode="none")


@pytest.mark.parametrize("mode", ["none", "awsvpc", "", "Host"])
def test_a_tag_that_is_not_understood(mode: str) -> None:
    with pytest.raises(InvalidParameterException, match="Write bridge or host"):
        definition(networkMode="awsvpc", tags=tagged(mode))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"links": ["side"]}, "Links are not supported when networkMode=awsvpc"),
        ({"hostname": "a"}, "hostname is not supported on container when networkMode=awsvpc"),
        (
            {"extraHosts": [{"hostname": "a", "ipAddress": "10.0.0.1"}]},
            "Extra hosts are not supported on container when networkMode=awsvpc",
        ),
        ({"dnsServers": ["10.0.0.1"]}, "DNS servers are not supported on container when networkMode=awsvpc"),
        ({"disableNetworking": True}, "Disable Networking is not supported on container when networkMode=awsvpc"),
        (
            {"portMappings": [port(80, 8080)]},
            "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        ),
    ],
)
def test_what_awsvpc_has_not(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        definition(container(**members), networkMode="awsvpc")
    assert raised.value.message == words
