"""Looks after the disk: unused images in cycles, and all that nothing needs as soon as little space is left.

The containers of stopped tasks are the core's to remove; it is told when it must not wait (DiskNearlyFull).
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ecs_anywhere_agent.core.events import DiskNearlyFull
from ecs_anywhere_agent.core.needed_images import needed_images
from ecs_anywhere_agent.core.values import State
from ecs_anywhere_agent.runtime.interface import Runtime
from ecs_anywhere_agent.settings import Settings

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 60.0
_LARGE_BYTES = 100 * 2**30


def free_percent(path: Path) -> float | None:
    """Of the disk that the path is on, for those who are not root; None: nobody can say.

    Of a disk that is larger than 100 GiB, of so much: a tenth of it is room enough on any.

    The nearest directory that may be looked at: Docker's own may not by every user.
    """
    for place in (path, *path.parents):
        try:
            disk = os.statvfs(place)
        except OSError:
            continue
        total = min(disk.f_blocks * disk.f_frsize, _LARGE_BYTES)
        return 100 * disk.f_bavail * disk.f_frsize / total if total else None
    return None


class CleanUp:
    """On a thread of its own, from `start` to `close`."""

    def __init__(
        self,
        runtime: Runtime,
        data_dir: Path,
        settings: Settings,
        *,
        state: Callable[[], State],
        emit: Callable[[DiskNearlyFull], None],
        free: Callable[[Path], float | None] = free_percent,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._runtime = runtime
        self._paths = [path for path in (data_dir.resolve(), runtime.storage()) if path is not None]
        self._interval = settings.image_cleanup_interval
        self._minimum_free = settings.minimum_free_disk
        self._state = state
        self._emit = emit
        self._free = free
        self._look_seconds = look_seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clean-up", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)

    def nearly_full(self) -> bool:
        return not self._closing.is_set() and any(
            free is not None and free < self._minimum_free for free in map(self._free, self._paths)
        )

    def _run(self) -> None:
        was_pressed = False
        next_cycle = time.monotonic() + self._interval
        while not self._closing.wait(self._look_seconds):
            pressed = self.nearly_full()
            if pressed and not was_pressed:
                _log.warning("less than %d %% of the disk is free: cleaning up now", self._minimum_free)
            was_pressed = pressed
            if pressed:
                self._emit(DiskNearlyFull())
            if pressed or time.monotonic() >= next_cycle:
                next_cycle = time.monotonic() + self._interval
                self._runtime.clean_up(lambda: needed_images(self._state()), self.nearly_full if pressed else None)
