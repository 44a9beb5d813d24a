"""The agent's state in SQLite: one transaction a step, only what the step has changed."""

import json
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ecs_anywhere_agent.clock import ClockReading
from ecs_anywhere_agent.core.values import State, Task

STATE = "state.sqlite"
"""Its name in the data directory."""

_log = logging.getLogger(__name__)
_TASK = TypeAdapter(Task)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task_definition (id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (id TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS setting (id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_SETTINGS = (
    "container_instance_arn",
    "list_version",
    "newest_version",
    "publications",
    "contact",
    "rebooted",
    "orphans_told",
)


def open_store(path: Path) -> "Store":
    """The store; where it cannot be read, an empty one, and what was there is kept aside.

    Then the containers' labels say what runs here, and the control plane what should, under a new epoch as after any
    connection. Raises sqlite3.OperationalError if the disk does not let us.
    """
    try:
        store = Store(path)
        try:
            store.load()
        except BaseException:
            store.close()
            raise
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        aside = _set_aside(path)
        _log.warning("%s cannot be read (%s): kept as %s, and started anew from what runs here", path, error, aside)
        return Store(path)
    return store


def _set_aside(path: Path) -> Path:
    """With what SQLite keeps beside it. Only one is kept: the newest."""
    aside = path.with_name(f"{path.name}.corrupt")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(f"{path.name}{suffix}")
        if part.exists():
            part.replace(aside.with_name(f"{aside.name}{suffix}"))
    return aside


class Store:
    """`<data dir>/state.sqlite`. What a killed agent has committed is there; what a power cut takes with it (the
    last moments: commits are not flushed one by one) the reconciliation and the runtime's inventory bring back."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except BaseException:
            self.close()
            raise
        path.chmod(0o600)

    def load(self) -> tuple[State, ClockReading | None]:
        """Everything but the link; an empty state the first time."""
        return _load(self._connection)

    def save(self, before: State, after: State, clock: ClockReading) -> None:
        """Make the stored state `after`; `before` is what is stored."""
        if all(
            getattr(before, member) is getattr(after, member) for member in ("tasks", "task_definitions", "ended")
        ) and all(getattr(before, name) == getattr(after, name) for name in _SETTINGS):
            return
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._write("task", before.tasks, after.tasks, lambda task: _TASK.dump_json(task).decode())
            self._write("task_definition", before.task_definitions, after.task_definitions, json.dumps)
            self._write("ended", before.ended, after.ended, float)
            changed = {name: getattr(after, name) for name in _SETTINGS}
            before_settings = {name: getattr(before, name) for name in _SETTINGS}
            self._write("setting", before_settings, changed, json.dumps)
            execute("INSERT OR REPLACE INTO setting VALUES ('clock', ?)", (json.dumps(asdict(clock)),))
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled back by itself, as when the disk is full
                execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()

    def _write(self, table: str, before: Mapping[str, Any], after: Mapping[str, Any], encode: Any) -> None:
        if before is after:
            return
        changed = [(key, encode(value)) for key, value in after.items() if before.get(key) is not value]
        gone = [(key,) for key in before if key not in after]
        self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", changed)
        self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", gone)


def read_stored(path: Path) -> State:
    """What the last agent stored, without making or changing it; an empty state if none ever did.

    Raises sqlite3.Error.
    """
    if not path.exists():
        return State()
    # Where a killed agent left its log it must be read along. Where there is none, SQLite would make one to read by,
    # unless it is told that nobody writes.
    nobody_writes = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{nobody_writes}", uri=True)
    try:
        return _load(connection)[0]
    finally:
        connection.close()


def _load(connection: sqlite3.Connection) -> tuple[State, ClockReading | None]:
    def rows(table: str) -> list[tuple[str, Any]]:
        return connection.execute(f"SELECT id, value FROM {table}").fetchall()

    settings: dict[str, Any] = {name: json.loads(value) for name, value in rows("setting")}
    settings["orphans_told"] = tuple(settings.get("orphans_told", ()))
    clock = settings.get("clock")
    state = State(
        tasks={task_id: _TASK.validate_json(value) for task_id, value in rows("task")},
        task_definitions={name: json.loads(value) for name, value in rows("task_definition")},
        ended=dict(rows("ended")),
        **{name: settings[name] for name in _SETTINGS if name in settings},
    )
    return state, None if clock is None else ClockReading(**clock)
