"""The process runtime with real processes."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from ecs_anywhere_agent.core.actions import CreateContainer, PullImage, StartContainer, StopContainer
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, Condition, ImagePulled
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime import launching
from ecs_anywhere_agent.runtime.cgroups import find_cgroups
from ecs_anywhere_agent.runtime.keeper import session_members, start_time
from ecs_anywhere_agent.runtime.process import NO_LIMITS, ProcessRuntime
from integration.agent.processes import Make, child_pid, directory, log, runs
from integration.agent.runtimes import REF, TASK_ID, eventually, spec
from shows import shows


@pytest.mark.parametrize("code", [0, 3, 255])
def test_keeps_the_exit_code(make: Make, code: int) -> None:
    driver = make()
    driver.start(spec("sh", "-c", f"exit {code}"))
    ended = driver.until(Condition.EXITED)
    assert (ended.exit_code, ended.reason) == (code, None)


def test_the_process_sees_only_the_environment_of_the_task(make: Make, tmp_path: Path) -> None:
    os.environ["SECRET_OF_THE_AGENT"] = "1"
    container = spec("env", environment=[{"name": "GREETING", "value": "hello world"}], workingDirectory="/tmp")
    driver = make()
    driver.start(container)
    driver.until(Condition.EXITED)
    names = {line.partition("=")[0] for line in log(tmp_path).splitlines()}
    assert names == {"GREETING", "PATH", "HOME", "LANG"}
    assert "GREETING=hello world" in log(tmp_path)


def test_the_working_directory_and_the_session_are_its_own(make: Make, tmp_path: Path) -> None:
    container = spec("-c", "import os; print(os.getcwd(), os.getsid(0) == os.getpid())", entryPoint=[sys.executable])
    driver = make()
    driver.start(container._replace(working_directory="/usr"))
    driver.until(Condition.EXITED)
    assert log(tmp_path) == "/usr True\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("user", "expected"), [("nobody", "65534 65534"), ("1234:4321", "1234 4321"), ("1234", "1234 0")]
)
def test_becomes_the_user(make: Make, tmp_path: Path, user: str, expected: str) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "echo $(id -u) $(id -g)", user=user)._replace(working_directory="/"))
    assert driver.until(Condition.EXITED).exit_code == 0
    assert log(tmp_path) == f"{expected}\n"


def a_ulimit(name: str, soft: int, hard: int) -> dict[str, object]:
    return {"name": name, "softLimit": soft, "hardLimit": hard}


READ_LIMITS = """
import resource as r
print(*(r.getrlimit(n) for n in (r.RLIMIT_NOFILE, r.RLIMIT_CORE, r.RLIMIT_SIGPENDING, 10, 15)))
"""


@shows("ulimits.name", "ulimits.softLimit", "ulimits.hardLimit")
@pytest.mark.parametrize(
    "user",
    [None, pytest.param("1234:4321", marks=pytest.mark.skipif(os.geteuid() != 0, reason="root becomes another"))],
)
def test_its_ulimits_are_those_of_the_container(make: Make, tmp_path: Path, user: str | None) -> None:
    """One is raised where that may be done."""
    most = resource.getrlimit(resource.RLIMIT_SIGPENDING)[1] + launching.may_raise_limits()
    wanted = [
        a_ulimit("nofile", 100, 200),
        a_ulimit("core", 0, 0),
        a_ulimit("sigpending", 5, most),
        a_ulimit("locks", 7, 8),
        a_ulimit("rttime", 9_000_000, -1),
    ]
    driver = make()
    made = spec("-c", READ_LIMITS, entryPoint=["/usr/bin/python3"], ulimits=wanted, user=user or "")
    driver.start(made._replace(working_directory="/"))
    assert driver.until(Condition.EXITED).exit_code == 0, log(tmp_path)
    assert log(tmp_path) == f"(100, 200) (0, 0) (5, {most}) (7, 8) (9000000, -1)\n"


@pytest.mark.parametrize(
    ("effective", "able"),
    [
        pytest.param("000001ffffffffff", True, id="root"),
        pytest.param("000001fffeffffff", False, id="root-that-may-not"),
        pytest.param("0000000000000000", False, id="another-user"),
    ],
)
def test_ulimits_are_announced_where_they_can_be_raised(tmp_path: Path, effective: str, able: bool) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tpython\nGroups:\t0 \nCapEff:\t{effective}\n")
    assert launching.may_raise_limits(status) is able


def test_every_ulimit_of_the_api_has_a_number() -> None:
    shape: Any = botocore.session.get_session().get_service_model("ecs").shape_for("UlimitName")
    made = spec("true", ulimits=[a_ulimit(name, 1, 1) for name in shape.enum])
    assert len({number for number, _, _ in launching.prepare(made, ())["ulimits"]}) == len(shape.enum) == 15


def test_an_unknown_user_fails_the_container(make: Make) -> None:
    driver = make()
    driver.do(PullImage(REF, "any"))
    told = driver.do(CreateContainer(REF, spec("true", user="nobody-of-this-name")))
    assert isinstance(told, ActionFailed)
    assert told.attempt is Attempt.CREATE


def test_without_command_and_entry_point_there_is_nothing_to_run(make: Make) -> None:
    driver = make()
    told = driver.do(CreateContainer(REF, spec()))
    assert isinstance(told, ActionFailed)
    assert "set command or entryPoint" in told.reason


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        pytest.param(spec("no-such-program"), "exec: no-such-program: No such file or directory", id="program"),
        pytest.param(
            spec("true", workingDirectory="/no/such"),
            "workingDirectory: /no/such: No such file or directory",
            id="directory",
        ),
        pytest.param(
            spec("true", ulimits=[{"name": "nofile", "softLimit": 2, "hardLimit": 1}]),
            "ulimits: Invalid argument",
            id="more-than-the-hard-limit",
        ),
        pytest.param(
            spec("true", ulimits=[{"name": "nofile", "softLimit": 1, "hardLimit": 2**30}]),
            "ulimits: Operation not permitted",
            id="more-than-the-kernel-allows",
        ),
    ],
)
def test_what_cannot_start_says_why(make: Make, container: object, reason: str) -> None:
    driver = make()
    assert isinstance(driver.do(PullImage(REF, "any")), ImagePulled)
    driver.create(container)  # type: ignore[arg-type]
    told = driver.do(StartContainer(REF))
    assert told == ActionFailed(REF, Attempt.START, reason)
    assert driver.do(StartContainer(REF)) == told


def test_stop_signals_the_whole_session(make: Make, tmp_path: Path) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "sleep 1000 & sleep 1000 & wait"))
    pid = child_pid(tmp_path)
    eventually(lambda: len(session_members(pid)) == 3)
    assert driver.stop().exit_code == 143
    assert session_members(pid) == []


def test_a_process_that_ignores_the_stop_signal_is_killed_with_all_it_made(make: Make, tmp_path: Path) -> None:
    driver = make()
    program = "trap '' TERM; setsid sleep 1001 & sleep 1000 & echo ready; wait; wait; wait"
    driver.start(spec("sh", "-c", program))
    eventually(lambda: "ready" in log(tmp_path))
    driver.runtime.perform(_stop())
    time.sleep(0.3)
    assert driver.told.empty()
    assert driver.stop(kill=True).exit_code == 137
    assert not runs("sleep 1001")


def _stop() -> StopContainer:

    return StopContainer(REF)


def test_what_a_process_leaves_behind_ends_with_it(make: Make) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "setsid sleep 1002 & exit 5"))
    assert driver.until(Condition.EXITED).exit_code == 5
    assert not runs("sleep 1002")


def test_a_second_start_starts_nothing(make: Make, tmp_path: Path) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "echo started; sleep 1000"))
    pid = child_pid(tmp_path)
    driver.runtime.perform(StartContainer(REF))
    assert driver.changed().condition is Condition.RUNNING
    assert child_pid(tmp_path) == pid
    eventually(lambda: log(tmp_path) == "started\n")


def test_the_next_agent_adopts_what_runs_and_hears_its_end(make: Make, tmp_path: Path) -> None:
    first = make()
    started = first.start(spec("sleep", "1000"))
    first.close()
    second = make()
    assert second.inventory == (started,)
    os.kill(child_pid(tmp_path), signal.SIGKILL)
    assert second.until(Condition.EXITED).exit_code == 137


def test_an_exit_code_waits_for_the_next_agent(make: Make, tmp_path: Path) -> None:
    first = make()
    first.start(spec("sh", "-c", "sleep 0.2; exit 7"))
    first.close()
    eventually((directory(tmp_path) / "exit.json").exists)
    (adopted,) = make().inventory
    assert (adopted.condition, adopted.exit_code) == (Condition.EXITED, 7)
    assert adopted.started_at is not None
    assert adopted.finished_at is not None
    assert adopted.finished_at > adopted.started_at


def test_a_pid_that_is_somebody_elses_now_is_not_adopted(make: Make, tmp_path: Path) -> None:
    first = make()
    first.start(spec("sleep", "1000"))
    first.close()
    keeper = directory(tmp_path) / "keeper.json"
    real = json.loads(keeper.read_text())
    keeper.write_text(json.dumps({**real, "pid": os.getpid()}))
    (adopted,) = make().inventory
    assert adopted.condition is Condition.EXITED
    assert adopted.exit_code is None
    keeper.write_text(json.dumps(real))
    os.kill(real["pid"], signal.SIGKILL)


def test_after_a_reboot_nothing_is_adopted_and_nobody_is_signalled(make: Make, tmp_path: Path) -> None:
    first = make()
    first.start(spec("sleep", "1000"))
    first.close()
    keeper = directory(tmp_path) / "keeper.json"
    real = keeper.read_text()
    keeper.write_text(json.dumps({**json.loads(real), "bootId": "another"}))
    second = make()
    (adopted,) = second.inventory
    assert (adopted.condition, adopted.exit_code) == (Condition.EXITED, None)
    assert adopted.reason is not None
    assert "restarted" in adopted.reason
    assert start_time(child_pid(tmp_path)) > 0
    keeper.write_text(real)


def test_a_killed_keeper_takes_its_process_along(make: Make, tmp_path: Path) -> None:
    driver = make()
    driver.start(spec("sh", "-c", "sleep 1003 & sleep 1000"))
    eventually(lambda: runs("sleep 1003"))
    os.kill(json.loads((directory(tmp_path) / "keeper.json").read_text())["pid"], signal.SIGKILL)
    ended = driver.until(Condition.EXITED)
    assert ended.exit_code is None
    assert ended.reason is not None
    eventually(lambda: not runs("sleep 1003"))


_DRIVER = """
import sys
from pathlib import Path
from ecs_anywhere_agent.core.actions import CreateContainer, StartContainer
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from integration.agent.runtimes import REF, Driver, spec
driver = Driver(ProcessRuntime(Path(sys.argv[1]), None))
driver.create(spec("sh", "-c", "echo started; sleep 0.5; exit 9"))
print("created", flush=True)
driver.runtime.perform(StartContainer(REF))
driver.changed()
print("started", flush=True)
driver.changed()
"""


@pytest.mark.parametrize("delay", [None, *(step / 1000 for step in range(0, 60, 4))])
def test_an_agent_killed_around_the_start_starts_exactly_once(make: Make, tmp_path: Path, delay: float | None) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    agent = subprocess.Popen([sys.executable, "-c", _DRIVER, str(tmp_path)], stdout=subprocess.PIPE, env=environment)
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"created\n"
    if delay is None:
        assert agent.stdout.readline() == b"started\n"
    else:
        time.sleep(delay)
    agent.kill()
    agent.wait()
    agent.stdout.close()

    driver = make()
    (adopted,) = driver.inventory
    if adopted.condition is Condition.CREATED:
        driver.runtime.perform(StartContainer(REF))
    if adopted.condition is not Condition.EXITED:
        assert driver.until(Condition.EXITED).exit_code == 9
    assert log(tmp_path) == "started\n"


def test_removing_a_container_leaves_nothing(make: Make, tmp_path: Path) -> None:
    driver = make()
    driver.start(spec("sleep", "1000"))
    pid = child_pid(tmp_path)
    driver.remove()
    eventually(lambda: not directory(tmp_path).exists())
    assert start_time(pid) == 0


def test_ports_are_those_of_the_machine(make: Make) -> None:
    driver = make()
    container = spec("sleep", "1000", portMappings=[{"containerPort": 8080}, {"containerPort": 53, "protocol": "udp"}])
    bindings = [(binding.host_port, binding.protocol) for binding in driver.start(container).bindings]
    assert bindings == [(8080, "tcp"), (53, "udp")]


@pytest.mark.skipif(find_cgroups() is None, reason="no cgroup may be made here")
def test_more_memory_than_the_limit_is_the_end(make: Make) -> None:
    driver = make()
    program = "x = bytearray(200 * 1024 * 1024); print(len(x))"
    driver.start(spec("-c", program, entryPoint=[sys.executable], task_memory=48, memory=None))
    ended = driver.until(Condition.EXITED)
    assert (ended.exit_code, ended.reason) == (137, "OutOfMemoryError: Container killed due to memory usage")


@pytest.mark.skipif(find_cgroups() is None, reason="no cgroup may be made here")
@shows("task:cpu", "task:memory")
def test_a_task_has_a_control_group_for_all_its_containers(make: Make) -> None:
    cgroups = find_cgroups()
    assert cgroups is not None
    driver = make()
    refs = [ContainerRef(TASK_ID, name) for name in ("one", "two")]
    for ref in refs:
        driver.start(spec("sleep", "1000", task_memory=48, task_cpu=512, memory=32), ref)
    group = cgroups.memory / TASK_ID
    limit = "memory.limit_in_bytes" if cgroups.version == 1 else "memory.max"
    limits = {path.name: (path / limit).read_text() for path in (group, *(group / ref.name for ref in refs))}
    assert limits == {TASK_ID: f"{48 << 20}\n", "one": f"{32 << 20}\n", "two": f"{32 << 20}\n"}
    assert all((group / ref.name / "cgroup.procs").read_text() for ref in refs)
    for ref in refs:
        driver.stop(kill=True, ref=ref)
        driver.remove(ref)
    eventually(lambda: not group.exists() and not (cgroups.cpu / TASK_ID).exists())


def test_without_cgroups_it_says_so(tmp_path: Path) -> None:
    facts = ProcessRuntime(tmp_path, None).facts()
    assert facts.attributes == (NO_LIMITS,)
    assert "task-limits" not in facts.features


def test_two_containers_of_a_task(make: Make) -> None:
    driver = make()
    other = ContainerRef(TASK_ID, "other")
    driver.start(spec("sleep", "1000"))
    driver.start(spec("sh", "-c", "exit 4"), other)
    assert driver.until(Condition.EXITED, other).exit_code == 4
