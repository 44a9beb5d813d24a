"""Task metadata and credentials from inside of real containers and processes."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_engine import Engine
from integration.agent.endpoint_machines import ROLE, Machine
from integration.agent.runtimes import eventually
from shows import shows
from unit.agent.world import task_id

SLEEP = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]
BOTO3 = """
import boto3, json
credentials = boto3.Session().get_credentials()
print(json.dumps([credentials.method, *credentials.get_frozen_credentials()[:3]]), flush=True)
"""
NOTHING_ELSE = [
    {"name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/nonexistent"},
    {"name": "AWS_CONFIG_FILE", "value": "/nonexistent"},
]
"""boto3 looks there before it asks for a container's credentials."""

Make = Callable[..., Machine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """What it makes ends with the test, and all that ran goes."""
    made: list[Machine] = []

    def machine(*containers: dict[str, Any], runtime: str = "docker", **members: Any) -> Machine:
        made.append(Machine(runtime, tmp_path, *containers, **members))
        return made[-1]

    yield machine
    for each in made:
        each.end()
        each.clean()


class Inside:
    """A container of Docker, from within."""

    environment: dict[str, str]

    def __init__(self, machine: Machine, name: str = "main", number: int = 1) -> None:
        client = docker.from_env()
        self.container = client.containers.get(machine.container(name, number).runtime_id or "")
        pairs = (each.partition("=") for each in self.container.attrs["Config"]["Env"])
        self.environment = {name: value for name, _, value in pairs}

    def output(self, *command: str) -> str:
        written = self.container.exec_run(list(command)).output
        assert isinstance(written, bytes)
        return written.decode()

    @property
    def metadata_uri(self) -> str:
        return self.environment["ECS_CONTAINER_METADATA_URI_V4"]

    def get(self, uri: str, token: str = "") -> tuple[int, Any]:
        """Status and content."""
        host, _, path = uri.removeprefix("http://").partition("/")
        address, _, port = host.partition(":")
        request = rf"GET /{path} HTTP/1.1\r\nAuthorization: {token}\r\n\r\n"
        answer = self.output("sh", "-c", f"printf '{request}' | nc {address} {port}")
        head, _, content = answer.partition("\r\n\r\n")
        return int(head.split()[1]), json.loads(content)

    def credentials(self) -> tuple[int, Any]:
        return self.get(
            self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
            self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
        )


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can add the endpoint's address")


@pytest.mark.docker
@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_a_container_asks_for_itself_its_task_and_its_credentials(engine: Engine, make: Make, mode: str) -> None:
    del engine
    machine = make(
        {"name": "main", "command": SLEEP},
        {"name": "other", "command": SLEEP, "essential": False},
        networkMode=mode,
    )
    machine.run(group="service:web", tags={"team": "red"})
    inside = Inside(machine)
    status, container = inside.get(inside.metadata_uri)
    attributes = inside.container.attrs
    networks: dict[str, Any] = {"NetworkMode": mode}
    if mode == "bridge":
        networks["IPv4Addresses"] = [attributes["NetworkSettings"]["IPAddress"]]
    arn = f"arn:aws:ecs:us-east-1:000000000000:task/default/{task_id(1)}"
    assert (status, container) == (
        200,
        {
            "DockerId": attributes["Id"],
            "Name": "main",
            "DockerName": f"ecs-web-1-main-{task_id(1)}",
            "Image": "busybox:test",
            "ImageID": attributes["Image"],
            "Labels": {
                "com.amazonaws.ecs.cluster": "default",
                "com.amazonaws.ecs.container-name": "main",
                "com.amazonaws.ecs.task-arn": arn,
                "com.amazonaws.ecs.task-definition-family": "web",
                "com.amazonaws.ecs.task-definition-version": "1",
            },
            "DesiredStatus": "RUNNING",
            "KnownStatus": "RUNNING",
            "Limits": {"CPU": 0, "Memory": 64},
            "CreatedAt": attributes["Created"],
            "StartedAt": attributes["State"]["StartedAt"],
            "Type": "NORMAL",
            "LogDriver": "json-file",
            "ContainerARN": f"{arn.replace(':task/', ':container/')}/main",
            "Networks": [networks],
        },
    )
    status, task = inside.get(f"{inside.metadata_uri}/taskWithTags")
    assert (status, task["TaskARN"], task["ServiceName"], task["TaskTags"]) == (200, arn, "web", {"team": "red"})
    assert [each["Name"] for each in task["Containers"]] == ["main", "other"]
    held = machine.credentials()
    assert inside.credentials() == (
        200,
        {
            "RoleArn": held.role_arn,
            "AccessKeyId": held.access_key_id,
            "SecretAccessKey": held.secret_access_key,
            "Token": held.session_token,
            "Expiration": f"{held.expiration:%Y-%m-%dT%H:%M:%SZ}",
        },
    )


@pytest.mark.docker
def test_statistics_are_dockers(engine: Engine, make: Make) -> None:
    del engine
    machine = make({"name": "main", "command": SLEEP})
    machine.run()
    inside = Inside(machine)
    status, stats = inside.get(f"{inside.metadata_uri}/stats")
    assert (status, stats["id"], stats["memory_stats"]["limit"]) == (200, inside.container.id, 64 * 1024 * 1024)
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] >= stats["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    status, of_task = inside.get(f"{inside.metadata_uri}/task/stats")
    assert (status, list(of_task), of_task[inside.container.id]["name"]) == (200, [inside.container.id], stats["name"])


@pytest.mark.docker
def test_a_container_gets_nothing_of_another_task(engine: Engine, make: Make) -> None:
    """Not even with what only the other one knows, since it is elsewhere; the other one does, before and after."""
    del engine
    machine = make({"name": "main", "command": SLEEP})
    machine.run(1)
    machine.run(2)
    mine, other = Inside(machine, number=1), Inside(machine, number=2)
    uri = other.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    token = other.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    not_found = {
        "code": "InvalidIdInRequest",
        "message": "CredentialsV2Request: Credentials not found",
        "HTTPErrorCode": 400,
    }
    assert other.credentials()[0] == 200
    assert mine.get(uri, token) == (400, not_found)
    assert mine.get(uri, mine.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]) == (400, not_found)
    assert [mine.get(f"{other.metadata_uri}{path}")[0] for path in ("", "/task", "/stats", "/task/stats")] == [404] * 4
    assert (mine.credentials()[0], other.credentials()[0]) == (200, 200)


@pytest.mark.docker
def test_what_a_container_was_told_holds_for_the_next_agent(engine: Engine, make: Make) -> None:
    del engine
    machine = make({"name": "main", "command": SLEEP})
    machine.run()
    inside = Inside(machine)
    before = inside.get(f"{inside.metadata_uri}/task")
    machine.end()
    machine.begin()
    eventually(lambda: machine.held.get(task_id(1), "task") is not None)
    assert inside.get(f"{inside.metadata_uri}/task") == before
    status, credentials = inside.credentials()
    assert (status, credentials["AccessKeyId"]) == (200, machine.credentials().access_key_id)


@pytest.mark.docker
def test_offline_credentials_end_at_their_expiry_with_the_reason(engine: Engine, make: Make) -> None:
    del engine
    machine = make({"name": "main", "command": SLEEP})
    machine.run()
    inside = Inside(machine)
    machine.be_cut_off()
    assert inside.credentials()[0] == 200
    machine.pass_time(timedelta(hours=1, seconds=1))
    status, error = inside.credentials()
    since, expiration = machine.agent.cut_off_since(), machine.credentials().expiration
    assert since is not None
    assert (status, error) == (
        503,
        {
            "code": "CredentialsUninitialized",
            "message": f"CredentialsV2Request: Credentials expired at {expiration:%Y-%m-%dT%H:%M:%SZ}; "
            f"this machine has been cut off since {since:%Y-%m-%dT%H:%M:%SZ}",
            "HTTPErrorCode": 503,
        },
    )


def _of_the_machine() -> dict[str, Any]:
    """What it takes to run this Python with its packages in a container that has nothing."""
    paths = [Path("/usr"), Path("/lib"), Path("/lib64"), Path(sys.base_prefix), Path(sys.prefix)]
    volumes = [(f"v{number}", path) for number, path in enumerate(paths) if path.exists()]
    return {
        "volumes": [{"name": name, "host": {"sourcePath": str(path)}} for name, path in volumes],
        "mounts": [{"sourceVolume": name, "containerPath": str(path), "readOnly": True} for name, path in volumes],
    }


@shows("taskRoleArn")
@pytest.mark.docker
@pytest.mark.parametrize("mode", ["bridge", "host"])
def test_boto3_in_a_container_has_the_credentials_of_the_tasks_role(engine: Engine, make: Make, mode: str) -> None:
    del engine
    python = _of_the_machine()
    main = {"name": "main", "command": SLEEP, "mountPoints": python["mounts"], "environment": NOTHING_ELSE}
    machine = make(main, networkMode=mode, volumes=python["volumes"])
    machine.run()
    printed = Inside(machine).output(sys.executable, "-c", BOTO3)
    held = machine.credentials()
    expected = ["container-role", held.access_key_id, held.secret_access_key, held.session_token]
    assert json.loads(printed) == expected, printed


@shows("taskRoleArn")
def test_boto3_in_a_process_has_the_credentials_of_the_tasks_role(make: Make, tmp_path: Path) -> None:
    main = {
        "name": "main",
        "entryPoint": [sys.executable, "-c"],
        "command": [f"{BOTO3}\nimport time; time.sleep(600)"],
        "environment": NOTHING_ELSE,
    }
    machine = make(main, runtime="process")
    machine.run()
    log = tmp_path / "containers" / task_id(1) / "main" / "log"
    eventually(lambda: log.read_text().endswith("\n"), 30)
    held = machine.credentials()
    assert json.loads(log.read_text()) == [
        "container-role",
        held.access_key_id,
        held.secret_access_key,
        held.session_token,
    ]


def test_a_process_asks_for_itself_and_what_it_uses(make: Make, tmp_path: Path) -> None:
    program = """
import json, os, time, urllib.request
base = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
told = [json.load(urllib.request.urlopen(base + path)) for path in ("", "/task", "/stats")]
print(json.dumps(told), flush=True)
time.sleep(600)
"""
    machine = make({"name": "main", "entryPoint": [sys.executable, "-c"], "command": [program]}, runtime="process")
    machine.run()
    log = tmp_path / "containers" / task_id(1) / "main" / "log"
    eventually(lambda: log.read_text().endswith("\n"), 30)
    container, task, stats = json.loads(log.read_text())
    arn = f"arn:aws:ecs:us-east-1:000000000000:task/default/{task_id(1)}"
    began = container.pop("StartedAt")
    assert datetime.now(UTC) - datetime.fromisoformat(began) < timedelta(minutes=1)
    assert container == {
        "DockerId": machine.container().runtime_id,
        "Name": "main",
        "DockerName": "main",
        "Image": "busybox:test",
        "ImageID": "",
        "DesiredStatus": "RUNNING",
        "KnownStatus": container["KnownStatus"],
        "Limits": {"CPU": 0, "Memory": 64},
        "Type": "NORMAL",
        "ContainerARN": f"{arn.replace(':task/', ':container/')}/main",
        "Networks": [{"NetworkMode": "host"}],
    }
    assert (task["TaskARN"], task["LaunchType"], len(task["Containers"])) == (arn, "EXTERNAL", 1)
    assert stats["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert 0 < stats["memory_stats"]["usage"] <= stats["memory_stats"]["limit"] == 64 * 1024 * 1024


def test_no_role_no_variables_of_one(make: Make) -> None:
    machine = make({"name": "main", "command": ["sleep", "600"]}, runtime="process", taskRoleArn="")
    machine.run()
    spec = json.loads((machine.data_dir / "containers" / task_id(1) / "main" / "spec.json").read_text())
    assert {name for name in spec["environment"] if "CONTAINER" in name} == {"ECS_CONTAINER_METADATA_URI_V4"}
    assert spec["environment"]["ECS_CONTAINER_METADATA_URI_V4"].endswith(
        machine.endpoint.identifiers.of(ContainerRef(task_id(1), "main"))
    )
    assert ROLE not in str(spec)
