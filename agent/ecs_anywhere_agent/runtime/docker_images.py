"""Making images present on the machine.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html (ECS_IMAGE_PULL_BEHAVIOR)
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from enum import StrEnum
from typing import Any

from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError

_ATTEMPTS = 5
_HOPELESS = {400, 401, 403, 404}
"""Statuses with which a registry's answer is final."""

Image = Mapping[str, Any]


class PullBehavior(StrEnum):
    """When an image is pulled; Amazon's agent has the same words and the same default."""

    DEFAULT = "default"
    """Each time; if that fails, the image that is on the machine is used."""
    ALWAYS = "always"
    """Each time; if that fails, the task does not start."""
    ONCE = "once"
    """Unless the image on the machine came from a registry."""
    PREFER_CACHED = "prefer-cached"
    """Only if there is none on the machine."""


class CannotPullError(Exception):
    """The image is not there and cannot be had; the text says why."""


def variables_of(image: Image | None) -> frozenset[str]:
    """The names of what an image sets in its containers' environment."""
    set_by_image = ((image or {}).get("Config") or {}).get("Env") or ()
    return frozenset(each.partition("=")[0] for each in set_by_image)


class Images:
    """Any number of threads may ask for the same image: it is pulled once at a time, for all who wait for it."""

    def __init__(self, engine: Engine, behavior: PullBehavior, pause_seconds: float, closing: threading.Event) -> None:
        """The pause before a failed pull is tried again doubles each time, until `closing`."""
        self._engine = engine
        self._behavior = behavior
        self._pause = pause_seconds
        self._closing = closing
        self._lock = threading.Lock()
        self._pulling: dict[str, Future[None]] = {}

    def obtain(self, name: str) -> Image | None:
        """What the Engine says of the image, once it is there; None: removed meanwhile.

        Raises CannotPullError, EngineUnreachableError, EngineError.
        """
        cached = self._engine.image(name)
        if cached is not None and self._suffices(cached):
            return cached
        try:
            # What is there already is reason enough not to make a task wait for a registry that does not answer.
            spare = cached is not None and self._behavior is not PullBehavior.ALWAYS
            self._pull(name, attempts=1 if spare else _ATTEMPTS)
        except CannotPullError:
            if cached is None or self._behavior is PullBehavior.ALWAYS:
                raise
            return cached
        return self._engine.image(name)

    def _suffices(self, cached: Image) -> bool:
        if self._behavior is PullBehavior.ONCE:
            return bool(cached.get("RepoDigests"))
        return self._behavior is PullBehavior.PREFER_CACHED

    def _pull(self, name: str, attempts: int) -> None:
        with self._lock:
            on_its_way = self._pulling.get(name)
            mine: Future[None] = Future()
            if on_its_way is None:
                self._pulling[name] = mine
        if on_its_way is not None:
            on_its_way.result()
            return
        try:
            self._try_to_pull(name, attempts)
        except BaseException as error:
            self._done(name)
            mine.set_exception(error)
            raise
        self._done(name)
        mine.set_result(None)

    def _done(self, name: str) -> None:
        with self._lock:
            del self._pulling[name]

    def _try_to_pull(self, name: str, attempts: int) -> None:
        for attempt in range(1, attempts + 1):
            try:
                self._engine.pull(name)
                return
            except EngineError as error:
                if error.status in _HOPELESS or attempt == attempts or self._closing.is_set():
                    retried = f"pull image manifest has been retried {attempt - 1} time(s): " if attempt > 1 else ""
                    raise CannotPullError(f"{retried}{error}") from error
                self._closing.wait(self._pause * 2 ** (attempt - 1))
