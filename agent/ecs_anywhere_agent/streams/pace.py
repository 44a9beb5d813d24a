"""How fast a machine's streams may publish, all together.

AWS IoT Core takes 100 publishes and 512 KiB a second of one connection, which the reports of tasks share:
https://docs.aws.amazon.com/general/latest/gr/iot-core.html#message-broker-limits
"""

import threading

MESSAGES_A_SECOND = 40.0
BYTES_A_SECOND = 256 * 1024.0


class Pace:
    """Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, size: int, now: float) -> float:
        """How long whoever is about to publish a message waits."""
        takes = max(1 / MESSAGES_A_SECOND, size / BYTES_A_SECOND)
        with self._lock:
            begins = max(self._free_at, now)
            self._free_at = begins + takes
            return begins - now
