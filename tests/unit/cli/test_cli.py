"""The pure parts of the operator's command, and processes found again."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import click
import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console

from ecs_anywhere import entry, interrupts, local, overview, processes
from ecs_anywhere.console import Problem
from ecs_anywhere.durations import DURATION
from ecs_anywhere.main import cli
from ecs_anywhere.policies import document_of
from ecs_anywhere.settings import Stack, StateDir


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800)],
)
def test_durations(text: str, seconds: int) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "1w", "-1h", "1.5h"])
def test_what_is_no_duration_says_what_is(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s, 30m, 24h or 7d"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["up"],
        ["down"],
        ["env"],
        ["activate"],
        ["status"],
        ["demo"],
        ["replay"],
        ["resume"],
        ["check"],
        ["orphans", "adopt"],
        ["duplicates", "keep"],
        ["keys", "create"],
        ["credentials"],
        ["configure"],
        ["keys", "revoke"],
        ["policies", "put"],
        ["policies", "delete"],
        ["activations", "list"],
        ["rotate"],
        ["trust"],
        ["deregister"],
        ["activations", "delete"],
    ],
)
def test_everything_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(cli, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_a_policy_of_options() -> None:
    document = document_of(("ecs:RunTask", "ecs:List*"), ("ecs:StopTask",), ("prod",), ("web*",), ("*",))
    on = ["arn:*:ecs:*:*:cluster/prod", "arn:*:ecs:*:*:task-definition/web*:*", "*"]
    assert document["Statement"] == [
        {"Effect": "Allow", "Action": ["ecs:RunTask", "ecs:List*"], "Resource": on},
        {"Effect": "Deny", "Action": ["ecs:StopTask"], "Resource": on},
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["policies", "put", "p", "--principal", "ci", "--cluster", "c"], "--allow"),
        (["policies", "put", "p", "--principal", "ci", "--allow", "ecs:*"], "--cluster"),
        (["policies", "put", "p", "--principal", "ci", "--allow", "ecs:*", "--document", __file__], "stands alone"),
        (["keys", "create"], "PRINCIPAL"),
        (["keys", "create", "ci", "--instance"], "PRINCIPAL"),
        (["keys", "create", "ci", "--container-instance", "1"], "--instance"),
        (["keys", "create", "--instance", "--cluster", "a", "--cluster", "b"], "one --cluster"),
    ],
)
def test_what_is_asked_for_makes_sense(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_a_profile_is_written_in_place_of_one_of_its_name_and_all_else_stays(tmp_path: Path) -> None:
    config = tmp_path / "config"
    others = "# mine\n[default]\nregion = eu-west-1\n\n[profile anywhere-else]\nregion = us-east-2\n"
    config.write_text(f"{others}[profile anywhere]\nregion = old\ncredential_process = old\n")
    a_stack("secret").save(StateDir(tmp_path).stack_file)
    arguments = ["configure", "--state-dir", str(tmp_path), "--config-file", str(config), "--administrator"]
    for _ in range(2):
        assert CliRunner().invoke(cli, arguments).exit_code == 0
    written = config.read_text()
    assert written.startswith(others)
    assert (written.count("[profile anywhere]"), "old" in written) == (1, False)
    session = botocore.session.Session(profile="anywhere")
    session.set_config_variable("config_file", str(config))
    profile = session.get_scoped_config()
    assert profile["credential_process"].endswith("--source-profile default --administrator")
    services = session.full_config["services"][profile["services"]]
    assert services["ecs"]["endpoint_url"] == a_stack("secret").ecs_endpoint


@pytest.mark.parametrize("profile", ["default", "a]b", ""])
def test_a_profile_that_would_harm_others_is_not_written(tmp_path: Path, profile: str) -> None:
    a_stack("secret").save(StateDir(tmp_path).stack_file)
    config = tmp_path / "config"
    arguments = ["configure", "--state-dir", str(tmp_path), "--config-file", str(config), "--profile", profile]
    assert CliRunner().invoke(cli, arguments).exit_code == 2
    assert not config.exists()


def test_env_quotes_what_a_shell_would_take_apart(tmp_path: Path) -> None:
    secret = """it's a "secret" $HOME; `ls` \\"""
    a_stack(secret).save(StateDir(tmp_path).stack_file)
    printed = CliRunner().invoke(cli, ["env", "--state-dir", str(tmp_path)]).output
    script = f'{printed}\nprintf %s "$AWS_SECRET_ACCESS_KEY"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == secret


def test_a_stack_that_is_not_there_says_how_to_start_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["env", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1


def test_the_state_holds_keys_and_is_the_owners_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    with state.alone():
        a_stack("secret").save(state.stack_file)
    assert (state.path.stat().st_mode & 0o777, state.stack_file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert Stack.load(state.stack_file) == a_stack("secret")


def test_a_process_is_found_by_pid_and_start_and_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pid = processes.start(
        [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", pid_file=pid_file
    )
    found = processes.find(pid_file)
    assert found is not None
    assert found.pid == pid
    assert processes.end(pid_file)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not processes.end(pid_file)


def test_a_session_that_does_not_follow_its_leader_is_ended_if_asked(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    pid = processes.start([sys.executable, "-c", script], log=tmp_path / "log", pid_file=pid_file)
    deadline = time.monotonic() + 20
    while not (children := psutil.Process(pid).children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    [child] = children
    assert processes.end(pid_file, with_session=True)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_pid_that_was_given_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with subprocess.Popen(["sleep", "60"]) as somebody_else:
        pid_file.write_text(json.dumps({"pid": somebody_else.pid, "started": time.time() - 3600}))
        assert processes.find(pid_file) is None
        assert not processes.end(pid_file)
        assert somebody_else.poll() is None
        somebody_else.kill()


def test_what_is_run_does_not_outlive_an_interrupt(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sh -c 'echo $$ > {child}; exec sleep 60' & wait"
    asked = (
        "import os, sys, pathlib; from ecs_anywhere import interrupts, processes; interrupts.install();"
        f"processes.run(['sh', '-c', {script!r}], log=pathlib.Path({str(tmp_path / 'log')!r}), env=dict(os.environ),"
        "cwd=pathlib.Path('/'))"
    )
    with subprocess.Popen([sys.executable, "-c", asked], stderr=subprocess.DEVNULL) as command:
        deadline = time.monotonic() + 20
        while not (child.exists() and child.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        command.send_signal(signal.SIGTERM)
        command.wait(timeout=20)
    assert command.returncode not in {0, None}
    pid = int(child.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_two_commands_do_not_work_in_one_state_directory(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with state.alone():
        leftover = state.temporary() / "leftover"
        leftover.touch()
        result = CliRunner().invoke(cli, ["down", "--state-dir", str(tmp_path)])
        assert result.exit_code == 1
        with pytest.raises(Problem, match="Another `ecs-anywhere` is at work"), state.alone():
            pass
    assert not leftover.exists()
    assert CliRunner().invoke(cli, ["down", "--state-dir", str(tmp_path)]).exit_code == 0


def test_an_interrupt_waits_until_what_must_not_be_broken_is_done() -> None:
    done: list[str] = []

    def start() -> None:
        with interrupts.unbroken():
            signal.raise_signal(signal.SIGINT)
            done.append("noted")
        done.append("never reached")

    with signals_handled(), pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["noted"]


def test_impatience_does_not_break_off_the_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE_SECONDS", 60)
    done: list[str] = []
    with signals_handled():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)  # before the ending has begun
            with interrupts.unbroken(ending=True):
                signal.raise_signal(signal.SIGTERM)
                done.append("ended")
        done.append("left in peace")
    assert done == ["ended", "left in peace"]


def test_nohup_keeps_its_meaning() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_handled():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def signals_handled() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    interrupts.install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_next_port_is_taken_if_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert local.free_port(port) > port


def test_tables_name_what_there_is() -> None:
    task: dict[str, Any] = {
        "taskArn": "arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef",
        "group": "service:web",
        "lastStatus": "STOPPED",
        "desiredStatus": "STOPPED",
        "createdAt": datetime(2026, 1, 1, tzinfo=UTC),
        "containers": [{"exitCode": 137}],
        "stoppedReason": "Essential container in task exited",
    }
    console = Console(width=200, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(overview.tasks_table([task]))
    for text in ("0123456789ab", "service:web", "STOPPED", "137", "Essential container in task exited"):
        assert text in captured.get()


def a_stack(secret: str) -> Stack:
    return Stack(
        ecs_endpoint="http://127.0.0.1:4566/x",
        region="us-east-1",
        access_key_id="KEY",
        secret_access_key=secret,
        registration_endpoint="http://127.0.0.1:4566/x/registration",
        stack_name="ecs-anywhere",
        event_bus_name="bus",
        operator_function="operator",
    )


def test_ctrl_c_while_it_is_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "ecs_anywhere.main":
                signal.raise_signal(signal.SIGINT)

    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    monkeypatch.delitem(sys.modules, "ecs_anywhere.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Slow(), *sys.meta_path])
    try:
        with pytest.raises(SystemExit) as ended:
            entry.run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert ended.value.code == 130
