"""Logs and commands of a machine's containers, with real processes and the real Docker Engine."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ecs_anywhere_agent.core.events import Condition
from ecs_anywhere_agent.core.values import Phase
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_protocol.messages import Probe
from ecs_protocol.streams import MAX_CHUNK_BYTES, MAX_STREAMS, Resize, Stop, TerminalSize
from integration.agent.docker_containers import Containers, closing
from integration.agent.operators import Streamed, streamed
from integration.agent.processes import Make, runs
from integration.agent.runtimes import eventually, spec

SIZE = TerminalSize(columns=91, rows=33)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Streamed]:
    """A task that has written two lines and runs on, as each runtime has it."""
    script = "echo one; echo two; sleep 600"
    environment = [{"name": "GREETING", "value": "hello"}]
    if request.param == "process":
        make: Make = request.getfixturevalue("make")
        container = spec("sh", "-c", script, environment=environment)
        with streamed(tmp_path, make().start(container._replace(working_directory="/usr"))) as made:
            yield made
        return
    engine: Engine = request.getfixturevalue("engine")
    with closing(Containers(engine, tmp_path)) as containers:
        started = containers.start(
            {"command": ["sh", "-c", script], "environment": environment, "workingDirectory": "/usr"}
        )
        with streamed(tmp_path, started["main"]) as made:
            yield made


def test_a_command_runs_where_the_container_does_and_its_exit_code_comes_back(machine: Streamed) -> None:
    operator = machine.exec("sh -c 'echo $GREETING from $(busybox pwd); echo oh >&2; exit 3'")
    operator.attach()
    assert operator.ends() == (3, None)
    assert (operator.stdout, operator.stderr) == (b"hello from /usr\n", b"oh\n")


def test_a_command_reads_what_the_operator_types_to_its_end(machine: Streamed) -> None:
    operator = machine.exec("cat")
    operator.attach()
    operator.types("one\n")
    operator.types("two\n", end=True)
    assert operator.ends() == (0, None)
    assert operator.stdout == b"one\ntwo\n"


def test_a_terminal_is_one_and_has_the_operators_size(machine: Streamed) -> None:
    told = 'until busybox stty size 2>&1 | grep "33 91"; do :; done'  # older Engines tell it once the command runs
    operator = machine.exec(f"sh -c 'test -t 0 || exit; {told}; read line; busybox stty size; echo $TERM'")
    operator.attach(SIZE)
    operator.hears(until=lambda: b"33 91" in operator.stdout)
    operator.says(Resize(terminal=TerminalSize(columns=120, rows=40)))
    operator.types("go on\r")
    assert operator.ends() == (0, None)
    assert operator.stdout == b"33 91\r\ngo on\r\n40 120\r\nxterm\r\n"


def test_ctrl_c_is_a_key_of_the_terminal(machine: Streamed) -> None:
    operator = machine.exec("sh -c 'trap \"echo caught; exit 7\" INT; echo ready; while :; do sleep 0.1; done'")
    operator.attach(SIZE)
    operator.hears(until=lambda: b"ready" in operator.stdout)
    operator.types("\x03")
    assert operator.ends() == (7, None)
    assert b"caught" in operator.stdout


@pytest.mark.parametrize("terminal", [None, SIZE], ids=["without-a-terminal", "with-a-terminal"])
def test_what_an_operator_stops_leaves_nothing_behind(machine: Streamed, terminal: TerminalSize | None) -> None:
    operator = machine.exec("sh -c 'trap \"\" TERM HUP; sleep 987 & echo ready; sleep 986; sleep 985'")
    operator.attach(terminal)
    operator.hears(until=lambda: b"ready" in operator.stdout)
    eventually(lambda: runs("sleep 987") and runs("sleep 986"))
    operator.says(Stop())
    assert operator.ends()[1] == "stopped by the operator"
    eventually(lambda: not any(runs(f"sleep {seconds}") for seconds in (985, 986, 987)))
    assert operator.subscribed == []


def test_a_command_that_takes_no_input_is_stopped_as_well(machine: Streamed) -> None:
    operator = machine.exec("sleep 978")
    operator.attach()
    for _ in range(16):
        operator.types("x" * MAX_CHUNK_BYTES)
    eventually(lambda: runs("sleep 978"))
    operator.says(Stop())
    assert operator.ends()[1] == "stopped by the operator"
    eventually(lambda: not runs("sleep 978"))


def test_a_lost_connection_ends_what_an_operator_runs(machine: Streamed) -> None:
    operator = machine.exec("sleep 984")
    operator.attach()
    eventually(lambda: runs("sleep 984"))
    machine.streams.cut("its machine has lost its connection")
    assert operator.ends()[1] == "its machine has lost its connection"
    eventually(lambda: not runs("sleep 984"))


def test_a_command_ends_with_its_container(machine: Streamed) -> None:
    assert machine.task is not None
    operator = machine.exec("sleep 983")
    operator.attach()
    eventually(lambda: runs("sleep 983"))
    stopped = replace(machine.task.containers[0], phase=Phase.STOPPED)
    machine.task = replace(machine.task, containers=(stopped,))
    assert operator.ends()[1] == "its container has ended"
    eventually(lambda: not runs("sleep 983"))


def test_much_output_comes_whole_and_no_faster_than_it_is_taken(machine: Streamed) -> None:
    operator = machine.exec("sh -c 'dd if=/dev/zero bs=1000 count=600 2>/dev/null | tr \"\\000\" x'")
    operator.attach()
    time.sleep(2.0)
    assert operator.heard.qsize() <= 16
    assert operator.ends() == (0, None)
    assert operator.stdout == b"x" * 600_000


def test_what_cannot_be_run_is_said_so(machine: Streamed) -> None:
    operator = machine.exec("no-such-command")
    operator.attach()
    code, reason = operator.ends()
    assert code in {126, 127}
    told = operator.stdout.decode() + operator.stderr.decode() + (reason or "")
    assert "no-such-command" in told


def test_what_was_written_is_read(machine: Streamed) -> None:
    operator = machine.logs()
    eventually(lambda: _written(machine) == b"one\ntwo\n")
    operator.attach()
    assert operator.ends() == (None, None)
    assert operator.stdout == b"one\ntwo\n"


def _written(machine: Streamed) -> bytes:
    """As a stream of its own tells it."""
    operator = machine.logs(session_id=os.urandom(16).hex())
    operator.attach()
    operator.hears()
    return operator.stdout


def test_only_the_last_lines_are_read(machine: Streamed) -> None:
    eventually(lambda: _written(machine) == b"one\ntwo\n")
    operator = machine.logs(tail=1)
    operator.attach()
    assert operator.ends() == (None, None)
    assert operator.stdout == b"two\n"


def test_a_log_that_is_followed_ends_when_the_operator_wants_no_more(machine: Streamed) -> None:
    operator = machine.logs(follow=True)
    operator.attach()
    operator.hears(until=lambda: operator.stdout == b"one\ntwo\n")
    operator.says(Stop())
    assert operator.ends()[1] == "stopped by the operator"


@pytest.mark.docker
def test_since_is_reckoned_by_the_machines_clock(engine: Engine, tmp_path: Path) -> None:
    with closing(Containers(engine, tmp_path)) as containers:
        started = containers.start({"command": ["sh", "-c", "echo old; sleep 3; echo new"]})
        containers.driver.ended(started["main"])
        with streamed(tmp_path, started["main"]) as machine:
            operator = machine.logs(since_seconds=2)
            operator.attach()
            operator.hears()
            assert operator.stdout == b"new\n"


@pytest.mark.docker
def test_several_containers_are_told_apart_by_line(engine: Engine, tmp_path: Path) -> None:
    with closing(Containers(engine, tmp_path)) as containers:
        started = containers.start(
            *({"name": name, "command": ["sh", "-c", f"echo from {name}; sleep 600"]} for name in ("a", "longer"))
        )
        with streamed(tmp_path, *started.values()) as machine:
            operator = machine.logs(follow=True)
            operator.attach()
            operator.hears(until=lambda: operator.stdout.count(b"\n") == 2)
            assert sorted(operator.stdout.splitlines()) == [b"a      | from a", b"longer | from longer"]


@pytest.mark.docker
def test_a_log_that_docker_does_not_keep_says_so(engine: Engine, tmp_path: Path) -> None:
    with closing(Containers(engine, tmp_path)) as containers:
        snapshot = containers.start({"command": ["echo", "gone"], "logConfiguration": {"logDriver": "none"}})["main"]
        with streamed(tmp_path, snapshot) as machine:
            operator = machine.logs()
            operator.attach()
            assert "Docker does not give what was written" in (operator.ends()[1] or "")


def test_the_log_of_a_process_has_no_times(make: Make, tmp_path: Path) -> None:
    started = make().start(spec("sleep", "600"))
    with streamed(tmp_path, started) as machine:
        operator = machine.logs(since_seconds=60)
        operator.attach()
        assert operator.ends() == (None, "the log of a process has no times: ask for its last lines instead")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_command_is_the_containers_user_and_in_its_control_group(make: Make, tmp_path: Path) -> None:
    container = spec("sleep", "600", user="1234:4321")._replace(working_directory="/")
    with streamed(tmp_path, make().start(container)) as machine:
        operator = machine.exec("sh -c 'id -u; id -g; echo here >/dev/stdout; cat /proc/self/cgroup'")
        operator.attach()
        operator.hears()
        uid, gid, here, *group = operator.stdout.decode().splitlines()
        assert (uid, gid, here) == ("1234", "4321", "here")
        own = Path("/proc/self/cgroup").read_text().splitlines()
        spec_file = tmp_path / "containers" / ("a" * 32) / "main" / "spec.json"
        assert ('"cgroup_procs": []' in spec_file.read_text()) is (group == own)


class TestAttacks:
    """What reaches a machine without right, or at the wrong moment."""

    @pytest.fixture
    def machine(self, make: Make, tmp_path: Path) -> Iterator[Streamed]:
        with streamed(tmp_path, make().start(spec("sleep", "600"))) as made:
            yield made

    @staticmethod
    def refusal(machine: Streamed, **members: str) -> str | None:
        operator = machine.exec(**{"command": "sleep 982", **members})
        operator.attach()
        _, reason = operator.ends()
        assert not runs("sleep 982")
        return reason

    def test_another_machines_task(self, machine: Streamed) -> None:
        assert self.refusal(machine, task_id="b" * 32) == "its machine has no such task"

    def test_a_task_without_enable_execute_command(self, make: Make, tmp_path: Path) -> None:
        with streamed(tmp_path, make().start(spec("sleep", "600")), enabled=False) as machine:
            assert self.refusal(machine) == "execute command was not enabled when the task was run"

    def test_a_task_that_its_machine_has_only_found(self, machine: Streamed) -> None:
        assert machine.task is not None
        machine.task = replace(machine.task, command=None)
        assert "does not know whether execute command is enabled" in (self.refusal(machine) or "")

    def test_a_container_that_is_not_there(self, machine: Streamed) -> None:
        assert self.refusal(machine, container="other") == "the task has no container 'other'; there are: main"

    def test_a_container_that_does_not_run(self, make: Make, tmp_path: Path) -> None:
        with streamed(tmp_path, make().start(spec("sleep", "600"))) as machine:
            assert machine.task is not None
            starting = replace(machine.task.containers[0], phase=Phase.STARTING)
            machine.task = replace(machine.task, containers=(starting,))
            assert self.refusal(machine) == "container main does not run"

    @pytest.mark.parametrize("command", ["sh -c 'open", " "], ids=["half-a-quote", "blank"])
    def test_a_command_that_is_none(self, machine: Streamed, command: str) -> None:
        assert "the command is" in (self.refusal(machine, command=command) or "")

    def test_a_session_that_was_used(self, machine: Streamed) -> None:
        first = machine.exec("echo once")
        first.attach()
        first.hears()
        again = machine.exec("echo twice")
        assert again.subscribed == []
        assert again.heard.empty()

    def test_more_streams_than_a_machine_may_have(self, machine: Streamed) -> None:
        operators = [machine.exec("sleep 981", session_id=f"{number:032x}") for number in range(MAX_STREAMS + 1)]
        *served, refused = operators
        for operator in served:
            operator.attach()
        refused.attach()
        assert refused.ends()[1] == f"its machine has {MAX_STREAMS} streams already: end one of them"

    @pytest.mark.parametrize(
        "payload", [b"", b"[]", b"\xff", Probe().to_json().encode(), b'{"type": "Input", "number": 0}'], ids=repr
    )
    def test_nonsense_on_a_streams_topic(self, machine: Streamed, payload: bytes) -> None:
        operator = machine.exec("echo still there")
        assert machine.streams.received(f"{operator.topic}/in", payload)
        operator.attach()
        assert operator.ends() == (0, None)

    def test_a_stream_that_is_not_open(self, machine: Streamed) -> None:
        assert machine.streams.received("test/test-1/streams/nobody/in", b"{}")
        assert not machine.streams.received("test/test-1/commands", b"{}")


def test_the_agents_end_ends_what_operators_run(make: Make, tmp_path: Path) -> None:
    driver = make()
    machine = Streamed(tmp_path, driver.start(spec("sleep", "600")))
    operator = machine.exec("sleep 980")
    operator.attach()
    eventually(lambda: runs("sleep 980"))
    machine.streams.close()
    assert operator.ends()[1] == "the agent of its machine is ending"
    assert not runs("sleep 980")
    assert driver.stop(kill=True).condition is Condition.EXITED


@pytest.mark.docker
def test_an_agent_ends_what_one_that_was_killed_has_left_in_docker(engine: Engine, tmp_path: Path) -> None:
    with closing(Containers(engine, tmp_path)) as containers:
        snapshot = containers.start({"command": ["sleep", "600"]})["main"]
        killed = Streamed(tmp_path, snapshot)
        operator = killed.exec("sleep 979")
        operator.attach()
        eventually(lambda: runs("sleep 979"))
        with streamed(tmp_path, snapshot):
            eventually(lambda: not runs("sleep 979"))
        eventually(lambda: list((tmp_path / "docker-exec").iterdir()) == [])
