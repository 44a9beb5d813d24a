"""What a pull's progress is worth a line of the log: now and then, how much is there."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

_log = logging.getLogger(__name__)
_EVERY_SECONDS = 10.0
_DONE = frozenset({"Download complete", "Pull complete", "Already exists"})
_MEGABYTE = 1_000_000


class PullProgress:
    """Of one pull. https://docs.docker.com/reference/api/engine/ (CreateImageInfo)"""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self._name = name
        self._now = now
        self._next = now() + _EVERY_SECONDS
        self._got: dict[str, int] = {}
        self._done: set[str] = set()

    def told(self, progress: Mapping[str, Any]) -> None:
        layer, status = progress.get("id"), progress.get("status")
        if layer is not None and status in {"Downloading", *_DONE, "Pulling fs layer"}:
            self._got.setdefault(layer, 0)
            if status == "Downloading":
                self._got[layer] = int((progress.get("progressDetail") or {}).get("current") or 0)
            elif status in _DONE:
                self._done.add(layer)
        if self._now() >= self._next:
            self._next = self._now() + _EVERY_SECONDS
            megabytes = sum(self._got.values()) / _MEGABYTE
            _log.info(
                "pulling image %s: %d of %d layers, %.0f MB", self._name, len(self._done), len(self._got), megabytes
            )
