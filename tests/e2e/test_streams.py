"""`ecs-anywhere logs` and `exec` as an operator types them, on a real agent, through the local IoT Core."""

import fcntl
import gc
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import BIN, Agent, Stack, clean_environment, command, until
from ecs_anywhere.console import Problem
from ecs_anywhere.stream_link import StreamLink
from ecs_anywhere.streams import say_that_we_play_streams
from ecs_protocol.streams import Stream

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COUNTING = "i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.5; done"
CLUSTER = "streams"


class Streamed:
    """A task that counts, and the operator's commands about it."""

    def __init__(self, stack: Stack, agent: Agent, task: str) -> None:
        self.stack = stack
        self.agent = agent
        self.task = task
        self.where = ["--state-dir", str(stack.state)]

    def start(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [str(BIN / "ecs-anywhere"), *arguments], env={**clean_environment(), **(env or {})}, **options
        )

    def exec(
        self, *words: str, given: bytes = b"", env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        arguments = [str(BIN / "ecs-anywhere"), "exec", self.task, *self.where, "--", *words]
        environment = {**clean_environment(), **(env or {})}
        return subprocess.run(arguments, input=given, capture_output=True, timeout=60, check=False, env=environment)


@pytest.fixture(scope="module")
def streamed(stack: Stack) -> Streamed:
    agent = stack.agent(CLUSTER)
    task = stack.run(CLUSTER, stack.define("counting", COUNTING), enableExecuteCommand=True)
    stack.until_task_is(CLUSTER, task, "RUNNING")
    return Streamed(stack, agent, task)


def sleeps(seconds: int) -> bool:
    """Whether some process is `sleep` for so long."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if entry.read_text() == f"sleep\0{seconds}\0":
                return True
    return False


def test_logs_are_read_and_followed_until_ctrl_c(streamed: Streamed) -> None:
    def read(*options: str) -> str:
        return command("ecs-anywhere", "logs", streamed.task, *options, *streamed.where)

    until("two lines are written", lambda: read().startswith("line 1\nline 2\n"))
    assert read("--tail", "1").count("\n") == 1
    there = read("--tail", "100000").count("\n")
    following_all = ("logs", streamed.task, "--follow", "--tail", "100000")
    with streamed.start(*following_all, *streamed.where, stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        lines = [following.stdout.readline() for _ in range(there + 3)]
        assert lines == [b"line %d\n" % number for number in range(1, there + 4)]
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=20) == 130


def test_a_command_takes_input_and_gives_output_and_its_exit_code(streamed: Streamed) -> None:
    done = streamed.exec("sh", "-c", "tr a-z A-Z; echo oh >&2; exit 3", given=b"hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"HELLO\n", b"oh\n")


def test_a_terminal_works(streamed: Streamed) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = ["ecs-anywhere", "exec", streamed.task, *streamed.where, "--", "sh"]
        os.execve(BIN / "ecs-anywhere", arguments, clean_environment())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    seen = bytearray()

    def reads(text: bytes) -> bool:
        if select.select([terminal], [], [], 0.1)[0]:
            seen.extend(os.read(terminal, 4096))
        return text in seen

    time.sleep(0.1)
    os.write(terminal, b"stty size; PS1='ready> '\r")
    until("the shell sees the operator's size", lambda: reads(b"31 97\r\n"))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    until("it is ready", lambda: reads(b"ready> "))
    os.write(terminal, b"stty size\r")
    until("the new size has come", lambda: reads(b"40 120\r\n"))
    os.write(terminal, b"sleep 977\r")
    until("it sleeps", lambda: sleeps(977))
    os.write(terminal, b"\x03")
    until("Ctrl-C has ended that, not the shell", lambda: not sleeps(977))
    os.write(terminal, b"exit 9\r")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    os.close(terminal)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "its-sudden-death"])
def test_the_end_of_the_operators_command_leaves_nothing_behind(streamed: Streamed, number: signal.Signals) -> None:
    sleeping = ("exec", streamed.task, *streamed.where, "--", "sleep", "976")
    with streamed.start(*sleeping, stdin=subprocess.DEVNULL) as running:
        until("the command runs", lambda: sleeps(976))
        running.send_signal(number)
        running.wait(timeout=20)
    assert running.returncode == (130 if number is signal.SIGINT else -number)

    until("nothing is left", lambda: not sleeps(976))


def test_who_may_not_is_told_so_and_runs_nothing(streamed: Streamed) -> None:
    made = json.loads(command("ecs-anywhere", "keys", "create", "reader", "--output", "json", *streamed.where))
    about = streamed.stack.about
    key = {
        "AWS_ENDPOINT_URL_ECS": about["ecsEndpoint"],
        "AWS_DEFAULT_REGION": about["region"],
        "AWS_ACCESS_KEY_ID": made["accessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["secretAccessKey"],
    }
    refused = streamed.exec("sh", "-c", "touch /tmp/ecs-anywhere-was-here", env=key)
    assert refused.returncode == 1
    assert b"AccessDeniedException" in refused.stderr
    assert b"ecs:ExecuteCommand" in refused.stderr
    assert not Path("/tmp/ecs-anywhere-was-here").exists()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(
            {"topic": f"ecs-anywhere/ecs-anywhere-{'1' * 32}/streams/{'2' * 32}"}, id="another-machines-stream"
        ),
        pytest.param({"topic": "ecs-anywhere/+/streams/+"}, id="every-stream"),
        pytest.param({"client_id": f"ecs-anywhere_stream_{'3' * 32}"}, id="under-another-client-id"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused socket open
def test_an_address_is_good_for_its_own_stream_only(streamed: Streamed, changed: dict[str, str]) -> None:
    ecs = streamed.stack.ecs
    ecs.meta.events.register("before-call.ecs.ExecuteCommand", say_that_we_play_streams)
    request = {"cluster": CLUSTER, "task": streamed.task, "command": "true", "interactive": True}
    session = ecs.execute_command(**request)["session"]
    stream = Stream.from_json(session["tokenValue"])
    link = StreamLink(session["streamUrl"], stream.model_copy(update=changed), lambda: None)
    with pytest.raises(Problem, match="Cannot join the stream"):
        link.open()
    tampered = session["streamUrl"].replace("X-Amz-Expires=900", "X-Amz-Expires=9000")
    with pytest.raises(Problem, match="Cannot reach"):
        StreamLink(tampered, stream, lambda: None).open()
    gc.collect()


def test_amazons_client_is_told_what_to_use(streamed: Streamed) -> None:
    request = {"cluster": CLUSTER, "task": streamed.task, "command": "sh", "interactive": True}
    with pytest.raises(streamed.stack.ecs.exceptions.InvalidParameterException, match="ecs-anywhere exec"):
        streamed.stack.ecs.execute_command(**request)


def test_a_stream_wakes_no_function_and_its_machine_stays_connected(streamed: Streamed) -> None:
    """Its opening is one invocation; what is said in it costs none."""
    log = (streamed.stack.state / "emulator.log").read_text().count
    before = {what: log(what) for what in ('iot-register-container-instance"', 'iot-connectivity"')}
    for _ in range(2):
        assert streamed.exec("echo", "hello").returncode == 0
    log = (streamed.stack.state / "emulator.log").read_text().count
    assert {what: log(what) for what in before} == before
