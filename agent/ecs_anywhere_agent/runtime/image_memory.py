"""Which images tasks have pulled, over restarts of the agent: <data dir>/images.sqlite.

It is apart from the agent's state, which holds what must not be lost. If this is, images that were pulled before are
taken for somebody else's: they stay, and `once` pulls them once more. So a disk that is full only makes it forget.
"""

import logging
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)
FILE = "images.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS image (
    name TEXT NOT NULL, image_id TEXT NOT NULL, pulled_at REAL NOT NULL, used_at REAL NOT NULL,
    brought INTEGER NOT NULL, PRIMARY KEY (name, image_id)
) WITHOUT ROWID
"""
_NOTED_AGAIN_SECONDS = 60.0
"""How much later a use must be to be written again: starts need not wait for the disk."""


class PulledImage(NamedTuple):
    """One name under which tasks have pulled an image; wall-clock seconds."""

    name: str
    """As Docker lists it."""
    image_id: str
    pulled_at: float
    used_at: float
    brought: bool
    """It was not on the machine before: it is ours to remove."""


class ImageMemory:
    """Safe for any number of threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str], PulledImage] = {}
        self._connection = self._open(path)

    def all(self) -> tuple[PulledImage, ...]:
        with self._lock:
            return tuple(self._rows.values())

    def was_pulled(self, name: str) -> bool:
        with self._lock:
            return any(known == name for known, _ in self._rows)

    def pulled(self, name: str, image_id: str, now: float, *, was_there: bool) -> None:
        """`was_there`: before the pull, under that name. What we brought once stays ours."""
        with self._lock:
            known = self._rows.get((name, image_id))
            if known is not None and abs(now - known.pulled_at) < _NOTED_AGAIN_SECONDS:
                return
            ours = any(row.brought for row in self._rows.values() if row.image_id == image_id)
            self._put(PulledImage(name, image_id, now, now, ours or not was_there))

    def used(self, name: str, image_id: str, now: float) -> None:
        with self._lock:
            row = self._rows.get((name, image_id))
            if row is not None and abs(now - row.used_at) >= _NOTED_AGAIN_SECONDS:
                self._put(row._replace(used_at=now))

    def forget(self, image_id: str) -> None:
        with self._lock:
            for key in [key for key in self._rows if key[1] == image_id]:
                del self._rows[key]
            self._write("DELETE FROM image WHERE image_id = ?", (image_id,))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _put(self, row: PulledImage) -> None:
        self._rows[row.name, row.image_id] = row
        self._write("INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?)", row)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            _log.warning("cannot note which images are pulled: %s", error)

    def _open(self, path: Path) -> sqlite3.Connection | None:
        try:
            return self._connected(path)
        except sqlite3.OperationalError as error:
            _log.warning("cannot note which images are pulled: %s", error)
            return None
        except (sqlite3.DatabaseError, TypeError) as error:
            _log.warning("%s cannot be read (%s): begun anew", path, error)
            path.unlink(missing_ok=True)
            return self._connected(path)

    def _connected(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
            path.chmod(0o600)
            rows = connection.execute("SELECT name, image_id, pulled_at, used_at, brought FROM image").fetchall()
            self._rows = {
                (name, image_id): PulledImage(name, image_id, pulled_at, used_at, bool(brought))
                for name, image_id, pulled_at, used_at, brought in rows
            }
        except BaseException:
            connection.close()
            raise
        return connection
