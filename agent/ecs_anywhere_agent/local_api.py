"""The running agent's own door: `<data dir>/agent.sock`, for its user alone, whether the cloud is there or not.

One JSON object in, one out, a line each, one exchange a connection: `{"status": null}` is answered `{"status": ...}`,
what is refused `{"error": "why"}`. The data directory's lock sees to it that nobody else listens there.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ecs_anywhere_agent import __version__

_log = logging.getLogger(__name__)

SOCKET = "agent.sock"
_CLIENT_SECONDS = 1.0
"""For a whole exchange: the next client waits meanwhile."""
_ANSWER_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_LONGEST_REQUEST = 4096
_WAITING_CLIENTS = 16


class AgentNotRunningError(Exception):
    """No agent of this data directory runs; the text says what to do."""


class LocalApiError(Exception):
    """The agent runs and has not done what it was asked; the text says why."""


class RefusedError(Exception):
    """What an answer raises to refuse; the text goes to the client."""


class LocalApi:
    """Answers, on one thread that sleeps until somebody asks, from `with` to the end of it."""

    def __init__(self, data_dir: Path, answers: Mapping[str, Callable[[Any], Any]]) -> None:
        """An answer takes the request's value and gives what JSON can hold, or raises RefusedError."""
        self._data_dir = data_dir
        self._answers = answers
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._run, name="local-api", daemon=True)

    def __enter__(self) -> "LocalApi":
        try:
            (self._data_dir / SOCKET).unlink(missing_ok=True)  # a killed agent's
            # Before bind, which makes the file: it is never there with another mode.
            os.fchmod(self._socket.fileno(), 0o600)
            with _short(self._data_dir) as path:
                self._socket.bind(path)
            self._socket.listen(_WAITING_CLIENTS)
        except BaseException:
            self._socket.close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        (self._data_dir / SOCKET).unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join(timeout=2 * _CLIENT_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError as error:
                if not self._closing.wait(_PAUSE_SECONDS):
                    _log.warning("cannot take who asks on %s: %s", self._data_dir / SOCKET, error)
                continue
            with client, suppress(OSError):  # who goes away, or takes too long, gets no answer
                request = _read_line(client, time.monotonic() + _CLIENT_SECONDS)
                client.settimeout(_CLIENT_SECONDS)
                client.sendall(json.dumps(self._answer(request)).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or len(request) != 1:
            return {"error": 'a request is a line with one JSON object of one member, such as {"status": null}'}
        ((name, value),) = request.items()
        if name not in self._answers:
            known = ", ".join(self._answers)
            return {"error": f"unknown request {name!r}; this agent ({__version__}) knows: {known}"}
        try:
            return {name: self._answers[name](value)}
        except RefusedError as refusal:
            return {"error": str(refusal)}


def ask(data_dir: Path, request: str, value: Any = None, *, timeout_seconds: float = _ANSWER_SECONDS) -> Any:
    """What the agent of the data directory answers. Raises AgentNotRunningError, LocalApiError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _short(data_dir) as path:
            connection.settimeout(timeout_seconds)
            connection.connect(path)
            connection.sendall(json.dumps({request: value}).encode() + b"\n")
            line = _read_line(connection, time.monotonic() + timeout_seconds, longest=None)
        if not line.endswith(b"\n"):
            raise ConnectionError("it ended the connection")
        answer = json.loads(line)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise AgentNotRunningError(
            f"No agent runs on {data_dir}. Start it: ecs-anywhere-agent run --data-dir {data_dir}"
        ) from error
    except PermissionError as error:
        raise LocalApiError(f"{data_dir} belongs to another user: run this as the user who runs the agent") from error
    except (OSError, ValueError) as error:
        raise LocalApiError(f"The agent of {data_dir} does not answer ({error}): look at its log") from error
    if "error" in answer:
        raise LocalApiError(f"The agent of {data_dir} refused: {answer['error']}")
    return answer[request]


@contextmanager
def _short(data_dir: Path) -> Iterator[str]:
    """The socket's path in at most 108 bytes, which is all that the kernel takes for one."""
    directory = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)


def _read_line(connection: socket.socket, deadline: float, longest: int | None = _LONGEST_REQUEST) -> bytes:
    """Up to its end, the end of the connection, or the longest that is taken. Raises TimeoutError."""
    line = b""
    while not line.endswith(b"\n") and (longest is None or len(line) < longest):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
        received = connection.recv(65536)
        if not received:
            break
        line += received
    return line
