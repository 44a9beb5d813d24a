"""A disk that is full: nothing is done that cannot be stored, and all of it once it can."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ecs_anywhere_agent import agent as module
from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.core import Rules
from ecs_anywhere_agent.core.actions import RuntimeAction
from ecs_anywhere_agent.core.events import Connected, ContainerSnapshot, MessageReceived
from ecs_anywhere_agent.runtime.interface import Emit, RuntimeFacts
from ecs_anywhere_agent.store import Store
from ecs_protocol.messages import Reconciliation, TaskCommands
from integration.agent.runtimes import eventually
from unit.agent.world import ARN, DEFINITION, command, registration


class Runtime:
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.asked: list[RuntimeAction] = []

    def open(self, emit: Emit) -> tuple[ContainerSnapshot, ...]:
        del emit
        return ()

    def facts(self) -> RuntimeFacts:
        return RuntimeFacts(frozenset())

    def perform(self, action: RuntimeAction) -> None:
        self.asked.append(action)

    def owns_process(self, pid: int) -> bool:
        del pid
        return False

    def storage(self) -> Path | None:
        return None

    def clean_up(self, needed_images: Callable[[], frozenset[str]], pressed: Callable[[], bool] | None) -> None:
        del needed_images, pressed

    def close(self, *, finish: bool = False) -> None:
        del finish


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.05)
    store = Store(tmp_path / "state.sqlite")
    yield store
    store.close()


def fill_the_disk(store: Store, *, full: bool) -> None:
    """SQLite's own limit on pages is what a full disk is to it."""
    [pages] = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages if full else 1_000_000}")


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def agent(store: Store, runtime: Runtime) -> Agent:
    """One that is connected, and has heard what should run."""
    agent = Agent(store, runtime, Rules())
    agent.start(ARN)
    nothing = Reconciliation(request_id="s-1", page=1, pages=1, epoch=1, version=1, tasks=())
    for event in (Connected("s", registration()), MessageReceived(nothing)):
        agent._take(event)
    return agent


def long_command() -> MessageReceived:
    """More than fits in the pages that are there."""
    line = command(1, overrides={"containerOverrides": [{"name": "app", "command": ["x" * 20_000]}]})
    return MessageReceived(TaskCommands(version=1, tasks=(line,), task_definitions={"web:1": DEFINITION}))


def test_what_cannot_be_stored_is_not_done_until_it_can(
    agent: Agent, runtime: Runtime, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    fill_the_disk(store, full=True)
    agent.emit(long_command())
    running = threading.Thread(target=agent.run)
    running.start()
    eventually(lambda: agent.problem is not None)
    assert "full" in str(agent.problem)
    assert (runtime.asked, dict(agent.state.tasks)) == ([], {})
    fill_the_disk(store, full=False)
    eventually(lambda: len(runtime.asked) == 2)
    eventually(lambda: agent.problem is None)
    assert store.load()[0].tasks == agent.state.tasks
    agent.end()
    running.join(timeout=10)
    assert not running.is_alive()
    assert caplog.text.count("cannot store what happens") == 1


def test_an_agent_that_waits_for_the_disk_can_be_ended(agent: Agent, runtime: Runtime, store: Store) -> None:
    fill_the_disk(store, full=True)
    agent.emit(long_command())
    running = threading.Thread(target=agent.run)
    running.start()
    eventually(lambda: agent.problem is not None)
    agent.end()
    running.join(timeout=10)
    assert not running.is_alive()
    assert runtime.asked == []
