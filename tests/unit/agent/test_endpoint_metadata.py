"""Task metadata, version 4, next to the examples of Amazon's documentation.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-examples.html
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from ecs_anywhere_agent.container_spec import Origin
from ecs_anywhere_agent.core.values import Container, Phase, Task
from ecs_anywhere_agent.endpoint.metadata import Asked, container_response, task_response
from ecs_anywhere_agent.runtime.docker_view import seen_of
from ecs_anywhere_agent.runtime.view import Seen
from ecs_protocol.messages import NetworkBinding, TaskCommand
from ecs_protocol.statuses import DesiredStatus, HealthStatus

TASK_ID = "8f03e41243824aea923aca126495f665"
ARN = "arn:aws:ecs:us-west-2:111122223333"
DOCKER_ID = "ea32192c8553fbff06c9340478a2ff089b2bb5646fb718b4ee206641c9086d66"
IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/curltest:latest"
IMAGE_ID = "sha256:d691691e9652791a60114e67b365688d20d19940dde7c4736ea30e660d8d3553"
LABELS = {
    "com.amazonaws.ecs.cluster": "default",
    "com.amazonaws.ecs.container-name": "curl",
    "com.amazonaws.ecs.task-arn": f"{ARN}:task/default/{TASK_ID}",
    "com.amazonaws.ecs.task-definition-family": "curltest",
    "com.amazonaws.ecs.task-definition-version": "24",
}
LOG_OPTIONS = {"awslogs-group": "/ecs/metadata", "awslogs-region": "us-west-2"}
DEFINITION: dict[str, Any] = {
    "family": "curltest",
    "revision": 24,
    "containerDefinitions": [
        {
            "name": "curl",
            "image": IMAGE,
            "cpu": 10,
            "memory": 128,
            "logConfiguration": {"logDriver": "awslogs", "options": LOG_OPTIONS},
        }
    ],
}
INSPECTED: dict[str, Any] = {
    "Id": DOCKER_ID,
    "Name": "/ecs-curltest-24-curl-cca48e8dcadd97805600",
    "Image": IMAGE_ID,
    "Created": "2020-10-02T00:15:07.620912337Z",
    "State": {"StartedAt": "2020-10-02T00:15:08.062559351Z", "FinishedAt": "0001-01-01T00:00:00Z"},
    "Config": {"Labels": {**LABELS, "ecs-anywhere.data-dir": "/var/lib/agent"}},
    "HostConfig": {"NetworkMode": "bridge", "LogConfig": {"Type": "awslogs"}},
    "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.3", "GlobalIPv6Address": ""}}},
    "Mounts": [],
}
CONTAINER = Container("curl", phase=Phase.RUNNING, runtime_id=DOCKER_ID)
COMMAND = TaskCommand(
    task_id=TASK_ID,
    desired_status=DesiredStatus.RUNNING,
    task_arn=f"{ARN}:task/default/{TASK_ID}",
    cluster_arn=f"{ARN}:cluster/default",
    task_definition="curltest:24",
    group="service:MyService",
    tags={"team": "red"},
)
TASK = Task(
    TASK_ID,
    command=COMMAND,
    task_definition="curltest:24",
    containers=(CONTAINER,),
    pull_started_at=datetime(2020, 10, 2, 0, 15, 7, 120000, tzinfo=UTC),
    pull_stopped_at=datetime(2020, 10, 2, 0, 15, 7, tzinfo=UTC),
)
CURL = {
    "DockerId": DOCKER_ID,
    "Name": "curl",
    "DockerName": "ecs-curltest-24-curl-cca48e8dcadd97805600",
    "Image": IMAGE,
    "ImageID": IMAGE_ID,
    "Labels": LABELS,
    "DesiredStatus": "RUNNING",
    "KnownStatus": "RUNNING",
    "Limits": {"CPU": 10, "Memory": 128},
    "CreatedAt": "2020-10-02T00:15:07.620912337Z",
    "StartedAt": "2020-10-02T00:15:08.062559351Z",
    "Type": "NORMAL",
    "LogDriver": "awslogs",
    "LogOptions": LOG_OPTIONS,
    "ContainerARN": f"{ARN}:container/default/{TASK_ID}/curl",
    "Networks": [{"NetworkMode": "bridge", "IPv4Addresses": ["172.17.0.3"]}],
}


def asked(task: Task = TASK, definition: dict[str, Any] | None = None, **seen: Any) -> Asked:
    return Asked(task, DEFINITION if definition is None else definition, {"curl": seen_of(INSPECTED)._replace(**seen)})


def with_container(**members: Any) -> dict[str, Any]:
    return {**DEFINITION, "containerDefinitions": [{**DEFINITION["containerDefinitions"][0], **members}]}


def test_a_container_is_as_in_amazons_example() -> None:
    assert container_response(asked(), CONTAINER) == CURL


def test_a_task_is_as_in_amazons_example() -> None:
    assert task_response(asked()) == {
        "Cluster": f"{ARN}:cluster/default",
        "TaskARN": f"{ARN}:task/default/{TASK_ID}",
        "Family": "curltest",
        "Revision": "24",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "PullStartedAt": "2020-10-02T00:15:07.120000Z",
        "PullStoppedAt": "2020-10-02T00:15:07Z",
        "LaunchType": "EXTERNAL",
        "Containers": [CURL],
        "ServiceName": "MyService",
        "FaultInjectionEnabled": False,
    }


def test_tags_are_told_to_who_asks_for_them() -> None:
    plain = task_response(asked())
    assert task_response(asked(), with_tags=True) == {**plain, "TaskTags": {"team": "red"}}


@pytest.mark.parametrize(
    ("definition", "overrides", "limits"),
    [
        pytest.param({"cpu": "256", "memory": "512"}, {}, {"CPU": 0.25, "Memory": 512}, id="both"),
        pytest.param({"cpu": "2 vCPU"}, {}, {"CPU": 2}, id="cpu-alone-in-virtual-processors"),
        pytest.param({"memory": "1 GB"}, {"memory": "2048"}, {"Memory": 2048}, id="overridden"),
    ],
)
def test_a_task_has_the_limits_that_it_runs_with(
    definition: dict[str, Any], overrides: dict[str, Any], limits: dict[str, Any]
) -> None:
    task = Task(TASK_ID, command=COMMAND.model_copy(update={"overrides": overrides}), task_definition="curltest:24")
    assert task_response(asked(task, {**DEFINITION, **definition}))["Limits"] == limits


@pytest.mark.parametrize(
    ("container", "definition", "seen", "told"),
    [
        pytest.param(
            Container(
                "curl",
                phase=Phase.RUNNING,
                bindings=(NetworkBinding(bind_ip="0.0.0.0", container_port=80, host_port=32768),),
            ),
            DEFINITION,
            {},
            {"Ports": [{"ContainerPort": 80, "Protocol": "tcp", "HostPort": 32768, "HostIp": "0.0.0.0"}]},
            id="ports",
        ),
        pytest.param(
            Container("curl", phase=Phase.STOPPED, exit_code=3),
            DEFINITION,
            {"finished_at": "2020-10-02T00:16:00Z"},
            {"KnownStatus": "STOPPED", "ExitCode": 3, "FinishedAt": "2020-10-02T00:16:00Z"},
            id="ended",
        ),
        pytest.param(
            Container("curl", phase=Phase.RUNNING, health=HealthStatus.UNHEALTHY),
            with_container(healthCheck={"command": ["CMD", "true"]}),
            {"health": {"exitCode": 1, "output": "no"}},
            {"Health": {"status": "UNHEALTHY", "exitCode": 1, "output": "no"}},
            id="health",
        ),
        pytest.param(
            CONTAINER,
            with_container(logConfiguration=None),
            {"log_driver": "json-file"},
            {"LogDriver": "json-file"},
            id="log-driver-that-nobody-named",
        ),
        pytest.param(
            CONTAINER,
            DEFINITION,
            {"volumes": ({"DockerName": "data", "Source": "/v", "Destination": "/data"},)},
            {"Volumes": [{"DockerName": "data", "Source": "/v", "Destination": "/data"}]},
            id="volumes",
        ),
    ],
)
def test_a_container_says_what_there_is_to_say(
    container: Container, definition: dict[str, Any], seen: dict[str, Any], told: dict[str, Any]
) -> None:
    response = container_response(asked(definition=definition, **seen), container)
    assert {name: response.get(name) for name in told} == told


@pytest.mark.parametrize(
    ("phases", "status"),
    [
        pytest.param((Phase.RUNNING, Phase.PULLING), "NONE", id="one-is-being-pulled"),
        pytest.param((Phase.RUNNING, Phase.CREATED), "CREATED", id="one-is-yet-to-start"),
        pytest.param((Phase.RUNNING, Phase.STOPPED), "RUNNING", id="one-has-ended"),
        pytest.param((Phase.RUNNING, Phase.RESTARTING), "RUNNING", id="one-is-started-again"),
    ],
)
def test_a_task_is_as_far_as_its_last_container(phases: tuple[Phase, ...], status: str) -> None:
    containers = tuple(Container(str(number), phase=phase) for number, phase in enumerate(phases))
    assert task_response(Asked(Task(TASK_ID, containers=containers), {}, {}))["KnownStatus"] == status


def test_of_a_task_that_was_adopted_is_told_what_its_containers_say_of_it() -> None:
    origin = Origin(
        container_instance_arn=f"{ARN}:container-instance/default/1",
        cluster="default",
        task_arn=f"{ARN}:task/default/{TASK_ID}",
        task_definition="curltest:24",
        essential=True,
        stop_timeout=30,
    )
    task = Task(TASK_ID, found=origin, task_definition="curltest:24", containers=(CONTAINER,))
    response = task_response(Asked(task, {}, {"curl": Seen("curl")}))
    assert response == {
        "Cluster": "default",
        "TaskARN": f"{ARN}:task/default/{TASK_ID}",
        "Family": "curltest",
        "Revision": "24",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "LaunchType": "EXTERNAL",
        "Containers": [
            {
                "DockerId": DOCKER_ID,
                "Name": "curl",
                "DockerName": "curl",
                "Image": "",
                "ImageID": "",
                "DesiredStatus": "RUNNING",
                "KnownStatus": "RUNNING",
                "Limits": {"CPU": 0, "Memory": 0},
                "Type": "NORMAL",
                "ContainerARN": f"{ARN}:container/default/{TASK_ID}/curl",
            }
        ],
        "FaultInjectionEnabled": False,
    }


@pytest.mark.parametrize(
    ("mode", "addresses"),
    [
        pytest.param("bridge", frozenset({"172.17.0.3"}), id="a-network-of-its-own"),
        pytest.param("host", None, id="the-machines-network"),
    ],
)
def test_where_a_containers_requests_come_from(mode: str, addresses: frozenset[str] | None) -> None:
    inspected = {**INSPECTED, "HostConfig": {"NetworkMode": mode}}
    assert seen_of(inspected).addresses == addresses
