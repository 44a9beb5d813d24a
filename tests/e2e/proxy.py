"""The network between one agent and its control plane, to be cut."""

import select
import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards TCP connections to a port of this machine, until it is told not to."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut = threading.Event()
        self._silent = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Both sides see their connections end, and no new one comes about."""
        self._cut.set()
        self._drop()

    def swallow(self) -> None:
        """Nothing arrives any more, and nobody is told: a cable that was pulled."""
        self._silent.set()

    def heal(self) -> None:
        """What was swallowed is lost."""
        if self._silent.is_set():
            self._drop()
        self._silent.clear()
        self._cut.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _drop(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut.is_set() or self._silent.is_set():
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._pairs.append((near, far))
            threading.Thread(target=self._forward, args=(near, far), daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            while True:
                ready, _, _ = select.select([near, far], [], [], 1)
                for end in ready:
                    try:
                        data = end.recv(65536)
                        if data and not self._silent.is_set():
                            (far if end is near else near).sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        return
