"""The process runtime starts a container again that has ended."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.core.actions import RestartContainer, RuntimeAction, StartContainer
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, Condition
from ecs_anywhere_agent.runtime import process_files
from ecs_anywhere_agent.runtime.cgroups import find_cgroups
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from integration.agent.processes import Make, child_pid, directory, log
from integration.agent.runtimes import REF, Driver, spec

FAILS = spec("sh", "-c", "echo started; exit 9")


def once(tmp_path: Path) -> ContainerSpec:
    """Ends at once the first time, and then runs on."""
    return spec("sh", "-c", f"test -e {tmp_path}/again && exec sleep 1000; touch {tmp_path}/again")


def failure(driver: Driver) -> ActionFailed:
    """Of a restart, past what is still told of the run before."""
    told = driver.do(RestartContainer(REF))
    while not isinstance(told, ActionFailed):
        told = driver.next()
    return told


def test_a_restart_is_another_run_with_the_same_files(make: Make, tmp_path: Path) -> None:
    driver = make()
    created = driver.create(FAILS)
    assert created.run is None
    driver.runtime.perform(StartContainer(REF))
    first = driver.ended(driver.changed())
    second = driver.restart(first)
    assert second.run not in {None, first.run}
    end = driver.ended(second)
    assert (end.run, end.exit_code, end.origin) == (second.run, 9, created.origin)
    assert log(tmp_path) == "started\nstarted\n"


def test_what_runs_is_not_restarted(make: Make) -> None:
    driver = make()
    running = driver.start(spec("sleep", "1000"))
    assert running.run is not None
    assert driver.restart() == running


def test_what_is_not_there_is_gone_and_not_restarted(make: Make) -> None:
    assert make().restart().condition is Condition.GONE


def test_what_cannot_be_restarted_says_why(make: Make, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    driver = make()
    driver.ended(driver.start(spec(str(program))))
    program.unlink()
    told = ActionFailed(REF, Attempt.START, f"exec: {program}: No such file or directory")
    assert failure(driver) == told
    assert failure(driver) == told
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    assert driver.restart().condition is Condition.RUNNING, "what it lacked is there again"


@pytest.fixture
def last_keeper() -> Iterator["subprocess.Popen[bytes]"]:
    """Stands for the keeper of the last run, which has told of its end but takes its time to end itself."""
    with subprocess.Popen(["sleep", "1000"]) as keeper:
        yield keeper
        keeper.kill()


def test_a_late_word_of_the_last_keeper_is_not_the_end_of_the_new_run(
    make: Make, tmp_path: Path, last_keeper: "subprocess.Popen[bytes]"
) -> None:
    driver = make()
    runtime = driver.runtime
    assert isinstance(runtime, ProcessRuntime)
    first = driver.ended(driver.start(once(tmp_path)))
    runtime._watcher.watch(REF, last_keeper.pid, os.pidfd_open(last_keeper.pid))
    running = driver.restart(first)
    assert running.condition is Condition.RUNNING
    last_keeper.kill()
    assert driver.changed() == running
    assert driver.stop().run == running.run


def test_the_end_of_the_new_run_waits_for_no_earlier_keeper(
    make: Make, tmp_path: Path, last_keeper: "subprocess.Popen[bytes]"
) -> None:
    driver = make()
    runtime = driver.runtime
    assert isinstance(runtime, ProcessRuntime)
    first = driver.ended(driver.start(once(tmp_path)))
    runtime._watcher.watch(REF, last_keeper.pid, os.pidfd_open(last_keeper.pid))
    running = driver.restart(first)
    end = driver.stop()
    assert (end.run, end.exit_code) == (running.run, 143)


@pytest.mark.parametrize("action", [StartContainer(REF), RestartContainer(REF)])
def test_an_agent_that_ended_amid_a_restart_left_a_container_to_start(
    make: Make, tmp_path: Path, action: RuntimeAction
) -> None:
    first = make()
    before = first.ended(first.start(FAILS))
    first.close()
    (directory(tmp_path) / "keeper.json").unlink()
    second = make()
    (adopted,) = second.inventory
    assert (adopted.condition, adopted.run, adopted.exit_code) == (Condition.CREATED, None, None)
    second.runtime.perform(action)
    end = second.ended(second.changed())
    assert (end.exit_code, end.run == before.run) == (9, False)


def test_what_the_last_keeper_wrote_says_nothing_of_the_new_run(make: Make, tmp_path: Path) -> None:
    """As an agent finds it that looks when the next keeper has come, and has made nothing yet."""
    first = make()
    first.ended(first.start(FAILS))
    first.close()
    keeper = directory(tmp_path) / "keeper.json"
    keeper.write_text(json.dumps({**json.loads(keeper.read_text()), "pid": 2, "startTime": 1}))
    (adopted,) = make().inventory
    assert (adopted.condition, adopted.run, adopted.exit_code) == (Condition.EXITED, None, None)


_AGENT = """
import sys
from pathlib import Path
from ecs_anywhere_agent.core.actions import RestartContainer
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from integration.agent.runtimes import REF, Driver
driver = Driver(ProcessRuntime(Path(sys.argv[1]), None))
print("opened", flush=True)
driver.runtime.perform(RestartContainer(REF))
driver.changed()
driver.next(600)
"""


@pytest.mark.parametrize("delay", [step / 1000 for step in range(0, 60, 6)])
def test_an_agent_killed_around_a_restart_restarts_exactly_once(make: Make, tmp_path: Path, delay: float) -> None:
    first = make()
    before = first.ended(first.start(FAILS))
    first.close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    agent = subprocess.Popen([sys.executable, "-c", _AGENT, str(tmp_path)], stdout=subprocess.PIPE, env=environment)
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"opened\n"
    time.sleep(delay)
    agent.kill()
    agent.wait()
    agent.stdout.close()

    driver = make()
    (adopted,) = driver.inventory
    if adopted.condition is Condition.CREATED:
        # As the core does: a keeper that the killed agent launched may come first, and its run is the one then.
        driver.runtime.perform(StartContainer(REF))
        adopted = driver.changed()
    elif adopted.run == before.run:
        adopted = driver.restart(before)
    end = driver.ended(adopted)
    assert (end.exit_code, end.run == before.run) == (9, False)
    assert log(tmp_path) == "started\nstarted\n"


@pytest.mark.parametrize("lost", ["the machine was restarted", "its cgroup is gone"])
def test_it_is_limited_as_before(make: Make, tmp_path: Path, lost: str) -> None:
    cgroups = find_cgroups()
    if cgroups is None:
        pytest.skip("no cgroup may be made here")
    driver = make()
    first = driver.ended(driver.start(once(tmp_path)))
    if lost == "its cgroup is gone":
        cgroups.remove(REF)
    else:
        keeper = directory(tmp_path) / "keeper.json"
        # Whole at any moment: the end may be told twice, and is looked at then.
        process_files.write(keeper, json.dumps({**json.loads(keeper.read_text()), "bootId": "another"}))
    assert driver.restart(first).condition is Condition.RUNNING
    assert f"{REF.task_id}-{REF.name}" in Path(f"/proc/{child_pid(tmp_path)}/cgroup").read_text()
    limit = "memory.max" if cgroups.version == 2 else "memory.limit_in_bytes"
    assert (cgroups.memory / f"{REF.task_id}-{REF.name}" / limit).read_text() == f"{32 << 20}\n"


@pytest.mark.skipif(find_cgroups() is None, reason="no cgroup may be made here")
def test_a_run_that_is_killed_is_not_blamed_for_the_memory_of_the_last(make: Make, tmp_path: Path) -> None:
    marker = tmp_path / "again"
    program = f"""
import os, pathlib, signal
marker = pathlib.Path({str(marker)!r})
if marker.exists():
    os.kill(os.getpid(), signal.SIGKILL)
marker.touch()
print(len(bytearray(200 * 1024 * 1024)))
"""
    driver = make()
    first = driver.ended(driver.start(spec("-c", program, entryPoint=[sys.executable], memory=48)))
    assert (first.exit_code, first.reason) == (137, "OutOfMemoryError: Container killed due to memory usage")
    second = driver.ended(driver.restart(first))
    assert (second.exit_code, second.reason) == (137, None)
