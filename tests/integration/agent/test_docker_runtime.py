"""The Docker runtime with a real Docker Engine."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from ecs_anywhere_agent.core.actions import CreateContainer, PullImage, RestartContainer, StartContainer, StopContainer
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, Condition, ContainerChanged
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_config import container_config
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.interface import RuntimeUnavailableError
from ecs_protocol.statuses import HealthStatus
from integration.agent.runtimes import ARN, REF, TASK_ID, Driver, eventually, spec

pytestmark = pytest.mark.docker

Make = Callable[[], Driver]


@pytest.fixture
def make(engine: Engine, tmp_path: Path) -> Iterator[Make]:
    drivers = []

    def make_driver() -> Driver:
        drivers.append(Driver(DockerRuntime.connect(tmp_path, pull_pause_seconds=0.01)))
        return drivers[-1]

    yield make_driver
    for driver in drivers:
        driver.close()
    for container in engine.containers(f"ecs-anywhere.data-dir={tmp_path.resolve()}"):
        engine.remove(container["Id"])


def logs(ref: ContainerRef = REF) -> str:
    client = docker.from_env()
    containers = client.containers.list(all=True, filters={"label": f"ecs-anywhere.task-id={ref.task_id}"})
    text: bytes = containers[0].logs()
    client.close()
    return text.decode()


def inspected(engine: Engine, driver_snapshot: Any) -> dict[str, Any]:
    found = engine.inspect(driver_snapshot.runtime_id)
    assert found is not None
    return found


@pytest.mark.parametrize("code", [0, 3, 255])
def test_tells_the_exit_code(make: Make, code: int) -> None:
    driver = make()
    driver.start(spec("sh", "-c", f"exit {code}"))
    ended = driver.until(Condition.EXITED)
    assert (ended.exit_code, ended.reason) == (code, None)
    assert ended.started_at is not None
    assert ended.finished_at is not None


def test_a_container_is_what_the_task_definition_says(make: Make, engine: Engine) -> None:
    container = spec(
        "-c",
        "env; id -u; sleep 1000",
        entryPoint=["sh"],
        environment=[{"name": "GREETING", "value": "hello"}],
        user="1000",
        workingDirectory="/tmp",
        cpu=256,
        memory=64,
        memoryReservation=32,
        dockerLabels={"team": "drones"},
    )
    running = make().start(container)
    found = inspected(engine, running)
    host = found["HostConfig"]
    assert running.origin == container.origin
    assert (host["CpuShares"], host["Memory"], host["MemoryReservation"]) == (256, 64 << 20, 32 << 20)
    assert found["Config"]["WorkingDir"] == "/tmp"
    labels = found["Config"]["Labels"]
    assert labels["team"] == "drones"
    assert {
        name.removeprefix("com.amazonaws.ecs."): value for name, value in labels.items() if "amazonaws" in name
    } == {
        "cluster": "default",
        "container-name": "main",
        "task-arn": f"arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}",
        "task-definition-family": "web",
        "task-definition-version": "1",
    }
    eventually(lambda: "1000" in logs())
    assert "GREETING=hello" in logs()


@pytest.mark.parametrize("mode", ["bridge", "host", "none"])
def test_the_network_mode(make: Make, engine: Engine, mode: str) -> None:
    running = make().start(spec("sleep", "1000", networkMode=mode))
    assert inspected(engine, running)["HostConfig"]["NetworkMode"] == mode


@pytest.mark.parametrize("dynamic", [True, False])
def test_ports_are_mapped_and_reported(make: Make, dynamic: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mapping = {"containerPort": 8080, "hostPort": 0 if dynamic else port}
    running = make().start(spec("httpd", "-f", "-p", "8080", portMappings=[mapping]))
    (binding,) = running.bindings
    assert (binding.bind_ip, binding.container_port) == ("0.0.0.0", 8080)
    assert dynamic or binding.host_port == port
    eventually(lambda: _answers(binding.host_port))


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_with_the_network_of_the_host_a_port_is_its_own(make: Make) -> None:
    container = spec("sleep", "1000", networkMode="host", portMappings=[{"containerPort": 18081}])
    (binding,) = make().start(container).bindings
    assert (binding.container_port, binding.host_port) == (18081, 18081)


def test_stop_asks_and_kill_ends(make: Make) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"))
    time.sleep(0.5)
    driver.runtime.perform(StopContainer(REF))
    time.sleep(0.5)
    assert driver.told.empty()
    assert driver.stop(kill=True).exit_code == 137


def test_more_memory_than_the_limit_is_the_end(make: Make) -> None:
    driver = make()
    driver.start(spec("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", memory=16))
    ended = driver.until(Condition.EXITED)
    assert (ended.exit_code, ended.reason) == (137, "OutOfMemoryError: Container killed due to memory usage")


def test_creating_and_starting_again_changes_nothing(make: Make) -> None:
    driver = make()
    container = spec("sleep", "1000")
    first = driver.start(container)
    driver.runtime.perform(CreateContainer(REF, container))
    assert driver.changed().runtime_id == first.runtime_id
    driver.runtime.perform(StartContainer(REF))
    assert driver.changed() == first


def test_an_ended_container_is_never_started_again(make: Make) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "exit 3"))
    driver.until(Condition.EXITED)
    driver.runtime.perform(StartContainer(REF))
    assert driver.changed().condition is Condition.EXITED


def test_a_restart_is_another_run_of_the_same_container(make: Make) -> None:
    driver = make()
    first = driver.start(spec("sh", "-c", "echo run >>/tmp/runs; busybox cat /tmp/runs; exit 3"))
    ended = driver.until(Condition.EXITED)
    assert first.run is not None
    assert ended.run == first.run
    second = driver.restart(first)
    assert second.runtime_id == first.runtime_id
    assert second.run not in {None, first.run}
    ended = driver.ended(second)
    assert (ended.run, ended.exit_code) == (second.run, 3)
    assert logs() == "run\nrun\nrun\n"


def test_what_runs_is_not_restarted(make: Make) -> None:
    driver = make()
    running = driver.start(spec("sleep", "1000"))
    assert driver.restart() == running


def test_what_is_not_there_is_gone_and_not_restarted(make: Make, engine: Engine) -> None:
    driver = make()
    assert driver.restart().condition is Condition.GONE
    running = driver.start(spec("sleep", "1000"))
    assert running.runtime_id is not None
    engine.remove(running.runtime_id)
    driver.until(Condition.GONE)
    assert driver.restart().condition is Condition.GONE


def test_what_cannot_be_restarted_says_why(make: Make) -> None:
    driver = make()
    driver.ended(driver.start(spec("sh", "-c", "busybox rm /bin/sh")))
    told = driver.do(RestartContainer(REF))
    while isinstance(told, ContainerChanged):
        told = driver.next()
    assert isinstance(told, ActionFailed)
    assert told.attempt is Attempt.START
    assert "sh" in told.reason


def test_the_engine_checks_health(make: Make, engine: Engine) -> None:
    check = {"command": ["CMD-SHELL", "test -e /tmp/well"], "interval": 1, "timeout": 2, "retries": 1, "startPeriod": 4}
    driver = make()
    started = driver.start(
        spec("sh", "-c", "echo >/tmp/well; sleep 3; busybox rm /tmp/well; exec sleep 1000", healthCheck=check)
    )
    assert inspected(engine, started)["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /tmp/well"],
        "Interval": 1_000_000_000,
        "Timeout": 2_000_000_000,
        "Retries": 1,
        "StartPeriod": 4_000_000_000,
    }
    assert started.health is HealthStatus.UNKNOWN
    healthy, unhealthy = driver.changed(), driver.changed()
    assert (healthy.health, unhealthy.health) == (HealthStatus.HEALTHY, HealthStatus.UNHEALTHY)
    assert driver.stop(kill=True).health is HealthStatus.UNKNOWN


def test_without_a_health_check_the_one_of_the_image_is_off(make: Make, engine: Engine) -> None:
    assert inspected(engine, make().start(spec("sleep", "1000")))["Config"]["Healthcheck"] == {"Test": ["NONE"]}


def test_the_next_agent_adopts_all_of_its_own_and_nothing_else(make: Make, tmp_path: Path) -> None:
    first = make()
    started = first.start(spec("sleep", "1000"))
    first.close()
    second = make()
    assert second.inventory == (started,)
    other = Driver(DockerRuntime.connect(tmp_path / "other"))
    assert other.inventory == ()
    other.close()
    assert second.stop(kill=True).exit_code == 137


def test_an_exit_code_waits_for_the_next_agent(make: Make) -> None:
    first = make()
    first.start(spec("sh", "-c", "sleep 0.5; exit 7"))
    first.close()
    time.sleep(1.5)
    (adopted,) = make().inventory
    assert (adopted.condition, adopted.exit_code) == (Condition.EXITED, 7)
    assert adopted.origin is not None
    assert adopted.origin.container_instance_arn == ARN


def test_a_container_that_somebody_removes_is_gone(make: Make, engine: Engine) -> None:
    driver = make()
    running = driver.start(spec("sleep", "1000"))
    assert running.runtime_id is not None
    engine.remove(running.runtime_id)
    assert driver.until(Condition.EXITED).exit_code == 137
    assert driver.until(Condition.GONE).ref == REF


def test_what_cannot_start_says_why(make: Make) -> None:
    driver = make()
    driver.create(spec("no-such-program"))
    told = driver.do(StartContainer(REF))
    assert isinstance(told, ActionFailed)
    assert told.attempt is Attempt.START
    assert "no-such-program" in told.reason


def test_an_image_that_nobody_has_fails_the_pull(make: Make) -> None:
    told = make().do(PullImage(REF, "127.0.0.1:1/no-such-image:1"))
    assert isinstance(told, ActionFailed)
    assert told.attempt is Attempt.PULL


def test_after_a_gap_in_the_events_every_container_is_looked_at(make: Make, engine: Engine) -> None:
    driver = make()
    running = driver.start(spec("sleep", "1000"))
    runtime = driver.runtime
    assert isinstance(runtime, DockerRuntime)
    runtime._engine._open.copy().pop().shutdown(socket.SHUT_RDWR)
    told = driver.next()
    assert told == ContainerChanged(running)


def test_many_containers_at_once(make: Make) -> None:
    driver = make()
    refs = [ContainerRef(f"{number:032x}", "main") for number in range(12)]
    for ref in refs:
        driver.runtime.perform(CreateContainer(ref, spec("sh", "-c", "exit 0")))
    created = {driver.changed().ref for _ in refs}
    assert created == set(refs)
    for ref in refs:
        driver.runtime.perform(StartContainer(ref))
    ended: set[ContainerRef] = set()
    while ended != set(refs):
        snapshot = driver.changed()
        if snapshot.condition is Condition.EXITED:
            ended.add(snapshot.ref)


def test_closing_may_finish_first_what_was_asked(make: Make) -> None:
    driver = make()
    driver.start(spec("sleep", "1000"))
    driver.stop(kill=True)
    driver.remove()
    driver.runtime.close(finish=True)
    driver.closed = True
    assert make().inventory == ()


def test_closing_ends_all_threads(make: Make) -> None:
    before = threading.active_count()
    make().close()
    assert threading.active_count() == before


def test_without_docker_both_remedies_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeUnavailableError, match=r"Install and start Docker Engine .*--runtime process"):
        DockerRuntime.connect(tmp_path)


def logs_command(data_dir: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    agent = Path(sys.executable).with_name("ecs-anywhere-agent")
    return subprocess.Popen(
        [agent, "logs", TASK_ID[:6], *arguments, "--data-dir", data_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_logs_command_tells_stdout_from_stderr(make: Make, tmp_path: Path) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "echo one; echo two; echo oh >&2; printf three"))
    driver.until(Condition.EXITED)
    assert logs_command(tmp_path).communicate(timeout=30) == (b"one\ntwo\nthree", b"oh\n")
    assert logs_command(tmp_path, "--tail", "1").communicate(timeout=30) == (b"three", b"")
    other = logs_command(tmp_path / "other")
    assert b"There is none at all." in other.communicate(timeout=30)[1]
    assert other.returncode == 1


def test_the_logs_command_follows_until_the_containers_end(make: Make, tmp_path: Path) -> None:
    driver = make()
    for ref in (REF, ContainerRef(TASK_ID, "db")):
        driver.start(
            spec("sh", "-c", f"echo {ref.name} runs; trap 'echo ends; exit' TERM; while :; do sleep 0.1; done"), ref
        )
    with logs_command(tmp_path, "--follow", "--container", "main") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"main runs\n"
        with logs_command(tmp_path, "--follow") as both:
            assert both.stdout is not None
            assert {both.stdout.readline() for _ in range(2)} == {b"main | main runs\n", b"db   | db runs\n"}
            driver.stop()
            assert (following.stdout.read(), following.wait(timeout=30)) == (b"ends\n", 0)
            assert both.stdout.readline() == b"main | ends\n"
            both.send_signal(signal.SIGINT)
            assert (both.wait(timeout=30), both.communicate()) == (130, (b"", b""))


def test_a_terminals_output_comes_as_it_is(make: Make, engine: Engine, tmp_path: Path) -> None:
    driver = make()
    config = container_config(REF, spec("sh", "-c", "echo one; echo two >&2"), str(tmp_path.resolve()))
    container = engine.create(f"tty-{TASK_ID}", {**config, "Tty": True})
    engine.start(container)
    driver.until(Condition.EXITED)
    assert logs_command(tmp_path).communicate(timeout=30) == (b"one\r\ntwo\r\n", b"")
