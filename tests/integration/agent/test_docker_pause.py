"""pidMode and ipcMode `task`: the containers of a task share namespaces that none of them holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.core.events import Condition
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_engine import Engine
from integration.agent.docker_containers import Containers, closing
from integration.agent.runtimes import TASK_ID, eventually
from shows import shows

pytestmark = pytest.mark.docker

PAUSE = f"ecs-anywhere-pause-{TASK_ID}"
FIRST, SECOND = ContainerRef(TASK_ID, "first"), ContainerRef(TASK_ID, "second")
WAIT = ["sh", "-c", "echo here >/dev/shm/first; sleep 12345"]


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[Containers]:
    with closing(Containers(engine, tmp_path)) as made:
        yield made
    assert engine.inspect(PAUSE) is None, "it goes with the task's last container"


@pytest.mark.parametrize(
    ("modes", "command", "seen"),
    [
        pytest.param(
            {"pidMode": "task"},
            "cat /proc/1/cmdline | tr '\\0' ' '; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 12345",
            "/pause 1\n",
            marks=shows("pidMode"),
            id="they-see-each-others-processes",
        ),
        pytest.param(
            {"ipcMode": "task"},
            "cat /dev/shm/first; cat /proc/1/cmdline | tr '\\0' ' ' | grep -c ^/pause",
            "here\n0\n",
            marks=shows("ipcMode"),
            id="they-see-each-others-shared-memory",
        ),
        pytest.param(
            {"pidMode": "task", "ipcMode": "task"},
            "cat /dev/shm/first; (sleep 0.1 &); sleep 1; cat /proc/[0-9]*/status | grep -c 'State:.Z'",
            "here\n0\n",
            id="both-and-no-zombies-stay",
        ),
    ],
)
def test_what_they_share(containers: Containers, modes: dict[str, str], command: str, seen: str) -> None:
    started = containers.start(
        {"name": "first", "command": WAIT},
        {"name": "second", "command": ["sh", "-c", f"sleep 0.5; {command}"]},
        **modes,
    )
    assert containers.output(started["second"]) == seen
    containers.driver.stop(kill=True, ref=FIRST)


def test_nobody_is_told_of_it_and_it_stays_while_a_container_does(containers: Containers, engine: Engine) -> None:
    containers.start({"name": "first", "command": WAIT}, {"name": "second", "command": WAIT}, pidMode="task")
    pause = engine.inspect(PAUSE)
    assert pause is not None
    containers.remove(["first"])
    eventually(lambda: len(engine.containers(f"ecs-anywhere.task-id={TASK_ID}")) == 2)
    assert engine.inspect(PAUSE) is not None
    told: Any = [containers.driver.told.get_nowait() for _ in range(containers.driver.told.qsize())]
    assert {each.snapshot.ref for each in told} <= {FIRST, SECOND}


def test_a_restart_in_place_brings_the_namespaces_back(containers: Containers, engine: Engine) -> None:
    started = containers.start({"name": "first", "command": WAIT}, pidMode="task", ipcMode="task")
    engine.kill(PAUSE, "SIGKILL")
    ended = containers.driver.until(Condition.EXITED, FIRST)
    assert ended.exit_code == 137, "the kernel ends what is in a namespace with its first process"
    again = containers.driver.restart(ended, FIRST)
    assert again.condition is Condition.RUNNING
    assert again.runtime_id == started["first"].runtime_id
    containers.driver.stop(kill=True, ref=FIRST)


def test_what_a_killed_agent_leaves_is_removed_by_the_next(containers: Containers, engine: Engine) -> None:
    started = containers.start({"name": "first", "command": WAIT}, pidMode="task")
    containers.driver.close()
    engine.remove(str(started["first"].runtime_id))
    with closing(Containers(engine, containers.data_dir)):
        assert engine.inspect(PAUSE) is None
