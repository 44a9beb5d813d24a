"""`up`, `down` and `demo` themselves: what they start, what they leave behind when they are interrupted."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from e2e.conftest import BIN, Stack, clean_environment, command, free_port, until

POINTS = {
    "emulator starts": ("", 0.2),
    "functions are built": ("Starting the local AWS", 3.0),
    "stack is deployed": ("Building the functions", 3.0),
    "state is saved": ("Deploying template.yaml", 0.2),
    "API is waited for": ("Saving the local AWS's state", 0.0),
    "machine is registered": ("Waiting for the ECS API to answer", 0.4),
    "agent is started": ("Waiting for the ECS API to answer", 1.6),
    "tasks are started": ("Starting the agent", 1.0),
    "container is replaced": ("Killed a container", 0.1),
}
"""When to interrupt a demo: so many seconds after it has said that."""
WITH_DOCKER = ("machine is registered", "agent is started", "tasks are started", "container is replaced")
"""What comes before does not know Docker."""


class Bench:
    """A state directory for one demo after another, and what belongs to it on this machine."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.ports = ["--port", str(free_port()), "--mqtt-port", str(free_port())]

    def environment(self, runtime: str) -> dict[str, str]:
        """No Docker Engine for the process runtime."""
        engine = {} if runtime == "docker" else {"DOCKER_HOST": "unix:///nowhere.sock"}
        return {**clean_environment(), **engine, "TMPDIR": str(self.temporary)}

    def demo(self, runtime: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "ecs-anywhere"), "demo", "--output", "json", "--state-dir", str(self.state), *self.ports],
            env=self.environment(runtime),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Those that know the state directory from their command or their environment."""
        return [process for process in psutil.process_iter() if _knows(process, str(self.state))]

    def containers(self) -> list[str]:
        """Of the demo's task definition, which no other test uses."""
        listed = subprocess.run(
            ["docker", "ps", "--all", "--quiet", "--filter", "name=ecs-ecs-anywhere-demo-"],
            capture_output=True,
            text=True,
            check=False,
        )
        return listed.stdout.split()

    def left_behind(self) -> list[str]:
        files = [str(file) for folder in (self.temporary, self.state / "tmp") for file in _files(folder)]
        running = [f"{process.pid} {_line(process)}" for process in self.processes()]
        return [*running, *self.containers(), *files]


def _knows(process: psutil.Process, text: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(
            text in each for each in (*process.cmdline(), *process.environ().values())
        )
    except psutil.Error:
        return False


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error as error:
        return str(error)


def _files(folder: Path) -> Sequence[Path]:
    return list(folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("demo"))
    try:
        yield bench
    finally:
        command("ecs-anywhere", "down", "--state-dir", str(bench.state))


@pytest.mark.parametrize("point", POINTS)
def test_ctrl_c_leaves_nothing_behind(bench: Bench, point: str) -> None:
    interrupt(bench, point, "process")


@pytest.mark.docker
@pytest.mark.usefixtures("docker_image")
@pytest.mark.parametrize("point", WITH_DOCKER)
def test_ctrl_c_leaves_no_container_behind(bench: Bench, point: str) -> None:
    interrupt(bench, point, "docker")


def interrupt(bench: Bench, point: str, runtime: str) -> None:
    """Ctrl-C in a terminal, twice: all processes of the foreground get it."""
    said, seconds = POINTS[point]
    # What a deployment that was cut off has left must not keep the next one from it; a finished one would be skipped.
    (bench.state / "deployed").unlink(missing_ok=True)
    demo = bench.demo(runtime)
    assert demo.stderr is not None
    try:
        told: list[str] = []
        while said not in "".join(told):
            told.append(demo.stderr.readline())
            assert told[-1], f"the demo ended before {point}: {told}"
        if not said:
            until("the emulator has been started", (bench.state / "emulator.pid").exists)
        time.sleep(seconds)
        assert demo.poll() is None, "the demo was done before it was interrupted"
        for _ in range(2):  # the second is impatience
            os.killpg(demo.pid, signal.SIGINT)
            time.sleep(0.2)
        told.append(demo.communicate(timeout=60)[1])
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == 1
    assert bench.left_behind() == [], "".join(told)


def test_the_demo_then_works_and_down_ends_all_of_it(bench: Bench) -> None:
    demo = bench.demo("process")
    out, told = demo.communicate(timeout=180)
    assert demo.returncode == 0, told
    result = json.loads(out)
    assert len(result["taskArns"]) == 4
    assert result["replacement"] in result["taskArns"]
    assert result["killed"] not in result["taskArns"]
    command("ecs-anywhere", "down", "--state-dir", str(bench.state))
    assert bench.left_behind() == []


def test_up_in_the_foreground_is_down_after_ctrl_c(bench: Bench) -> None:
    """And no proxy is asked to deploy: none stands between this machine and itself."""
    (bench.state / "deployed").unlink()
    nowhere = "http://127.0.0.1:9"
    proxies = {"HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "http_proxy": nowhere, "https_proxy": nowhere}
    with subprocess.Popen(
        [str(BIN / "ecs-anywhere"), "up", "--output", "json", "--state-dir", str(bench.state)],
        env={**bench.environment("process"), **proxies},
        stdout=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stdout is not None
        about = json.loads("".join(iter(up.stdout.readline, "}\n")) + "}")
        assert about["stateDir"] == str(bench.state)
        command("ecs-anywhere", "status", "--state-dir", str(bench.state))
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0
    assert bench.left_behind() == []


def test_a_second_up_changes_nothing_and_interrupts_nobody(stack: Stack) -> None:
    emulator = json.loads((stack.state / "emulator.pid").read_text())
    stack.up()
    assert json.loads((stack.state / "emulator.pid").read_text()) == emulator


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    def listeners() -> set[Any]:
        ours = [process for process in psutil.process_iter() if _knows(process, str(stack.state))]
        return {
            connection.laddr
            for process in ours
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }

    found = until("the emulator listens", listeners)
    assert {address.port for address in found} >= {stack.port, stack.mqtt_port}
    assert {address.ip for address in found} <= {"127.0.0.1", "::1"}


def test_up_prints_how_to_reach_the_stack(stack: Stack) -> None:
    assert set(stack.about) == {
        "ecsEndpoint",
        "region",
        "accessKeyId",
        "secretAccessKey",
        "mqttHost",
        "mqttPort",
        "caFile",
        "registrationEndpoint",
        "stateDir",
        "stackName",
        "eventBusName",
        "awsEndpoint",
        "awsAccessKeyId",
        "awsSecretAccessKey",
    }
    printed = json.loads(command("ecs-anywhere", "env", "--output", "json", "--state-dir", str(stack.state)))
    assert stack.about["awsSecretAccessKey"] not in printed.values(), "the emulator's own credentials stay with it"


def test_the_install_command_is_one_line_that_joins_a_machine(stack: Stack, tmp_path: Path) -> None:
    cluster = "joined"
    stack.ecs.create_cluster(clusterName=cluster)
    asked = ["activate", "--cluster", cluster, "--attribute", "site=basement", "--output", "json"]
    made = json.loads(command("ecs-anywhere", *asked, "--state-dir", str(stack.state)))
    assert set(made) == {"activationId", "activationCode", "registrationEndpoint", "installCommand"}
    assert "\n" not in made["installCommand"]

    def joined() -> Any:
        arns = stack.ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
        found = arns and stack.ecs.describe_container_instances(cluster=cluster, containerInstances=arns)
        return found and [each for each in found["containerInstances"] if each["agentConnected"]]

    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh", "-c", f"{made['installCommand']} --runtime process"],
        env={**clean_environment(), "HOME": str(tmp_path), "PATH": path},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as shell:
        [instance] = until("the machine has joined", joined)
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(timeout=30)
    attributes = {each["name"]: each.get("value") for each in instance["attributes"]}
    assert attributes["site"] == "basement"
