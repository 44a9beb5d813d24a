"""The real agent as a process, over real MQTT, with real processes; only the control plane is in memory."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from ecs_anywhere_agent.identity import IdentityFiles
from ecs_protocol.messages import (
    AGENT_REQUEST,
    ControlPlaneMessage,
    GetCredentials,
    RegisterContainerInstance,
    RoleCredentials,
    TaskCommand,
    TaskCommands,
    TaskCredentials,
    TaskStateChanges,
)
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from integration.agent.conftest import Broker
from integration.agent.execution import ROLE
from unit.agent.world import Cloud, CloudTask, command, task_id

AGENT = Path(sys.executable).with_name("ecs-anywhere-agent")
pytestmark = pytest.mark.timeout(120)
IDLE_SECONDS = 10
MOST_CPU, MOST_BYTES = 0.001, 45 * 1024 * 1024
"""A thousandth of a core; the resident memory of Amazon's own agent is 43 MiB."""


class ControlPlane:
    """The unit tests' cloud behind IoT Core."""

    def __init__(self, broker: Broker, topic: str, inbox: Callable[[int], list[Any]]) -> None:
        self.cloud = Cloud()
        self.messages: list[str] = []
        self.registrations: list[RegisterContainerInstance] = []
        self.session_tokens: list[str] = []
        self._iot = broker.client("iot-data")
        self._sts = broker.client("sts")
        self._topic = topic
        self._inbox = inbox
        self._definitions: dict[str, dict[str, Any]] = {}

    def run(self, number: int, *shell: str, execution_role: str | None = None, **container: Any) -> None:
        self.cloud.version += 1
        self.cloud.tasks[task_id(number)] = CloudTask(commanded=self.cloud.version)
        main = {"name": "main", "image": "-", "essential": True, "memory": 32, "command": ["sh", "-c", *shell]}
        role = {"executionRoleArn": execution_role} if execution_role else {}
        definition = {"family": "web", "revision": number, "containerDefinitions": [{**main, **container}], **role}
        self._definitions[f"web:{number}"] = definition
        self.send(self._commands(command(number, task_definition=f"web:{number}")))

    def stop(self, number: int) -> None:
        self.cloud.version += 1
        self.cloud.tasks[task_id(number)].desired = DesiredStatus.STOPPED
        self.send(self._commands(command(number, "STOPPED")))

    def send(self, message: ControlPlaneMessage) -> None:
        self.messages.append(message.type)
        self._iot.publish(topic=self._topic, qos=1, payload=message.to_json())

    def until(self, true: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"did not come true; seen: {self.messages}"
            for message in self._inbox(1):
                self._take(base64.b64decode(json.loads(message["Body"])["payload"]))

    def until_status(self, number: int, status: TaskStatus) -> None:
        self.until(lambda: self.cloud.tasks[task_id(number)].last_status is status)

    def exit_code(self, number: int) -> int | None:
        report = self.cloud.tasks[task_id(number)].report
        assert report is not None
        return report.containers[0].exit_code

    def _take(self, payload: bytes) -> None:
        if json.loads(payload)["type"] == "TaskStateChanges":
            self.messages.append("TaskStateChanges")
            for report in TaskStateChanges.from_json(payload).reports:
                self.cloud.take(report)
            return
        request = AGENT_REQUEST.validate_json(payload)
        self.messages.append(request.type)
        if isinstance(request, GetCredentials):
            self.send(self._assumed(request))
            return
        if isinstance(request, RegisterContainerInstance):
            self.registrations.append(request)
        for answer in self.cloud.answer(request):
            self.send(answer)

    def _assumed(self, request: GetCredentials) -> TaskCredentials:
        """What the broker of credentials does."""
        answer = self._sts.assume_role(RoleArn=ROLE, RoleSessionName="tests")["Credentials"]
        given = tuple(
            RoleCredentials(
                task_id=each.task_id,
                role=each.role,
                role_arn=ROLE,
                access_key_id=answer["AccessKeyId"],
                secret_access_key=answer["SecretAccessKey"],
                session_token=answer["SessionToken"],
                expiration=answer["Expiration"],
            )
            for each in request.wanted
        )
        self.session_tokens.append(answer["SessionToken"])
        return TaskCredentials(request_id=request.request_id, credentials=given)

    def _commands(self, *tasks: TaskCommand) -> TaskCommands:
        return TaskCommands(version=self.cloud.version, tasks=tasks, task_definitions=self._definitions)


class AgentProcess:
    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.log = data_dir / "agent.log"
        self._open = self.log.open("a")
        command_line: list[str | Path] = [
            AGENT,
            "run",
            "--data-dir",
            data_dir,
            "--runtime",
            "process",
            "--attribute",
            "site=basement",
            *options,
        ]
        self.process = subprocess.Popen(command_line, stderr=self._open, stdout=self._open)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._open.close()
        return code


@pytest.fixture
def control_plane(broker: Broker, files: IdentityFiles, inbox: Callable[[int], list[Any]]) -> ControlPlane:
    return ControlPlane(broker, files.load().topics.commands, inbox)


@pytest.fixture
def start(tmp_path: Path, control_plane: ControlPlane) -> Iterator[Callable[[], AgentProcess]]:
    agents = []

    def start_agent() -> AgentProcess:
        agents.append(AgentProcess(tmp_path))
        reconciled = control_plane.cloud.epoch
        control_plane.until(lambda: control_plane.cloud.epoch > reconciled)
        return agents[-1]

    yield start_agent
    end_all(agents, tmp_path)


def end_all(agents: list[AgentProcess], data_dir: Path) -> None:
    """And what they started."""
    for agent in agents:
        if agent.process.poll() is None:
            agent.end(signal.SIGKILL)
    subprocess.run([AGENT, "stop-tasks", "--data-dir", data_dir, "--timeout", "1"], check=True, capture_output=True)


def test_a_task_costs_four_messages_and_says_how_it_ended(
    start: Callable[[], AgentProcess], control_plane: ControlPlane
) -> None:
    agent = start()
    assert control_plane.registrations[0].cpu == (os.cpu_count() or 0) * 1024
    assert ("site", "basement") in [
        (attribute.name, attribute.value) for attribute in control_plane.registrations[0].attributes
    ]
    control_plane.messages.clear()
    control_plane.run(1, "sleep 1000")
    control_plane.until_status(1, TaskStatus.RUNNING)
    control_plane.stop(1)
    control_plane.until_status(1, TaskStatus.STOPPED)
    assert control_plane.messages == ["TaskCommands", "TaskStateChanges"] * 2
    assert control_plane.exit_code(1) == 143
    assert agent.end(signal.SIGTERM) == 0
    assert "ended; tasks keep running" in agent.log.read_text()


def test_tasks_and_exit_codes_survive_the_agent(
    start: Callable[[], AgentProcess], control_plane: ControlPlane, tmp_path: Path
) -> None:
    agent = start()
    control_plane.run(1, "while ! test -e ended; do sleep 0.1; done; exit 7", workingDirectory=str(tmp_path))
    control_plane.run(2, "sleep 1000")
    for number in (1, 2):
        control_plane.until_status(number, TaskStatus.RUNNING)
    agent.end(signal.SIGKILL)
    (tmp_path / "ended").touch()
    exit_file = tmp_path / "containers" / task_id(1) / "main" / "exit.json"
    control_plane.until(exit_file.exists)

    start()
    control_plane.until_status(1, TaskStatus.STOPPED)
    assert control_plane.exit_code(1) == 7
    control_plane.stop(2)
    control_plane.until_status(2, TaskStatus.STOPPED)
    assert control_plane.exit_code(2) == 143


def test_a_task_finds_at_the_agent_what_it_is_also_after_the_agent_was_killed(
    start: Callable[[], AgentProcess], control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Its exit code says whether it did."""
    program = (
        "import json, os, pathlib, time, urllib.request as http\n"
        "def task():\n"
        "    return json.load(http.urlopen(os.environ['ECS_CONTAINER_METADATA_URI_V4'] + '/task'))\n"
        "before = task()\n"
        "pathlib.Path('asked').touch()\n"
        "while not pathlib.Path('again').exists(): time.sleep(0.1)\n"
        f"raise SystemExit(not task()['TaskARN'] == before['TaskARN'] == '{command(1).task_arn}')\n"
    )
    (tmp_path / "ask.py").write_text(program)
    agent = start()
    control_plane.run(1, f"exec {sys.executable} ask.py", workingDirectory=str(tmp_path))
    control_plane.until((tmp_path / "asked").exists)
    agent.end(signal.SIGKILL)
    start()
    (tmp_path / "again").touch()
    control_plane.until_status(1, TaskStatus.STOPPED)
    assert control_plane.exit_code(1) == 0


def test_a_second_agent_on_the_data_directory_refuses(start: Callable[[], AgentProcess], tmp_path: Path) -> None:
    start()
    second = subprocess.run(
        [AGENT, "run", "--data-dir", tmp_path, "--runtime", "process"], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "Another agent" in second.stderr


def test_stop_tasks_ends_what_the_agent_left(
    start: Callable[[], AgentProcess], control_plane: ControlPlane, tmp_path: Path
) -> None:
    agent = start()
    control_plane.run(1, "sleep 1000")
    control_plane.until_status(1, TaskStatus.RUNNING)
    assert agent.end(signal.SIGINT) == 0
    result = subprocess.run(
        [AGENT, "stop-tasks", "--data-dir", tmp_path, "--output", "json"], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == {"stoppedContainers": 1}
    assert list((tmp_path / "containers").glob("*/*")) == []
    start()
    control_plane.until_status(1, TaskStatus.STOPPED)


def test_status_of_a_connected_agent_is_its_health_check(
    start: Callable[[], AgentProcess], control_plane: ControlPlane, tmp_path: Path
) -> None:
    agent = start()
    control_plane.run(1, "sleep 1000")
    control_plane.until_status(1, TaskStatus.RUNNING)
    control_plane.until(lambda: status(tmp_path)["unsentReports"] == 0)
    result = status(tmp_path)
    (task,) = result["tasks"]
    assert (task["taskId"], task["lastStatus"], task["orphan"]) == (task_id(1), "RUNNING", False)
    connection = result["connection"]
    assert (connection["connected"], connection["reconciled"]) == (True, True)
    started, since, exchanged = (
        datetime.fromisoformat(moment)
        for moment in (result["agent"]["startedAt"], connection["since"], connection["lastExchangeAt"])
    )
    assert started <= since <= exchanged <= datetime.now(UTC)
    assert result["agent"]["processId"] == agent.process.pid


def test_a_task_that_is_stopped_while_the_cloud_is_away_is_reported_afterwards(
    start: Callable[[], AgentProcess], control_plane: ControlPlane, files: IdentityFiles, tmp_path: Path
) -> None:
    agent = start()
    for number in (1, 2):
        control_plane.run(number, "sleep 1000")
        control_plane.until_status(number, TaskStatus.RUNNING)
    agent.end(signal.SIGKILL)
    identity = files.load()
    files.save(identity.model_copy(update={"mqtt_endpoint": "localhost:1"}))
    cut_off = AgentProcess(tmp_path)
    try:
        # Cannot reach the cloud, so it must not wait for that either.
        control_plane.until(lambda: local("status", tmp_path).returncode == 2)
        stopped = local("stop", tmp_path, task_id(1))
        assert stopped.returncode == 0, stopped.stderr
        assert json.loads(stopped.stdout)["containers"][0]["exitCode"] == 143
        tasks = {task["taskId"]: task for task in json.loads(local("status", tmp_path).stdout)["tasks"]}
        assert [(tasks[task_id(number)]["lastStatus"], tasks[task_id(number)]["reported"]) for number in (1, 2)] == [
            ("STOPPED", False),
            ("RUNNING", True),
        ]
    finally:
        cut_off.end(signal.SIGTERM)
        files.save(identity)
    start()
    control_plane.until_status(1, TaskStatus.STOPPED)
    report = control_plane.cloud.tasks[task_id(1)].report
    assert report is not None
    assert (report.stop_code, control_plane.exit_code(1)) == (StopCode.USER_INITIATED, 143)
    control_plane.until(lambda: status(tmp_path)["unsentReports"] == 0)
    assert control_plane.cloud.tasks[task_id(2)].last_status is TaskStatus.RUNNING


def test_an_agent_is_small_and_does_nothing_when_nothing_happens(
    start: Callable[[], AgentProcess], control_plane: ControlPlane
) -> None:
    agent = start()
    control_plane.run(1, "sleep 1000")
    control_plane.until_status(1, TaskStatus.RUNNING)
    time.sleep(5)
    before = cpu_seconds(agent.process.pid)
    time.sleep(IDLE_SECONDS)
    assert (cpu_seconds(agent.process.pid) - before) / IDLE_SECONDS < MOST_CPU
    assert psutil.Process(agent.process.pid).memory_info().rss < MOST_BYTES


VALUE = "correct-horse-battery-staple"


@pytest.fixture
def role(aws: Broker) -> Iterator[None]:
    """An execution role that may read parameters."""
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "*"}
    name = ROLE.rpartition("/")[2]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=policy(may))
    yield
    iam.delete_role_policy(RoleName=name, PolicyName="read")
    iam.delete_role(RoleName=name)


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.usefixtures("role")
def test_a_secret_reaches_its_process_and_stands_nowhere_else(
    aws: Broker,
    start: Callable[[], AgentProcess],
    control_plane: ControlPlane,
    files: IdentityFiles,
    tmp_path: Path,
) -> None:
    identity = files.load()
    topics = identity.topics.model_copy(update={"credentials": None})  # the inbox has no rule of Basic Ingest
    files.save(identity.model_copy(update={"topics": topics}))
    parameters = aws.client("ssm")
    parameters.put_parameter(Name="/agent/value", Value=VALUE, Type="SecureString")
    agent = start()
    control_plane.messages.clear()
    secrets = [{"name": "VALUE", "valueFrom": "/agent/value"}]
    control_plane.run(1, 'echo "${#VALUE} letters"; exec sleep 1000', execution_role=ROLE, secrets=secrets)
    control_plane.run(2, "true", execution_role=ROLE, secrets=[{"name": "A", "valueFrom": "/agent/absent"}])
    control_plane.until_status(1, TaskStatus.RUNNING)
    control_plane.until_status(2, TaskStatus.STOPPED)
    parameters.delete_parameter(Name="/agent/value")
    assert "GetCredentials" in control_plane.messages
    failed = control_plane.cloud.tasks[task_id(2)].report
    assert failed is not None
    assert (failed.stop_code, failed.stopped_reason) == (
        StopCode.TASK_FAILED_TO_START,
        "ResourceInitializationError: unable to pull secrets or registry auth: fetching secret data from SSM Parameter "
        "Store in us-east-1: invalid parameters: /agent/absent",
    )
    log = tmp_path / "containers" / task_id(1) / "main" / "log"
    control_plane.until(lambda: log.read_text() == f"{len(VALUE)} letters\n")
    told = json.dumps(status(tmp_path)) + str([task.report for task in control_plane.cloud.tasks.values()])
    agent.end(signal.SIGTERM)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"agent.log", "state.sqlite", "spec.json"} <= {path.name for path in written}
    for hidden in (VALUE, *control_plane.session_tokens):
        assert [path for path, content in written.items() if hidden.encode() in content] == []
        assert hidden not in told


def cpu_seconds(pid: int) -> float:
    """Of all threads, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def local(command: str, data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [AGENT, command, *arguments, "--data-dir", data_dir, "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )


def status(data_dir: Path) -> Any:
    """Of an agent that is connected."""
    done = local("status", data_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
