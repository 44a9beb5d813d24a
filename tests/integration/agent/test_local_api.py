"""The agent's socket on the machine, with real clients good and bad."""

import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.local_api import SOCKET, AgentNotRunningError, LocalApi, LocalApiError, RefusedError, ask


def echo(value: Any) -> Any:
    if value == "no":
        raise RefusedError("it says no")
    return value


@contextmanager
def connected(data_dir: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(data_dir / SOCKET))
        yield client


def answer_to(data_dir: Path, request: bytes) -> Any:
    with connected(data_dir) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return json.loads(client.makefile("rb").read())


def test_answers_one_after_the_other_to_its_user_alone(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"echo": echo}):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
        for value in (None, "text", {"a": [1]}, "x" * 3000):
            assert ask(tmp_path, "echo", value) == value
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AgentNotRunningError, match="Start it: ecs-anywhere-agent run"):
        ask(tmp_path, "echo")


def test_a_long_answer_comes_whole(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"much": lambda _: "x" * 1_000_000}):
        assert len(ask(tmp_path, "much")) == 1_000_000


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        pytest.param(b'{"restart": null}\n', "unknown request 'restart'; this agent", id="an-unknown-request"),
        pytest.param(b"status\n", "one JSON object of one member", id="no-json"),
        pytest.param(b'["echo"]\n', "one JSON object of one member", id="no-object"),
        pytest.param(b"[" * 4000 + b"\n", "one JSON object of one member", id="too-deep"),
        pytest.param(b'{"echo": 1, "more": 2}\n', "one JSON object of one member", id="two-members"),
        pytest.param(b"", "one JSON object of one member", id="nothing"),
        pytest.param(b"x" * 5000, "one JSON object of one member", id="too-long"),
        pytest.param(b'{"echo": "no"}\n', "it says no", id="a-refusal"),
    ],
)
def test_what_it_does_not_do_it_says(tmp_path: Path, request_line: bytes, error: str) -> None:
    with LocalApi(tmp_path, {"echo": echo}):
        assert error in answer_to(tmp_path, request_line)["error"]
        assert ask(tmp_path, "echo", 1) == 1


def test_a_refusal_reaches_who_asked(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"echo": echo}), pytest.raises(LocalApiError, match="refused: it says no"):
        ask(tmp_path, "echo", "no")


def test_a_client_that_says_nothing_does_not_keep_others_waiting_for_long(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"echo": echo}), connected(tmp_path) as silent:
        assert ask(tmp_path, "echo", 1, timeout_seconds=5) == 1
        assert silent.recv(10) == b""


def test_a_client_that_speaks_a_byte_at_a_time_is_cut_off(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"echo": echo}), connected(tmp_path) as slow:
        give_up = time.monotonic() + 10
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < give_up:
                slow.send(b" ")
                time.sleep(0.05)
        assert time.monotonic() < give_up
        assert ask(tmp_path, "echo", 1) == 1


def test_a_client_that_goes_away_or_does_not_read_harms_nobody(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"much": lambda _: "x" * 5_000_000, "echo": echo}):
        with connected(tmp_path) as gone:
            gone.sendall(b'{"much": null}\n')
        with connected(tmp_path) as deaf:
            deaf.sendall(b'{"much": null}\n')
            assert ask(tmp_path, "echo", 1, timeout_seconds=5) == 1


def test_ends_at_once_while_somebody_is_connected(tmp_path: Path) -> None:
    with LocalApi(tmp_path, {"echo": echo}) as api, connected(tmp_path):
        started = time.monotonic()
        api.__exit__(None, None, None)
        assert time.monotonic() - started < 5
        assert [thread for thread in threading.enumerate() if thread.name == "local-api"] == []


def test_a_killed_agents_socket_is_replaced(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from ecs_anywhere_agent.local_api import LocalApi\n"
        "with LocalApi(pathlib.Path(sys.argv[1]), {}): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    assert (tmp_path / SOCKET).is_socket()
    with pytest.raises(AgentNotRunningError):
        ask(tmp_path, "echo")
    with LocalApi(tmp_path, {"echo": echo}):
        assert ask(tmp_path, "echo", 1) == 1


def test_a_path_may_be_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    data_dir = tmp_path / ("d" * 120) / "data"
    data_dir.mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with LocalApi(data_dir, {"echo": echo}):
        assert (data_dir / SOCKET).is_socket()
        assert ask(data_dir, "echo", 1) == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_agent_that_hangs_is_not_taken_for_one_that_does_not_run(tmp_path: Path) -> None:
    hold = threading.Event()
    with LocalApi(tmp_path, {"hang": lambda _: hold.wait(10)}):
        with pytest.raises(LocalApiError, match="does not answer"):
            ask(tmp_path, "hang", timeout_seconds=0.2)
        hold.set()
