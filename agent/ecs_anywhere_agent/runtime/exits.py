"""One thread that waits for the end of any number of processes, children or not, without polling."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

from ecs_anywhere_agent.core.values import ContainerRef


class ExitWatcher:
    """Calls `ended(ref)`, on its own thread, once after each watched process has ended."""

    def __init__(self, ended: Callable[[ContainerRef], None]) -> None:
        self._ended = ended
        self._epoll = select.epoll()
        self._wake = os.eventfd(0)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[ContainerRef, int]] = {}
        self._thread = threading.Thread(target=self._run, name="exits", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, ref: ContainerRef, pid: int, pidfd: int) -> None:
        """Takes the pidfd over. A process that is watched already is not watched twice.

        The last process of a container may still be watched when the next one is: it has said that it ends before it
        has ended.
        """
        with self._lock:
            if (ref, pid) in self._watched.values():
                os.close(pidfd)
                return
            self._watched[pidfd] = ref, pid
            self._epoll.register(pidfd, select.EPOLLIN)

    def close(self) -> None:
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join()
        for pidfd in self._watched:
            os.close(pidfd)
        os.close(self._wake)
        self._epoll.close()

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._wake:
                    return
                with self._lock:
                    ref, _ = self._watched.pop(descriptor)
                    self._epoll.unregister(descriptor)
                with suppress(ChildProcessError):
                    os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
                os.close(descriptor)
                self._ended(ref)
