"""The state in SQLite."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ecs_anywhere_agent.clock import ClockReading
from ecs_anywhere_agent.core import State
from ecs_anywhere_agent.core.events import ContainerChanged, Event
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.store import Store, open_store
from unit.agent.world import Cloud, Machine, task_id

CLOCK = ClockReading(elapsed=1.5, wall=2.5, uptime=3.5, boot_id="boot")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.sqlite")
    yield store
    store.close()


def lived_in() -> list[State]:
    """States of a machine over its life, each after the other."""
    machine = Machine(Cloud())
    machine.boot()
    machine.connect()
    machine.drain()
    states = [machine.stored]
    for number in (1, 2):
        machine.deliver(machine.cloud.run(number))
        machine.settle(3)
        states.append(machine.stored)
    machine.take(ContainerChanged(machine.runtime.end(ContainerRef(task_id(1), "app"), 3)))
    machine.settle(3)
    states.append(machine.stored)
    machine.settle(4 * 3600)
    states.append(machine.stored)
    return states


def without_link(state: State) -> State:
    return replace(state, link=None)


def test_what_was_saved_step_by_step_is_loaded_whole(store: Store) -> None:
    before = State()
    for state in lived_in():
        store.save(before, state, CLOCK)
        assert store.load() == (without_link(state), CLOCK)
        before = state
    assert before.ended
    assert before.tasks


class QuickMachine(Machine):
    """Stores as the agent does, and does not look at every task after each step."""

    def __init__(self, store: Store) -> None:
        super().__init__(Cloud())
        self.store = store

    def take(self, event: Event) -> None:
        before = self.stored
        super().take(event)
        self.store.save(before, self.stored, CLOCK)

    def _check_rest(self, state: State) -> None:
        """That is held by the unit tests."""


def test_the_file_stays_small_over_thirty_days_without_a_network(store: Store, tmp_path: Path) -> None:
    """The task of one service ends again and again, forty others run on."""
    machine = QuickMachine(store)
    machine.boot()
    machine.connect()
    machine.drain()
    for number in range(1, 42):
        machine.deliver(machine.cloud.run(number, restart="offline"))
        machine.drain()
    machine.disconnect()
    app = ContainerRef(task_id(1), "app")
    most = 0
    while machine.now < 30 * 24 * 3600:
        machine.take(ContainerChanged(machine.runtime.end(app, 1)))
        machine.settle(301)
        most = max(most, sum(file.stat().st_size for file in tmp_path.glob("state.sqlite*")))
    assert machine.runtime.restarts[app] > 8000
    assert most < 20 * 1024 * 1024


def test_an_empty_store_is_an_empty_state(store: Store) -> None:
    assert store.load() == (State(), None)


def test_a_step_that_changes_nothing_writes_nothing(store: Store, tmp_path: Path) -> None:
    state = lived_in()[2]
    store.save(State(), state, CLOCK)
    other = sqlite3.connect(tmp_path / "state.sqlite")
    (version,) = other.execute("PRAGMA data_version").fetchone()
    store.save(state, without_link(state), CLOCK)
    assert other.execute("PRAGMA data_version").fetchone() == (version,)
    other.close()


def test_the_state_is_for_nobody_else_to_read(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "state.sqlite").stat().st_mode & 0o077 == 0


def test_members_of_a_newer_agent_are_ignored(store: Store, tmp_path: Path) -> None:
    state = lived_in()[1]
    store.save(State(), state, CLOCK)
    other = sqlite3.connect(tmp_path / "state.sqlite")
    other.execute("UPDATE task SET value = json_set(value, '$.of_the_future', 1)")
    other.commit()
    other.close()
    assert store.load()[0] == without_link(state)


@pytest.fixture
def adopted() -> State:
    """A task that was found running without a record of it, whose containers depend on each other."""
    app, db = ({"name": name, "image": name, "memory": 8} for name in ("app", "db"))
    dependent = {**app, "dependsOn": [{"containerName": "db", "condition": "START"}]}
    machine = Machine(Cloud(definition={"family": "web", "revision": 1, "containerDefinitions": [dependent, db]}))
    machine.boot()
    machine.connect()
    machine.drain()
    machine.deliver(machine.cloud.run(1))
    machine.settle(3)
    machine.disconnect()
    machine.stored = State()
    machine.boot()
    return machine.stored


def test_what_depends_on_what_is_kept(store: Store, adopted: State) -> None:
    store.save(State(), adopted, CLOCK)
    task = adopted.tasks[task_id(1)]
    assert {each.name: [other.container for other in each.depends_on] for each in task.containers} == {
        "app": ["db"],
        "db": [],
    }
    assert store.load()[0].tasks == adopted.tasks


def test_what_an_agent_stored_that_knew_no_dependencies_is_read(store: Store, adopted: State, tmp_path: Path) -> None:
    store.save(State(), adopted, CLOCK)
    for change in ("json_remove(value, '$.found[8]')", "json_remove(value, '$.containers[0].depends_on')"):
        _execute(tmp_path / "state.sqlite", f"UPDATE task SET value = {change}")
    task = store.load()[0].tasks[task_id(1)]
    assert task.found is not None
    assert (task.found.depends_on, task.containers[0].depends_on) == ((), ())


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"no database at all" * 100), id="no-database"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:3000]), id="cut-off"),
        pytest.param(lambda path: _execute(path, "UPDATE task SET value = '{'"), id="a-row-that-cannot-be-read"),
        pytest.param(lambda path: _execute(path, "UPDATE setting SET value = 'x'"), id="a-setting-that-cannot-be"),
    ],
)
def test_a_corrupt_file_is_kept_aside_and_begun_anew(
    tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.sqlite"
    store = Store(path)
    store.save(State(), lived_in()[2], CLOCK)
    store.close()
    spoil(path)
    spoiled = path.read_bytes()
    for _ in range(2):
        fresh = open_store(path)
        assert fresh.load() == (State(), None)
        fresh.close()
    assert (tmp_path / "state.sqlite.corrupt").read_bytes()[:100] == spoiled[:100]
    assert "cannot be read" in caplog.text


def test_a_store_that_is_well_is_opened_as_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    state = lived_in()[2]
    store.save(State(), state, CLOCK)
    store.close()
    again = open_store(tmp_path / "state.sqlite")
    assert again.load() == (without_link(state), CLOCK)
    again.close()


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
