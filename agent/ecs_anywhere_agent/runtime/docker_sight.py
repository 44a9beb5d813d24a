"""What the Docker runtime sees of its containers, and tells: by the Engine's events, and by looking.

An event only says that a container is to be looked at; what is told is what is true then.
"""

import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

from ecs_anywhere_agent.core.events import Condition, ContainerChanged, ContainerSnapshot
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_container import snapshot_of, snapshot_of_listed
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError, EngineTimeoutError, EngineUnreachableError
from ecs_anywhere_agent.runtime.docker_labels import ref_of
from ecs_anywhere_agent.runtime.interface import Emit

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_KILLED = 128 + signal.SIGKILL
_OUT_OF_MEMORY_SECONDS = 0.3
"""Within which Docker knows why a container was killed: that it ended and that its memory was used up are told to it by
two watchers, in any order. https://github.com/moby/moby/issues/18510
"""


class Sight:
    """Safe for any number of threads. Calls may raise EngineUnreachableError and EngineError."""

    def __init__(self, engine: Engine, submit: Callable[..., None], closing: threading.Event) -> None:
        """`submit` has another thread call a function with its arguments."""
        self._engine = engine
        self._submit = submit
        self._closing = closing
        self._lock = threading.Lock()
        self._ids: dict[ContainerRef, str] = {}
        self._looks: dict[ContainerRef, bool] = {}
        """Containers that are about to be looked at; True: and once more after that."""
        self._last_words: dict[ContainerRef, ContainerSnapshot] = {}
        """What the Engine said of an end, in case that the container is gone before it can be looked at."""
        self.emit: Emit = lambda _: None

    def find(self, ref: ContainerRef) -> str | None:
        """The Engine's id of a container."""
        with self._lock:
            return self._ids.get(ref)

    def inspect(self, ref: ContainerRef) -> dict[str, Any] | None:
        container = self.find(ref)
        return None if container is None else self._engine.inspect(container)

    def remember(self, ref: ContainerRef, container: str) -> None:
        with self._lock:
            self._ids[ref] = container

    def forget(self, ref: ContainerRef) -> None:
        with self._lock:
            self._ids.pop(ref, None)

    def first_look(self, listed: dict[str, Any]) -> ContainerSnapshot | None:
        """One container that Docker says nothing about must not keep the agent from the others."""
        try:
            inspected = self._engine.inspect(listed["Id"])
        except EngineTimeoutError as error:
            snapshot = snapshot_of_listed(listed)
            if snapshot is not None:
                _log.warning("taken as %s, as Docker's list has it: %s", snapshot.condition, error)
                self.remember(snapshot.ref, listed["Id"])
                self.look_at(snapshot.ref)
            return snapshot
        return None if inspected is None else self._note(inspected)

    def tell(self, ref: ContainerRef) -> None:
        """What is true of it now."""
        container = self.find(ref)
        inspected = None if container is None else self._inspect_once_settled(container)
        snapshot = None if inspected is None else self._note(inspected)
        with self._lock:
            last_words = self._last_words.pop(ref, None)
            if inspected is None and self._ids.get(ref) == container:
                self._ids.pop(ref, None)
        if snapshot is None and last_words is not None:
            self.emit(ContainerChanged(last_words))
        self.emit(ContainerChanged(snapshot or ContainerSnapshot(ref, Condition.GONE)))

    def take_event(self, event: dict[str, Any]) -> None:
        actor = event["Actor"]
        ref = ref_of(actor["Attributes"])
        if ref is None or self.find(ref) not in {None, actor["ID"]}:
            return
        with self._lock:
            if event["Action"] != "destroy":
                self._ids[ref] = actor["ID"]
            if event["Action"] == "die":
                code = int(actor["Attributes"].get("exitCode", 0))
                self._last_words[ref] = ContainerSnapshot(ref, Condition.EXITED, runtime_id=actor["ID"], exit_code=code)
        self.look_at(ref)

    def look_at_all(self) -> None:
        with self._lock:
            known = tuple(self._ids)
        for ref in known:
            self.look_at(ref)

    def look_at(self, ref: ContainerRef) -> None:
        """Not on the thread of the events: one container that Docker hangs at must not hide what the others do.

        One look at a time, so that no older one is told after a newer one.
        """
        with self._lock:
            if ref in self._looks:
                self._looks[ref] = True
                return
            self._looks[ref] = False
        self._submit(self._look, ref)

    def _look(self, ref: ContainerRef) -> None:
        while not self._closing.is_set():
            try:
                self.tell(ref)
            except EngineTimeoutError as error:
                _log.warning("%s; trying again", error)
                self._submit(self._look, ref)
                return
            except (EngineUnreachableError, EngineError):
                self._closing.wait(_RETRY_SECONDS)
                continue
            with self._lock:
                if not self._looks[ref]:
                    del self._looks[ref]
                    return
                self._looks[ref] = False

    def _inspect_once_settled(self, container: str) -> dict[str, Any] | None:
        inspected = self._engine.inspect(container)
        if inspected is not None:
            state = inspected["State"]
            if state["Status"] == "exited" and state["ExitCode"] == _KILLED and not state.get("OOMKilled"):
                self._closing.wait(_OUT_OF_MEMORY_SECONDS)
                inspected = self._engine.inspect(container) or inspected
        return inspected

    def _note(self, inspected: dict[str, Any]) -> ContainerSnapshot | None:
        snapshot = snapshot_of(inspected)
        if snapshot is not None and snapshot.runtime_id is not None:
            self.remember(snapshot.ref, snapshot.runtime_id)
        return snapshot
