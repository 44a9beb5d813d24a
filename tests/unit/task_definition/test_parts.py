"""What the parts of a definition complete, and refuse: volumes, dependencies, logs, secrets, Linux parameters."""

from typing import Any

import pytest

from control_plane.domain.errors import ClientException
from unit.task_definition.builders import container, definition, port

ROLE = "arn:aws:iam::123456789012:role/role"
SIDE = container(name="side", essential=False)
CHECKED = container(name="side", essential=False, healthCheck={"command": ["CMD", "true"]})
ROUTED = container(logConfiguration={"logDriver": "awsfirelens"})
ROUTER = container(name="side", firelensConfiguration={"type": "fluentbit"})


def depends(condition: str, on: str = "side") -> dict[str, Any]:
    return {"dependsOn": [{"containerName": on, "condition": condition}]}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param({}, {"host": {}}, id="a-directory-that-docker-chooses"),
        pytest.param({"host": {}}, {"host": {}}, id="in-so-many-words"),
        pytest.param({"host": {"sourcePath": "/srv"}}, {"host": {"sourcePath": "/srv"}}, id="one-of-the-machine"),
        pytest.param(
            {"dockerVolumeConfiguration": {"driver": "local"}},
            {"dockerVolumeConfiguration": {"driver": "local", "scope": "task"}},
            id="docker-volume",
        ),
        pytest.param(
            {"dockerVolumeConfiguration": {"scope": "shared"}},
            {"dockerVolumeConfiguration": {"scope": "shared", "autoprovision": False}},
            id="shared-docker-volume",
        ),
        pytest.param(
            {"efsVolumeConfiguration": {"fileSystemId": "fs-1"}},
            {"efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/"}},
            id="efs",
        ),
        pytest.param({"configuredAtLaunch": False}, {"configuredAtLaunch": False, "host": {}}, id="not-at-launch"),
    ],
)
def test_how_a_volume_is_completed(given: dict[str, Any], stored: dict[str, Any]) -> None:
    assert definition(volumes=[{"name": "data", **given}])["volumes"] == [{"name": "data", **stored}]


def test_a_router_of_logs_runs_as_root_unless_it_says_otherwise() -> None:
    users = [
        definition(ROUTED, {**ROUTER, **said})["containerDefinitions"][1]["user"] for said in ({}, {"user": "1000"})
    ]
    assert users == ["0", "1000"]


EFS_ACCESS_POINT = {"authorizationConfig": {"accessPointId": "fsap-1"}, "transitEncryption": "ENABLED"}


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        pytest.param([{}], "Volume.name should not be null or empty.", id="no-name"),
        pytest.param([{"name": "a b"}], "Volume.name contains invalid characters.", id="name"),
        pytest.param([{"name": "a"}, {"name": "a"}], "Volume 'a' is declared more than once.", id="twice"),
        pytest.param(
            [{"name": "a", "host": {}, "efsVolumeConfiguration": {"fileSystemId": "fs"}}],
            "Volume 'a' can be of one kind only, but has host and efsVolumeConfiguration.",
            id="two-kinds",
        ),
        pytest.param(
            [{"name": "a", "dockerVolumeConfiguration": {"scope": "task", "autoprovision": True}}],
            "autoprovision is only for volumes of scope shared.",
            id="autoprovision",
        ),
        pytest.param(
            [{"name": "a", "efsVolumeConfiguration": {"fileSystemId": "", "rootDirectory": "/"}}],
            "volume.efsVolumeConfiguration.fileSystemId should not be null or empty.",
            id="no-file-system",
        ),
        pytest.param(
            [
                {
                    "name": "a",
                    "efsVolumeConfiguration": {"fileSystemId": "fs", "authorizationConfig": {"iam": "ENABLED"}},
                }
            ],
            "EFS IAM authorization requires TransitEncryption to be enabled",
            id="efs-iam",
        ),
        pytest.param(
            [{"name": "a", "efsVolumeConfiguration": {"fileSystemId": "fs", "transitEncryptionPort": 2999}}],
            "TransitEncryptionPort requires that TransitEncryption is enabled",
            id="efs-port",
        ),
        pytest.param(
            [
                {
                    "name": "a",
                    "efsVolumeConfiguration": {"fileSystemId": "fs", "rootDirectory": "/x", **EFS_ACCESS_POINT},
                }
            ],
            'When using an EFS access point, the root directory must either be set to "/" or be omitted',
            id="efs-root",
        ),
        pytest.param(
            [{"name": "a", "configuredAtLaunch": True}],
            "Volumes [a] are not referenced by any of the containers",
            id="at-launch-and-unmounted",
        ),
        pytest.param(
            [{"name": "a", "size": 1}], "volumes of task definition: 'size' is not supported yet", id="unknown"
        ),
    ],
)
def test_volumes_that_are_refused(volumes: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        definition(volumes=volumes)
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("containers", "members", "words"),
    [
        pytest.param(
            [container(mountPoints=[{"sourceVolume": "x", "containerPath": "/x"}])],
            {},
            "Unknown volume 'x'.",
            id="volume",
        ),
        pytest.param(
            [container(mountPoints=[{"sourceVolume": "data"}])],
            {"volumes": [{"name": "data"}]},
            "Container path should not be null or empty for container 'main'.",
            id="mounted-nowhere",
        ),
        pytest.param(
            [container(volumesFrom=[{"sourceContainer": "x"}])],
            {},
            "Invalid 'volumesFrom' setting. Unknown container: 'x'",
            id="volumes-from",
        ),
        pytest.param(
            [container(**depends("START", "x"))],
            {},
            "Cannot depend on container 'x' because it does not exist",
            id="depends-on-nobody",
        ),
        pytest.param([container(**depends("START", "main"))], {}, "dependsOn contains a cycle", id="depends-on-itself"),
        pytest.param(
            [container(**depends("START")), container(name="side", **depends("START", "main"))],
            {},
            "Container dependsOn contains a cycle",
            id="depend-on-each-other",
        ),
        *(
            pytest.param(
                [container(**depends(condition)), container(name="side")],
                {},
                "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                id=f"waits-for-{condition}-of-an-essential-one",
            )
            for condition in ("SUCCESS", "COMPLETE")
        ),
        pytest.param(
            [container(**depends("HEALTHY")), SIDE],
            {},
            "A dependency container with HEALTHY condition must have health check configured",
            id="waits-for-the-health-of-what-has-no-check",
        ),
        pytest.param(
            [container(**depends("HEALTHY")), {**CHECKED, "healthCheck": {"command": ["NONE"]}}],
            {},
            "must have health check configured",
            id="waits-for-the-health-of-what-has-none",
        ),
        pytest.param([container(links=["x"])], {}, "Invalid 'links' setting. Unknown container: 'x'", id="link"),
        pytest.param(
            [container(links=["side"]), container(name="side", links=["main:m"])],
            {},
            "Container links should not have a cycle",
            id="linked-to-each-other",
        ),
        pytest.param(
            [container(links=["side"]), SIDE],
            {"networkMode": "host"},
            "Links are not supported when networkMode=host",
            id="links-in-host-mode",
        ),
        pytest.param([ROUTED], {}, "When awsfirelens log driver is specified", id="no-router"),
        pytest.param([container(), ROUTER], {}, "When a firelensConfiguration object is specified", id="unused-router"),
        pytest.param(
            [ROUTED, ROUTER, {**ROUTER, "name": "third"}], {}, "Only one container of a task definition", id="routers"
        ),
        pytest.param(
            [container(systemControls=[{"namespace": "net.ipv4.ip_forward", "value": "1"}])],
            {"networkMode": "host"},
            "Network namespace systemControls are not supported when networkMode=host.",
            id="net-control-in-host-mode",
        ),
        pytest.param(
            [container(systemControls=[{"namespace": "kernel.shmmax", "value": "1"}])],
            {"ipcMode": "host"},
            "IPC namespace systemControls are not supported when ipcMode=host.",
            id="ipc-control-of-the-host",
        ),
        pytest.param(
            [container(resourceRequirements=[{"type": "InferenceAccelerator", "value": "x"}])],
            {},
            "Inference accelerator 'x' is not declared in inferenceAccelerators.",
            id="accelerator",
        ),
        pytest.param(
            [container()],
            {"proxyConfiguration": {"containerName": "main"}},
            "APPMESH proxy configuration is only supported in networkMode=awsvpc",
            id="proxy-in-bridge-mode",
        ),
        pytest.param(
            [container()],
            {"proxyConfiguration": {"containerName": "x"}, "networkMode": "awsvpc"},
            "Proxy container [x] does not exist",
            id="no-proxy",
        ),
        pytest.param(
            [container()],
            {"proxyConfiguration": {"containerName": "main"}, "networkMode": "awsvpc"},
            "Ingress port not found",
            id="proxy-port",
        ),
        pytest.param(
            [container()],
            {"placementConstraints": [{"type": "memberOf"}]},
            "an expression of 1 to 2000 characters",
            id="constraint",
        ),
        pytest.param(
            [container()],
            {"placementConstraints": [{"type": "memberOf", "expression": "agentConnected == true"}] * 11},
            "at most 10 placement constraints",
            id="constraints",
        ),
        pytest.param(
            [container(portMappings=[port(80, 80), port(80, 81)])],
            {},
            "Container port 80 is used in more than one port mapping for container main",
            id="a-container-port-twice",
        ),
        pytest.param(
            [container(portMappings=[{"containerPortRange": "80-90"}, port(85)])],
            {},
            "container port is used multiple times in task",
            id="a-port-within-a-range",
        ),
        pytest.param(
            [
                container(portMappings=[{"containerPortRange": "80-90"}]),
                container(name="side", portMappings=[{"containerPortRange": "90-99"}]),
            ],
            {"networkMode": "awsvpc"},
            "container port is used multiple times in task",
            id="ranges-of-one-network",
        ),
    ],
)
def test_parts_that_do_not_go_together(containers: list[dict[str, Any]], members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        definition(*containers, **members)
    assert words in raised.value.message


@pytest.mark.parametrize(
    "containers",
    [
        pytest.param([container(**depends("SUCCESS")), SIDE], id="success"),
        pytest.param([container(**depends("HEALTHY")), CHECKED], id="healthy"),
        pytest.param([container(**depends("START")), container(name="side")], id="start-of-an-essential-one"),
        pytest.param([container(links=["side:s"]), SIDE], id="link"),
        pytest.param([ROUTED, ROUTER], id="router"),
        pytest.param([container(volumesFrom=[{"sourceContainer": "side"}]), SIDE], id="volumes-from"),
    ],
)
def test_parts_that_go_together(containers: list[dict[str, Any]]) -> None:
    assert [each["name"] for each in definition(*containers)["containerDefinitions"]] == ["main", "side"]
