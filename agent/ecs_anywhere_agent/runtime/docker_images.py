"""Making images present on the machine.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html (ECS_IMAGE_PULL_BEHAVIOR)
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from enum import StrEnum
from typing import Any

from ecs_anywhere_agent.execution_role import NoEcrTokenError, RegistryLogin
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError
from ecs_anywhere_agent.runtime.image_memory import ImageMemory
from ecs_anywhere_agent.runtime.image_names import listed_name
from ecs_anywhere_agent.runtime.pull_progress import PullProgress

_log = logging.getLogger(__name__)
_ATTEMPTS = 5
_HOPELESS = {400, 401, 403, 404}
"""Statuses with which a registry's answer is final."""
_NO_CREDENTIALS = ("no basic auth credentials", "unauthorized: ", "denied: ")
"""Words of a registry's final answer to which the Engine gives a status of its own."""
_SIGNED = re.compile(r"\"?https\S+starport-layer-bucket\S+")
"""Where ECR keeps layers: whoever has such a URL may read one for a while."""

Image = Mapping[str, Any]
Credentials = Callable[[str], Mapping[str, str] | None]
Login = Callable[[], RegistryLogin | None]
"""Asked only before something is pulled; None: the machine's own. May raise NoEcrTokenError, CannotFetchError."""


class PullBehavior(StrEnum):
    """When an image is pulled; Amazon's agent has the same words and the same default."""

    DEFAULT = "default"
    """Each time; if that fails, the image that is on the machine is used."""
    ALWAYS = "always"
    """Each time; if that fails, the task does not start."""
    ONCE = "once"
    """Unless a task has pulled it before and it is still there."""
    PREFER_CACHED = "prefer-cached"
    """Only if there is none on the machine."""


class CannotPullError(Exception):
    """The image is not there and cannot be had; the text says why."""


def variables_of(image: Image | None) -> frozenset[str]:
    """The names of what an image sets in its containers' environment."""
    set_by_image = ((image or {}).get("Config") or {}).get("Env") or ()
    return frozenset(each.partition("=")[0] for each in set_by_image)


class Images:
    """Any number of threads may ask for the same image: it is pulled once at a time, for all who wait for it.

    For those with another login, or none, it is pulled by itself: what one may have is not given to the others. What
    is on the machine by then is there for all, as with Amazon's agent, unless the behavior is `always`.
    """

    def __init__(
        self,
        engine: Engine,
        behavior: PullBehavior,
        pause_seconds: float,
        closing: threading.Event,
        *,
        memory: ImageMemory,
        credentials: Credentials = lambda _: None,
    ) -> None:
        """The pause before a failed pull is tried again doubles each time, until `closing`."""
        self._engine = engine
        self._behavior = behavior
        self._pause = pause_seconds
        self._closing = closing
        self._memory = memory
        self._credentials = credentials
        self._lock = threading.Lock()
        self._pulling: dict[tuple[str, RegistryLogin | None], Future[None]] = {}
        self._removing: dict[str, Future[None]] = {}
        self._asked_for: dict[str, float] = {}
        """When a task last wanted it, by its name as Docker lists it."""

    def obtain(self, name: str, login: Login = lambda: None) -> Image | None:
        """What the Engine says of the image, once it is there; None: removed meanwhile.

        Raises CannotPullError, EngineUnreachableError, EngineError, and what `login` does.
        """
        listed = listed_name(name)
        self._wait_for_removal(listed)
        cached = self._engine.image(name)
        if cached is not None and self._suffices(cached, listed):
            return cached
        try:
            # What is there already is reason enough not to make a task wait for a registry that does not answer.
            spare = cached is not None and self._behavior is not PullBehavior.ALWAYS
            self._pull(name, login(), attempts=1 if spare else _ATTEMPTS)
        except (CannotPullError, NoEcrTokenError) as error:
            if cached is None or self._behavior is PullBehavior.ALWAYS:
                raise
            _log.info("image %s cannot be pulled, what is there is used: %s", name, error)
            self._memory.used(listed, cached["Id"], time.time())
            return cached
        image = self._engine.image(name)
        if image is not None:
            was_there = cached is not None and cached["Id"] == image["Id"]
            self._memory.pulled(listed, image["Id"], time.time(), was_there=was_there)
        return image

    def remove(self, reference: str, since: float, names: Collection[str] = ()) -> bool:
        """Take a name from an image, and the image with its last one. False: a task wants it.

        `since`: when, on time.monotonic(), it was looked at what tasks need; `names`: all that a task may want it by.
        Who asks for it meanwhile waits, and pulls it again. Raises EngineUnreachableError, EngineError.

            cleaning    looks at what is needed ──────────► remove: asked for since then? stays : goes
            a task              obtain: asked for ─► pull ─► create: the container holds it
        """
        names = {reference, *names}
        with self._lock:
            if any(name in self._removing or self._asked_for.get(name, -math.inf) >= since for name in names):
                return False
            mine: Future[None] = Future()
            self._removing.update(dict.fromkeys(names, mine))
        try:
            self._engine.remove_image(reference)
        finally:
            with self._lock:
                for name in names:
                    del self._removing[name]
                self._asked_for = {name: asked for name, asked in self._asked_for.items() if asked >= since}
            mine.set_result(None)
        return True

    def _wait_for_removal(self, listed: str) -> None:
        """From here on no removal begins that has looked before."""
        with self._lock:
            self._asked_for[listed] = time.monotonic()
            on_its_way = self._removing.get(listed)
        if on_its_way is not None:
            on_its_way.result()

    def _suffices(self, cached: Image, listed: str) -> bool:
        match self._behavior:
            case PullBehavior.ONCE:
                if not self._memory.was_pulled(listed):
                    return False
            case PullBehavior.PREFER_CACHED:
                pass
            case _:
                return False
        self._memory.used(listed, cached["Id"], time.time())
        return True

    def _pull(self, name: str, login: RegistryLogin | None, attempts: int) -> None:
        key = name, login
        with self._lock:
            on_its_way = self._pulling.get(key)
            mine: Future[None] = Future()
            if on_its_way is None:
                self._pulling[key] = mine
        if on_its_way is not None:
            on_its_way.result()
            return
        try:
            self._try_to_pull(name, login, attempts)
        except BaseException as error:
            self._done(key)
            mine.set_exception(error)
            raise
        self._done(key)
        mine.set_result(None)

    def _done(self, key: tuple[str, RegistryLogin | None]) -> None:
        with self._lock:
            del self._pulling[key]

    def _try_to_pull(self, name: str, login: RegistryLogin | None, attempts: int) -> None:
        for attempt in range(1, attempts + 1):
            try:
                credentials = self._credentials(name) if login is None else login._asdict()
                self._engine.pull(name, credentials, PullProgress(name, time.monotonic).told)
                return
            except EngineError as error:
                if self._is_final(error) or attempt == attempts or self._closing.is_set():
                    retried = f"pull image manifest has been retried {attempt - 1} time(s): " if attempt > 1 else ""
                    told = _SIGNED.sub(f"REDACTED ECR URL related to {name}", str(error))
                    raise CannotPullError(f"{retried}Error response from daemon: {told}") from error
                pause = self._pause * 2 ** (attempt - 1)
                _log.info("image %s: %s; trying again in %g s", name, error, pause)
                self._closing.wait(pause)

    @staticmethod
    def _is_final(error: EngineError) -> bool:
        return error.status in _HOPELESS or any(words in str(error) for words in _NO_CREDENTIALS)
