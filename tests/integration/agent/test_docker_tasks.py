"""Whole tasks: the agent's core and store with the real Docker Engine, and a control plane in memory."""

import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.core import Rules
from ecs_anywhere_agent.core.events import Connected, MessageReceived, ReportAcknowledged
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from ecs_anywhere_agent.store import open_store
from ecs_protocol.messages import AgentRequest, ContainerReport, TaskReport, TaskStateChanges
from ecs_protocol.statuses import HealthStatus, StopCode, TaskStatus
from integration.agent.log_router import VOLUMES, a_router, an_app
from integration.agent.runtimes import ARN, eventually
from shows import shows
from unit.agent.world import Cloud, registration, task_id

pytestmark = pytest.mark.docker

RUNNING, STOPPED = TaskStatus.RUNNING, TaskStatus.STOPPED
LEAST = {"image": "busybox:test", "memory": 32}
SLEEP = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]


class Machine:
    """An agent that runs on threads of its own, as `run_agent` puts it together."""

    def __init__(self, engine: Engine, data_dir: Path, *containers: dict[str, Any], **members: Any) -> None:
        definition = {
            "family": "web",
            "revision": 1,
            "containerDefinitions": [{**LEAST, **each} for each in containers],
        }
        self.engine = engine
        self.cloud = Cloud(definition={**definition, **members})
        self.data_dir = data_dir
        self.sessions = 0
        self.begin()
        self.agent.emit(MessageReceived(self.cloud.run(1)))

    def begin(self) -> None:
        self.store = open_store(self.data_dir / "state.sqlite")
        self.runtime = DockerRuntime.connect(self.data_dir, pull=PullBehavior.PREFER_CACHED, pull_pause_seconds=0.01)
        self.agent = Agent(self.store, self.runtime, Rules(answer_after=0.2, company=0.05))
        self.agent.publish_with(self._request, self._report)
        self.agent.start(ARN)
        self.thread = threading.Thread(target=self.agent.run)
        self.thread.start()
        self.sessions += 1
        self.agent.emit(Connected(f"s{self.sessions}", registration()))

    def end(self) -> None:
        self.agent.end()
        self.thread.join()
        self.runtime.close()
        self.store.close()

    def stop_task(self) -> None:
        self.agent.emit(MessageReceived(self.cloud.stop(1)))

    def until(self, status: TaskStatus) -> TaskReport:
        eventually(lambda: self.cloud.tasks[task_id(1)].last_status is status, 20)
        return self.report()

    def report(self) -> TaskReport:
        report = self.cloud.tasks[task_id(1)].report
        assert report is not None
        return report

    def container(self, name: str) -> ContainerReport:
        return next(each for each in self.report().containers if each.name == name)

    def state(self, name: str) -> dict[str, Any]:
        """As the Engine has it."""
        runtime_id = self.container(name).runtime_id
        assert runtime_id is not None
        inspected = self.engine.inspect(runtime_id)
        assert inspected is not None
        state: dict[str, Any] = inspected["State"]
        return state

    def _request(self, message: AgentRequest) -> None:
        for answer in self.cloud.answer(message):
            self.agent.emit(MessageReceived(answer))

    def _report(self, token: int, message: TaskStateChanges) -> None:
        for report in message.reports:
            self.cloud.take(report)
        self.agent.emit(ReportAcknowledged(token))


@pytest.fixture
def machines(engine: Engine, tmp_path: Path) -> Iterator[list[Machine]]:
    """What is appended ends with the test, and all that it made goes."""
    made: list[Machine] = []
    yield made
    for each in made:
        each.end()
    for container in engine.containers(f"ecs-anywhere.data-dir={tmp_path.resolve()}"):
        engine.remove(container["Id"])


@shows(
    "name",
    "image",
    "essential",
    "dependsOn.containerName",
    "dependsOn.condition",
    "healthCheck.command",
    "healthCheck.interval",
    "healthCheck.timeout",
    "healthCheck.retries",
    "healthCheck.startPeriod",
)
def test_containers_start_and_stop_in_the_order_of_their_dependencies(
    machines: list[Machine], engine: Engine, tmp_path: Path
) -> None:
    check = {"command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 1, "timeout": 2, "retries": 1, "startPeriod": 9}
    machine = Machine(
        engine,
        tmp_path,
        {
            "name": "app",
            "command": SLEEP,
            "dependsOn": [
                {"containerName": "db", "condition": "HEALTHY"},
                {"containerName": "init", "condition": "SUCCESS"},
            ],
        },
        {"name": "db", "command": ["sh", "-c", f"sleep 1; echo >/tmp/well; {SLEEP[2]}"], "healthCheck": check},
        {"name": "init", "command": ["sh", "-c", "sleep 0.5"], "essential": False},
    )
    machines.append(machine)
    machine.until(RUNNING)
    db, init, app = (machine.state(name) for name in ("db", "init", "app"))
    assert init["FinishedAt"] < app["StartedAt"]
    assert db["Health"]["Log"][0]["Start"][:23] < app["StartedAt"]
    assert (machine.container("init").exit_code, machine.container("db").health_status) == (0, HealthStatus.HEALTHY)
    machine.stop_task()
    machine.until(STOPPED)
    assert machine.state("app")["FinishedAt"] <= machine.state("db")["FinishedAt"]


def test_an_agent_that_is_restarted_goes_on_in_order(machines: list[Machine], engine: Engine, tmp_path: Path) -> None:
    machine = Machine(
        engine,
        tmp_path,
        {"name": "app", "command": SLEEP, "dependsOn": [{"containerName": "init", "condition": "COMPLETE"}]},
        {"name": "init", "command": ["sh", "-c", "sleep 1.5; exit 3"], "essential": False},
    )
    machines.append(machine)
    of_task = f"ecs-anywhere.task-id={task_id(1)}"
    eventually(lambda: any(each["State"] == "running" for each in engine.containers(of_task)))
    machine.end()
    machine.begin()
    machine.until(RUNNING)
    assert machine.container("init").exit_code == 3
    assert machine.state("init")["FinishedAt"] < machine.state("app")["StartedAt"]


@shows("startTimeout")
def test_a_container_gives_up_after_the_start_timeout_of_what_it_waits_for(
    machines: list[Machine], engine: Engine, tmp_path: Path
) -> None:
    machine = Machine(
        engine,
        tmp_path,
        {"name": "app", "command": SLEEP, "dependsOn": [{"containerName": "init", "condition": "COMPLETE"}]},
        {"name": "init", "command": SLEEP, "essential": False, "startTimeout": 2},
    )
    machines.append(machine)
    assert machine.until(STOPPED).stop_code is StopCode.TASK_FAILED_TO_START
    assert machine.container("app").reason == (
        "dependency graph: container ordering dependency [init: COMPLETE] for target [app] has timed out."
    )


@shows("restartPolicy.enabled", "restartPolicy.ignoredExitCodes", "restartPolicy.restartAttemptPeriod")
def test_a_container_is_started_again_by_its_own_policy(
    machines: list[Machine], engine: Engine, tmp_path: Path
) -> None:
    """With 1 once it has run for its period, with 7 never."""
    command = "sleep 1.3; if test -e /tmp/again; then exit 7; fi; echo >/tmp/again; exit 1"
    policy = {"enabled": True, "ignoredExitCodes": [7], "restartAttemptPeriod": 1}
    machine = Machine(engine, tmp_path, {"name": "main", "command": ["sh", "-c", command], "restartPolicy": policy})
    machines.append(machine)
    first = machine.until(RUNNING)
    last = machine.until(STOPPED)
    assert (last.stop_code, machine.container("main").exit_code) == (StopCode.ESSENTIAL_CONTAINER_EXITED, 7)
    assert last.containers[0].runtime_id == first.containers[0].runtime_id


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        pytest.param(
            {"image": "127.0.0.1:1/none"},
            "CannotPullContainerError: pull image manifest has been retried 4 time(s): ",
            id="image",
        ),
        pytest.param({"dockerSecurityOptions": ["label:nonsense"]}, "CannotCreateContainerError: ", id="container"),
        pytest.param({"command": ["no-such-program"]}, "CannotStartContainerError: ", id="program"),
    ],
)
def test_what_fails_has_amazons_name(
    machines: list[Machine], engine: Engine, tmp_path: Path, container: dict[str, Any], reason: str
) -> None:
    machine = Machine(engine, tmp_path, {"name": "main", **container})
    machines.append(machine)
    assert machine.until(STOPPED).stop_code is StopCode.TASK_FAILED_TO_START
    assert str(machine.container("main").reason).startswith(reason)


def test_a_log_router_starts_before_whoever_sends_it_logs_and_stops_after(engine: Engine) -> None:
    """In a directory with a short path, for the router's socket. What the last words of the other one are comes too."""
    app = an_app({"Name": "null"})
    app["command"] = ["sh", "-c", "trap 'echo farewell; sleep 1; exit' TERM; echo hello; while :; do sleep 0.1; done"]
    with TemporaryDirectory() as data_dir:
        made = Machine(engine, Path(data_dir), {"name": "app", **app}, a_router("fluentbit"), volumes=VOLUMES)
        try:
            made.until(RUNNING)
            router, sender = made.container("log_router").runtime_id, made.container("app").runtime_id
            assert router is not None
            assert sender is not None
            assert made.state("log_router")["StartedAt"] < made.state("app")["StartedAt"]
            made.stop_task()
            made.until(STOPPED)
            assert made.state("app")["FinishedAt"] < made.state("log_router")["FinishedAt"]
            said = b"".join(each for _, each in engine.logs(router, tty=False, tail=None, follow=False)).decode()
            assert [word for word in ("hello", "farewell") if word in said] == ["hello", "farewell"]
        finally:
            made.end()
            for container in engine.containers(f"ecs-anywhere.data-dir={Path(data_dir).resolve()}"):
                engine.remove(container["Id"])
