"""What happens to one stream, for the one thread that takes it in."""

import threading
from collections import deque
from typing import Generic, TypeVar

_SOURCE_AHEAD = 8

T = TypeVar("T")


class Inbox(Generic[T]):
    """Whoever writes for the source waits while much is waiting; everybody else does not."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._others: deque[T] = deque()
        self._source: deque[T] = deque()
        self._closed = False

    def put(self, event: T) -> None:
        with self._changed:
            if not self._closed:
                self._others.append(event)
                self._changed.notify_all()

    def put_from_source(self, event: T) -> None:
        """Waits for room. What comes after `close` is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._source) < _SOURCE_AHEAD)
            if not self._closed:
                self._source.append(event)
                self._changed.notify_all()

    def take(self, timeout: float, *, source: bool) -> T | None:
        """The next event; of the source only if it is wanted. None: there is none in that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._others or (source and self._source), timeout)
            if self._others:
                return self._others.popleft()
            if source and self._source:
                event = self._source.popleft()
                self._changed.notify_all()
                return event
            return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._others.clear()
            self._source.clear()
            self._changed.notify_all()
