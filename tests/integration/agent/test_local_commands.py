"""`status`, `stop` and `logs` on a machine whose cloud is away: real agents, real processes, real containers."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.identity import identity_files, write_private
from ecs_anywhere_agent.local_api import SOCKET
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from ecs_protocol.messages import Identity
from ecs_protocol.names import topics
from integration.agent.runtimes import ARN, REF, TASK_ID, Driver, eventually, spec

AGENT = Path(sys.executable).with_name("ecs-anywhere-agent")
CERTIFICATE_END = datetime(2040, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.timeout(120)


class Machine:
    """A data directory with an identity for a broker that is not there."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.endpoint = ""
        self.agents: list[subprocess.Popen[bytes]] = []

    def register(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(CERTIFICATE_END)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        self.endpoint = f"localhost:{port}"
        files = identity_files(self.data_dir)
        files.prepare()
        write_private(files.key, private.decode())
        files.save(
            Identity(
                container_instance_id="1" * 32,
                container_instance_arn=ARN,
                cluster="default",
                client_id="test",
                certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
                mqtt_endpoint=self.endpoint,
                topics=topics("test", "test"),
            )
        )

    def has_run(self, *shell: str, ref: ContainerRef = REF, **members: Any) -> None:
        """A container that an earlier agent has started, and that the next one adopts."""
        driver = Driver(ProcessRuntime(self.data_dir, None))
        driver.start(spec("sh", "-c", *shell, **members), ref)
        driver.close()

    def start_agent(self) -> "subprocess.Popen[bytes]":
        with (self.data_dir / "agent.log").open("a") as log:
            self.agents.append(
                subprocess.Popen(
                    [AGENT, "run", "--data-dir", self.data_dir, "--runtime", "process"], stdout=log, stderr=log
                )
            )
        eventually(lambda: self.run("status").returncode == 2, 20)
        return self.agents[-1]

    def run(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [AGENT, command, *arguments, "--data-dir", self.data_dir],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def status(self, code: int) -> Any:
        done = self.run("status", "--output", "json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def clean_up(self) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.kill()
                agent.wait(timeout=20)
        driver = Driver(ProcessRuntime(self.data_dir, None))
        for snapshot in driver.inventory:
            driver.remove(snapshot.ref)
        driver.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    made = []

    def make(name: str) -> Machine:
        data_dir = tmp_path / name
        data_dir.mkdir(parents=True)
        made.append(Machine(data_dir))
        made[-1].register()
        return made[-1]

    yield make
    for machine in made:
        machine.clean_up()


@pytest.fixture
def machine(machines: Callable[[str], Machine]) -> Machine:
    return machines("data")


def test_status_of_an_agent_without_its_cloud(machine: Machine) -> None:
    machine.has_run("sleep 1000")
    before = datetime.now(UTC) - timedelta(seconds=1)
    agent = machine.start_agent()
    eventually(lambda: machine.status(2)["connection"]["problem"] is not None)
    status = machine.status(2)
    assert (status["containerInstanceArn"], status["cluster"]) == (ARN, "default")
    assert (status["agent"]["running"], status["agent"]["processId"]) == (True, agent.pid)
    assert before <= datetime.fromisoformat(status["agent"]["startedAt"]) <= datetime.now(UTC)
    assert status["connection"] == {
        "connected": False,
        "reconciled": False,
        "since": status["agent"]["startedAt"],
        "problem": f"cannot connect to {machine.endpoint}: [Errno 111] Connection refused",
        "lastExchangeAt": None,
    }
    assert datetime.fromisoformat(status["certificate"]["notAfter"]) == CERTIFICATE_END
    (task,) = status["tasks"]
    assert (task["taskId"], task["taskDefinition"], task["lastStatus"]) == (TASK_ID, "web:1", "RUNNING")
    assert (task["desiredStatus"], task["orphan"], task["reported"]) == ("RUNNING", False, False)
    assert [(each["name"], each["phase"], each["exitCode"]) for each in task["containers"]] == [
        ("main", "RUNNING", None)
    ]
    assert status["unsentReports"] == 1
    text = machine.run("status").stdout
    assert "NOT CONNECTED" in text
    assert f"cannot connect to {machine.endpoint}" in text
    assert f"process {agent.pid}" in text


def contents(data_dir: Path) -> dict[Path, bytes]:
    """All but what SQLite keeps in its -shm file, which says only where in the log to read."""
    return {
        path: path.read_bytes() if path.is_file() and path.suffix != ".sqlite-shm" else b""
        for path in data_dir.rglob("*")
    }


@pytest.mark.parametrize(
    ("number", "socket_left"), [(signal.SIGKILL, True), (signal.SIGTERM, False)], ids=["killed", "ended"]
)
def test_status_without_an_agent_is_what_is_stored(machine: Machine, number: signal.Signals, socket_left: bool) -> None:
    machine.has_run("sleep 1000")
    agent = machine.start_agent()
    known = machine.status(2)
    agent.send_signal(number)
    agent.wait(timeout=20)
    assert (machine.data_dir / SOCKET).exists() is socket_left

    files = contents(machine.data_dir)
    status = machine.status(3)
    assert contents(machine.data_dir) == files
    assert status == {**known, "agent": {"running": False}, "connection": None}
    text = machine.run("status")
    assert text.returncode == 3
    assert "DOES NOT RUN" in text.stdout
    assert "Start it: ecs-anywhere-agent run" in text.stdout

    machine.start_agent()
    assert machine.status(2)["tasks"] == known["tasks"]


def test_status_of_a_machine_that_is_registered_and_has_run_nothing(machine: Machine) -> None:
    files = sorted(machine.data_dir.rglob("*"))
    assert machine.status(3)["tasks"] == []
    assert sorted(machine.data_dir.rglob("*")) == files


@pytest.mark.parametrize("there", [True, False], ids=["empty-directory", "no-directory"])
def test_status_of_a_machine_that_is_not_registered(tmp_path: Path, there: bool) -> None:
    machine = Machine(tmp_path / "data")
    if there:
        machine.data_dir.mkdir()
    done = machine.run("status")
    assert done.returncode == 1
    assert "run `ecs-anywhere-agent register` first" in done.stderr
    assert machine.data_dir.exists() is there


def test_a_damaged_store_is_no_riddle(machine: Machine) -> None:
    (machine.data_dir / "state.sqlite").write_text("not a database")
    done = machine.run("status")
    assert done.returncode == 1
    assert "state.sqlite cannot be read: file is not a database" in done.stderr


def test_agents_on_two_data_directories_answer_each_for_itself(machines: Callable[[str], Machine]) -> None:
    first, second = machines("first"), machines("d" * 120 + "/second")
    second.has_run("sleep 1000")
    agents = [first.start_agent(), second.start_agent()]
    assert [machine.status(2)["agent"]["processId"] for machine in (first, second)] == [agent.pid for agent in agents]
    assert [len(machine.status(2)["tasks"]) for machine in (first, second)] == [0, 1]
    assert second.run("stop", TASK_ID).returncode == 0


def test_stop_ends_a_task_and_says_how(machine: Machine) -> None:
    machine.has_run("trap 'exit 7' TERM; while :; do sleep 0.1; done")
    machine.start_agent()
    done = machine.run("stop", TASK_ID[:6])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [
        f"Task {TASK_ID} (web:1) is stopped.",
        "CONTAINER  EXIT CODE",
        "main       7",
    ]
    (task,) = machine.status(2)["tasks"]
    assert (task["desiredStatus"], task["lastStatus"], task["reported"]) == ("STOPPED", "STOPPED", False)
    again = machine.run("stop", f"arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}")
    assert (again.returncode, "was stopped already" in again.stdout) == (0, True)
    assert json.loads(machine.run("stop", TASK_ID, "--output", "json").stdout) == task


def test_stop_waits_no_longer_than_it_is_told_and_the_stop_goes_on(machine: Machine) -> None:
    machine.has_run("trap '' TERM; while :; do sleep 0.1; done", stopTimeout=3)
    machine.start_agent()
    started = time.monotonic()
    done = machine.run("stop", TASK_ID, "--timeout", "1s")
    assert (done.returncode, time.monotonic() - started < 10) == (1, True)
    assert "It is being stopped" in done.stderr
    waited = machine.run("stop", TASK_ID)
    assert (waited.returncode, waited.stdout.splitlines()[2]) == (0, "main       137")


def test_stop_says_what_to_do_when_it_cannot(machine: Machine) -> None:
    machine.has_run("sleep 1000")
    without_agent = machine.run("stop", TASK_ID)
    assert without_agent.returncode == 1
    for hint in ("Start it: ecs-anywhere-agent run", "ecs-anywhere-agent stop-tasks"):
        assert hint in without_agent.stderr
    machine.start_agent()
    unknown = machine.run("stop", "b" * 32)
    assert unknown.returncode == 1
    assert unknown.stderr.splitlines()[-2:] == ["There are:", f"  {TASK_ID}  web:1  RUNNING"]


def test_logs_with_and_without_an_agent(machine: Machine) -> None:
    machine.has_run("echo one; echo two >&2; printf three; sleep 1000")
    log = machine.data_dir / "containers" / TASK_ID / "main" / "log"
    eventually(lambda: log.read_text().endswith("three"))
    assert machine.run("logs", TASK_ID[:6]).stdout == "one\ntwo\nthree"
    machine.start_agent()
    done = machine.run("logs", TASK_ID, "--tail", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "two\nthree", "")


def test_logs_of_several_containers_bear_their_names(machine: Machine) -> None:
    machine.has_run("echo hello")
    machine.has_run("printf 'x\\ny'", ref=ContainerRef(TASK_ID, "sidecar"))
    eventually(lambda: machine.run("logs", TASK_ID, "--follow").stdout.count("\n") == 3)
    assert machine.run("logs", TASK_ID).stdout == "main    | hello\nsidecar | x\nsidecar | y\n"
    assert machine.run("logs", TASK_ID, "--container", "main").stdout == "hello\n"
    missing = machine.run("logs", TASK_ID, "--container", "db")
    assert (missing.returncode, "There are: main, sidecar" in missing.stderr) == (1, True)


def test_logs_of_a_task_that_is_not_here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{machine.data_dir}/none.sock")
    machine.has_run("exit 0")
    missing = machine.run("logs", "b" * 32)
    assert missing.returncode == 1
    assert f"There are:\n  {TASK_ID}  web:1  main" in missing.stderr
    assert "Docker was not asked" in missing.stderr


def follow(machine: Machine, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [AGENT, "logs", TASK_ID, "--follow", *arguments, "--data-dir", machine.data_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_follow_shows_what_comes_until_the_container_ends(machine: Machine, tmp_path: Path) -> None:
    machine.has_run(f"echo one; echo two; until test -e {tmp_path}/go; do sleep 0.05; done; echo three; exit 3")
    with follow(machine, "--tail", "1") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"two\n"
        (tmp_path / "go").touch()
        assert following.stdout.read() == b"three\n"
        assert following.wait(timeout=20) == 0


@pytest.mark.parametrize("containers", [1, 2])
def test_ctrl_c_ends_follow_quietly(machine: Machine, containers: int) -> None:
    for name in ("main", "sidecar")[:containers]:
        machine.has_run("echo hello; sleep 1000", ref=ContainerRef(TASK_ID, name))
    with follow(machine) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert following.stdout.readline().endswith(b"hello\n")
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=20) == 130
        assert following.stderr.read() == b""
    machine.start_agent()
    assert machine.status(2)["tasks"][0]["lastStatus"] == "RUNNING"
