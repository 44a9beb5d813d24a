"""The whole system as a user starts it: the CLI brings up a stack, real agents join it, the AWS CLI talks to it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from e2e import made_secrets

BIN = Path(sys.executable).parent
DOCKER_IMAGE = "ecs-anywhere-test:busybox"
LOOP = "trap 'exit 7' TERM; while :; do sleep 0.2; done"


def command(*arguments: str, env: Mapping[str, str] | None = None, seconds: float = 240) -> str:
    """Run one of our commands, or aws, to its end; its output."""
    done = subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=clean_environment() if env is None else {**clean_environment(), **env},
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}\n{done.stdout}"
    made_secrets.note_in(done.stdout)
    return done.stdout


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until(what: str, found: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until `found` answers something true, and give that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.2)
    pytest.fail(f"not within {seconds} seconds: {what}")


@dataclass
class Agent:
    """One agent on this machine, with a data directory of its own."""

    data: Path
    runtime: str
    arn: str = ""
    cluster: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.data.parent / f"{self.data.name}.log").open("ab")
        self.process = subprocess.Popen(
            [str(BIN / "ecs-anywhere-agent"), "run", "--data-dir", str(self.data), "--runtime", self.runtime],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)
            self.process = None

    def clean_up(self) -> None:
        self.kill()
        command("ecs-anywhere-agent", "stop-tasks", "--data-dir", str(self.data))


@dataclass
class Stack:
    """A stack, its ECS client, and what was made on it."""

    state: Path
    port: int
    mqtt_port: int
    about: dict[str, Any] = field(default_factory=dict)
    agents: list[Agent] = field(default_factory=list)

    def up(self) -> None:
        made_secrets.keep(self.state / "emulator.log", self.state.parent / "logs")
        text = command(
            "ecs-anywhere",
            "up",
            "--detach",
            "--output",
            "json",
            "--port",
            str(self.port),
            "--mqtt-port",
            str(self.mqtt_port),
            "--state-dir",
            str(self.state),
        )
        self.about = json.loads(text)

    def down(self) -> None:
        for agent in self.agents:
            agent.clean_up()
        command("ecs-anywhere", "down", "--state-dir", str(self.state))

    @property
    def ecs(self) -> Any:
        return boto3.client(
            "ecs",
            endpoint_url=self.about["ecsEndpoint"],
            region_name=self.about["region"],
            aws_access_key_id=self.about["accessKeyId"],
            aws_secret_access_key=self.about["secretAccessKey"],
        )

    def client(self, service: str) -> Any:
        """Of the emulator itself."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.about["awsEndpoint"],
            region_name=self.about["region"],
            aws_access_key_id=self.about["awsAccessKeyId"],
            aws_secret_access_key=self.about["awsSecretAccessKey"],
        )

    def aws(self, *arguments: str) -> Any:
        """The unmodified AWS CLI with what `env` prints."""
        printed = json.loads(command("ecs-anywhere", "env", "--output", "json", "--state-dir", str(self.state)))
        text = command("aws", "ecs", *arguments, "--output", "json", env=printed)
        return json.loads(text) if text.strip() else None

    def agent(self, cluster: str, runtime: str = "process") -> Agent:
        """A machine that has joined a cluster and is connected."""
        self.ecs.create_cluster(clusterName=cluster)
        made = json.loads(
            command(
                "ecs-anywhere", "activate", "--cluster", cluster, "--output", "json", "--state-dir", str(self.state)
            )
        )
        agent = Agent(self.state.parent / f"agent-{cluster}-{len(self.agents)}", runtime, cluster=cluster)
        self.agents.append(agent)
        registered = command(
            "ecs-anywhere-agent",
            "register",
            "--registration-endpoint",
            made["registrationEndpoint"],
            "--activation-id",
            made["activationId"],
            "--activation-code",
            made["activationCode"],
            "--data-dir",
            str(agent.data),
            "--output",
            "json",
        )
        agent.arn = json.loads(registered)["containerInstanceArn"]
        made_secrets.note_key(agent.data / "identity" / "key.pem")
        agent.start()
        until("the agent is connected", lambda: self.instance(agent).get("agentConnected"))
        return agent

    def note_secrets(self) -> None:
        """Those of the emulator's Secrets Manager."""
        manager = self.client("secretsmanager")
        for secret in manager.list_secrets()["SecretList"]:
            made_secrets.note_in(manager.get_secret_value(SecretId=secret["ARN"])["SecretString"])

    def function_log(self, function: str) -> list[str]:
        """What a function has written, by the emulator's CloudWatch Logs."""
        pages = self.client("logs").get_paginator("filter_log_events")
        found = pages.paginate(logGroupName=f"/aws/lambda/ecs-anywhere-{function}")
        return [event["message"] for page in found for event in page["events"]]

    def save_function_logs(self) -> None:
        """Of the API's functions; the emulator's own log has the others', too."""
        folder = self.state.parent / "logs"
        folder.mkdir(exist_ok=True)
        for group in self.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
            function = group["logGroupName"].removeprefix("/aws/lambda/ecs-anywhere-")
            (folder / f"{function}.log").write_text("\n".join(self.function_log(function)))

    def logs(self) -> list[Path]:
        """Of the emulator, of all functions, and of all agents."""
        return sorted([*self.state.glob("*.log"), *self.state.parent.glob("*.log"), *self.state.parent.glob("logs/*")])

    def instance(self, agent: Agent) -> dict[str, Any]:
        found = self.ecs.describe_container_instances(cluster=agent.cluster, containerInstances=[agent.arn])
        instances: list[dict[str, Any]] = found["containerInstances"]
        return instances[0] if instances else {}

    def define(self, family: str, script: str = LOOP, **members: Any) -> str:
        container = {
            "name": "main",
            "image": DOCKER_IMAGE,
            "cpu": 10,
            "memory": 16,
            "entryPoint": ["/bin/sh", "-c"],
            "command": [script],
            "stopTimeout": 5,
            **members,
        }
        answer = self.ecs.register_task_definition(
            family=family,
            networkMode="host",
            requiresCompatibilities=["EXTERNAL"],
            containerDefinitions=[container],
        )
        arn: str = answer["taskDefinition"]["taskDefinitionArn"]
        return arn

    def run(self, cluster: str, definition: str, **members: Any) -> str:
        answer = self.ecs.run_task(cluster=cluster, taskDefinition=definition, **members)
        assert answer["failures"] == []
        arn: str = answer["tasks"][0]["taskArn"]
        return arn

    def task(self, cluster: str, arn: str) -> dict[str, Any]:
        [task] = self.ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
        described: dict[str, Any] = task
        return described

    def until_task_is(self, cluster: str, arn: str, status: str, seconds: float = 60) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            task = self.task(cluster, arn)
            return task if task["lastStatus"] == status else None

        task: dict[str, Any] = until(f"{arn} is {status}", found, seconds)
        return task


def pid_of(task: dict[str, Any]) -> int:
    """Of a process task's container."""
    return int(task["containers"][0]["runtimeId"].split(".")[0])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("e2e")
    stack = Stack(folder / "state", free_port(), free_port())
    try:
        stack.up()
        with made_secrets.credentials_overheard(stack.mqtt_port):
            yield stack
        stack.note_secrets()
        stack.save_function_logs()
    finally:
        stack.down()
    assert made_secrets.shown(stack.logs()) == [], "a secret of this run is in a log"


@pytest.fixture
def docker_image() -> str:
    """The image that .ci/run imports."""
    asked = ["docker", "image", "inspect", DOCKER_IMAGE]
    if shutil.which("docker") is None or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip(f"needs a Docker Engine and the image {DOCKER_IMAGE} (.ci/run makes it)")
    return DOCKER_IMAGE
