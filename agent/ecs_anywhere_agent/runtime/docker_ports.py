"""Ports of the machine that follow each other, for a range of ports of a container.

Docker chooses single ports upwards from the lower end of the kernel's range for such ports, so that ranges are chosen
downwards from its upper end. Each is another than the ones before it, since nothing listens before its container runs.
"""

import socket
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from ecs_anywhere_agent.container_network import PortRange, Protocol

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class NoFreePortsError(Exception):
    """Nowhere on this machine are as many ports free."""


class PortRanges:
    """Safe for any number of threads."""

    def __init__(self, bounds: tuple[int, int] | None = None) -> None:
        """First and last port to choose from."""
        self._first, self._last = bounds or _of_kernel()
        self._lock = threading.Lock()
        self._next_last = self._last

    def choose(self, ranges: Iterable[PortRange]) -> dict[PortRange, int]:
        """From which port of the machine on each range is mapped. Raises NoFreePortsError."""
        with self._lock:
            return {each: self._choose(each) for each in ranges}

    def _choose(self, wanted: PortRange) -> int:
        last, turned = self._next_last, False
        while True:
            start = last - wanted.size + 1
            if start < self._first:
                if turned:
                    raise NoFreePortsError(f"no {wanted.size} contiguous host ports are free for {wanted}")
                last, turned = self._last, True
                continue
            taken = next((port for port in range(last, start - 1, -1) if not _is_free(port, wanted.protocol)), None)
            if taken is None:
                self._next_last = start - 1
                return start
            last = taken - 1


def _is_free(port: int, protocol: Protocol) -> bool:
    with closing(socket.socket(socket.AF_INET, _KINDS[protocol])) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _of_kernel() -> tuple[int, int]:
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(first), int(last)
