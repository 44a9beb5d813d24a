"""A small HTTP/1.1 server: one request a connection, within a time, of a length, and so many at once."""

import logging
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

_log = logging.getLogger(__name__)

_REQUEST_SECONDS = 2.0
"""To send a whole request in."""
_ANSWER_SECONDS = 5.0
"""To take the answer; as with Amazon's agent."""
_LONGEST_REQUEST = 8192
_WORKERS = 8
_AT_ONCE = 64
_AT_ONCE_OF_A_CONTAINER = 16
"""So that one that opens connections and says nothing does not shut out the others."""
_PAUSE_SECONDS = 1.0


class Request(NamedTuple):
    method: str
    path: str
    """Without a query, which nothing here takes."""
    headers: Mapping[str, str]
    """By name, in lower case."""
    peer: str
    """The address that it comes from."""
    local: bool
    """It comes from this machine itself: from the very address that it was sent to."""


class Answer(NamedTuple):
    status: HTTPStatus
    content: str
    content_type: str = "application/json"


class Server:
    """Threads are made as they are needed, and sleep until somebody asks."""

    def __init__(self, listening: Sequence[socket.socket], answer: Callable[[Request], Answer]) -> None:
        """`answer` is called by several threads; the sockets are the caller's."""
        for each in listening:
            each.setblocking(False)  # who has gone before he is taken holds nobody up
        self._listening = listening
        self._answer = answer
        self._closing = threading.Event()
        self._wake_out, self._wake_in = socket.socketpair()
        self._workers = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="endpoint")
        self._lock = threading.Lock()
        self._at_once: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._accept_all, name="endpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._wake_in.close()
        self._thread.join()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._wake_out.close()

    def _accept_all(self) -> None:
        poll = select.poll()
        sockets = {each.fileno(): each for each in self._listening}
        for descriptor in (*sockets, self._wake_out.fileno()):
            poll.register(descriptor, select.POLLIN)
        while not self._closing.is_set():
            for descriptor, _ in poll.poll():
                if descriptor not in sockets or self._closing.is_set():
                    continue
                try:
                    connection, (peer, _) = sockets[descriptor].accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    if not self._closing.wait(_PAUSE_SECONDS):
                        _log.warning("cannot take a request for metadata or credentials: %s", error)
                    continue
                self._take(connection, peer)

    def _take(self, connection: socket.socket, peer: str) -> None:
        local = peer == connection.getsockname()[0]
        with self._lock:
            full = self._at_once.total() >= _AT_ONCE
            if full or (not local and self._at_once[peer] >= _AT_ONCE_OF_A_CONTAINER):
                connection.close()
                return
            self._at_once[peer] += 1
        try:
            self._workers.submit(self._serve, connection, peer, local).add_done_callback(_tell_of_failure)
        except RuntimeError:  # closed
            connection.close()

    def _serve(self, connection: socket.socket, peer: str, local: bool) -> None:
        try:
            with connection, suppress(OSError):  # who goes away, or takes too long, gets no answer
                answer = self._answer_to(_read_head(connection), peer, local)
                connection.settimeout(_ANSWER_SECONDS)
                connection.sendall(_as_bytes(answer))
        finally:
            with self._lock:
                self._at_once[peer] -= 1
                if not self._at_once[peer]:
                    del self._at_once[peer]

    def _answer_to(self, head: bytes, peer: str, local: bool) -> Answer:
        if len(head) >= _LONGEST_REQUEST:
            return plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request = _parse(head, peer, local)
        if request is None:
            return plain(HTTPStatus.BAD_REQUEST)
        if request.method != "GET":
            return plain(HTTPStatus.METHOD_NOT_ALLOWED)
        return self._answer(request)


def _tell_of_failure(served: "Future[None]") -> None:
    """A defect of ours: the client is hung up on, and whoever reads the log learns of it."""
    if not served.cancelled() and (error := served.exception()) is not None:
        _log.error("a request for metadata or credentials was not answered", exc_info=error)


def plain(status: HTTPStatus, text: str | None = None) -> Answer:
    return Answer(status, f"{text or status.phrase}\n", "text/plain; charset=utf-8")


def _read_head(connection: socket.socket) -> bytes:
    """Up to the empty line. Raises TimeoutError."""
    deadline = time.monotonic() + _REQUEST_SECONDS
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_REQUEST:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
        received = connection.recv(_LONGEST_REQUEST - len(head))
        if not received:
            raise ConnectionError("it ended the connection")
        head += received
    return head


def _parse(head: bytes, peer: str, local: bool) -> Request | None:
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = dict(line.split(":", 1) for line in lines if ":" in line)
    return Request(
        words[0],
        words[1].partition("?")[0],
        {name.strip().lower(): value.strip() for name, value in headers.items()},
        peer,
        local,
    )


def _as_bytes(answer: Answer) -> bytes:
    content = answer.content.encode()
    head = (
        f"HTTP/1.1 {int(answer.status)} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + content
