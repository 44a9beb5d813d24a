"""What a task's containers have written, and go on to write."""

import threading
import time
from pathlib import Path

from ecs_anywhere_agent.container_logs import Found, UnreadableLogError, find_logs
from ecs_anywhere_agent.several_logs import read_several
from ecs_anywhere_agent.streams.session import SourceEnded, Written
from ecs_anywhere_agent.streams.source import Emit
from ecs_protocol.messages import OpenLogs
from ecs_protocol.streams import TerminalSize


class LogSource:
    """Reads on a thread of its own, since Docker may take long to answer."""

    def __init__(self, data_dir: Path, wanted: OpenLogs) -> None:
        self._data_dir = data_dir
        self._wanted = wanted
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._found: Found | None = None

    def begin(self, terminal: TerminalSize | None, emit: Emit) -> None:
        del terminal  # what was written stays as it is
        threading.Thread(target=self._read, args=(emit,), name="log-stream", daemon=True).start()

    def give(self, number: int, content: bytes, *, end: bool) -> None:
        """A log takes no input."""

    def resize(self, terminal: TerminalSize) -> None:
        """A log has no terminal."""

    def end(self) -> None:
        with self._lock:
            self._ending.set()
            if self._found is not None:
                self._found.close()

    def _read(self, emit: Emit) -> None:
        try:
            self._read_all(emit)
        except (UnreadableLogError, OSError) as error:
            emit(SourceEnded(reason=None if self._ending.is_set() else str(error)))
        else:
            emit(SourceEnded())

    def _read_all(self, emit: Emit) -> None:
        found = find_logs(self._data_dir)
        with self._lock:
            if self._ending.is_set():
                return
            self._found = found
        wanted = self._wanted
        logs = [log for log in found.logs if log.ref.task_id == wanted.task_id]
        chosen = [log for log in logs if wanted.container in {None, log.ref.name}]
        if not chosen:
            raise UnreadableLogError(_missing(wanted, [log.ref.name for log in logs], found.without_docker))
        since = None if wanted.since_seconds is None else time.time() - wanted.since_seconds
        if len(chosen) == 1:
            pieces = chosen[0].read(wanted.tail, wanted.follow, since)
        else:
            pieces = read_several(chosen, wanted.tail, wanted.follow, since)
        for written in pieces:
            if self._ending.is_set():
                return
            if written.content:
                emit(Written(written.content, written.to_stderr))


def _missing(wanted: OpenLogs, names: list[str], without_docker: str | None) -> str:
    if names:
        return f"the task has no container {wanted.container!r} on its machine; there are: {', '.join(names)}"
    docker = f"; Docker does not answer ({without_docker})" if without_docker else ""
    return f"nothing of the task is left on its machine{docker}"
