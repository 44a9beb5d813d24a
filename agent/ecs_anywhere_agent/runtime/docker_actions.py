"""Has each action tried until the Engine has answered it: a restart of Docker delays it, and no more."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ecs_anywhere_agent.core.actions import CreateContainer, PullImage, RuntimeAction
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_engine import EngineError, EngineTimeoutError, EngineUnreachableError

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_FINISHED_WITHIN_SECONDS = 30.0


class Actions:
    """On threads of its own; what may take long on others than the rest."""

    def __init__(self, do: Callable[[RuntimeAction], None], closing: threading.Event) -> None:
        """`do` raises EngineUnreachableError or EngineError for what is to be tried again."""
        self._do = do
        self._closing = closing
        self._calls = ThreadPoolExecutor(max_workers=8, thread_name_prefix="docker")
        self._pulls = ThreadPoolExecutor(max_workers=3, thread_name_prefix="pull")
        self._fetches = ThreadPoolExecutor(max_workers=4, thread_name_prefix="fetch")
        """For what is made only once AWS has answered, so that nothing else waits for the network."""
        self._lock = threading.Lock()
        self._newest: dict[tuple[type[RuntimeAction], ContainerRef], RuntimeAction] = {}
        """Of the actions that are not done yet."""

    def begin(self, action: RuntimeAction) -> None:
        with self._lock:
            self._newest[type(action), action.ref] = action
        self._submit_action(action)

    def submit(self, call: Callable[..., None], *arguments: Any) -> None:
        """Any other call, on the threads of those that are not pulls."""
        with suppress(RuntimeError):  # closed: the next agent looks at everything
            self._calls.submit(call, *arguments)

    def finish(self) -> None:
        """Wait for what was begun, but for pulls, for a while."""
        give_up = threading.Timer(_FINISHED_WITHIN_SECONDS, self._closing.set)
        give_up.start()
        self._calls.shutdown()
        give_up.cancel()

    def drop(self) -> None:
        """Nothing new is begun."""
        for pool in (self._calls, self._pulls, self._fetches):
            pool.shutdown(wait=False, cancel_futures=True)

    def wait(self) -> None:
        """Until what was begun has ended."""
        for pool in (self._calls, self._pulls, self._fetches):
            pool.shutdown(wait=True)

    def _submit_action(self, action: RuntimeAction) -> None:
        match action:
            case PullImage():
                pool = self._pulls
            case CreateContainer() if action.spec.needs_execution_role:
                pool = self._fetches
            case _:
                pool = self._calls
        with suppress(RuntimeError):  # closed: the next agent gives the action again
            pool.submit(self._work, action)

    def _work(self, action: RuntimeAction) -> None:
        while not self._closing.is_set():
            try:
                self._do(action)
                self._is_done(action)
                return
            except EngineTimeoutError as error:
                # A kill that hangs is given again by the core for ever: only the newest is tried again, and behind all
                # others, since what hangs must not hold up what does not.
                if self._is_newest(action):
                    _log.warning("%s; trying again", error)
                    self._submit_action(action)
                return
            except (EngineUnreachableError, EngineError) as error:
                if not self._closing.wait(_RETRY_SECONDS):
                    _log.warning("Docker did not do what it was asked (%s); trying again", error)

    def _is_newest(self, action: RuntimeAction) -> bool:
        with self._lock:
            return self._newest.get((type(action), action.ref)) is action

    def _is_done(self, action: RuntimeAction) -> None:
        with self._lock:
            if self._newest.get((type(action), action.ref)) is action:
                del self._newest[type(action), action.ref]
