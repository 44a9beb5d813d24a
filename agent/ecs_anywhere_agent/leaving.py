"""What a machine does that hears that it is deregistered: it stops its tasks, says so, deletes its key, and ends.

May die anywhere: as long as it has its key it hears the same again when it connects.
"""

import logging
import threading
import time

from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.core.events import StopAsked
from ecs_anywhere_agent.identity import IdentityFiles
from ecs_anywhere_agent.mqtt import MqttLink
from ecs_anywhere_agent.same_machine import forget_activation
from ecs_protocol.messages import DeregistrationNoted
from ecs_protocol.statuses import TaskStatus

_log = logging.getLogger("ecs_anywhere_agent")

_LOOK_SECONDS = 0.2
_ASK_AGAIN_SECONDS = 30.0
_SAY_SECONDS, _SAY_GAP_SECONDS = 20.0, 5.0
_PATIENCE_SECONDS = 600.0
"""For saying so: the cloud may have heard it, and have revoked the certificate before it could answer."""


class Leaving:
    """Begins at most once; what it waits for it waits for on a thread of its own."""

    def __init__(self, agent: Agent, files: IdentityFiles, *, keep_tasks: bool) -> None:
        self._agent = agent
        self._files = files
        self._keep_tasks = keep_tasks
        self._begun = threading.Event()

    def begin(self, link: MqttLink) -> None:
        """May be called from any thread, any number of times."""
        if not self._begun.is_set():
            self._begun.set()
            threading.Thread(target=self._leave, args=(link,), name="leaving", daemon=True).start()

    def _leave(self, link: MqttLink) -> None:
        running = self._running()
        if self._keep_tasks:
            _log.warning("this container instance is deregistered; its %d tasks run on (--keep-tasks)", len(running))
        else:
            _log.warning("this container instance is deregistered; its %d tasks are stopped", len(running))
            self._stop_all()
        noted = DeregistrationNoted(request_id="deregistered", tasks_kept=len(self._running()))
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while not link.say(noted, _SAY_SECONDS) and time.monotonic() < give_up_at:
            time.sleep(_SAY_GAP_SECONDS)
        forget_activation(self._files.directory.parent)
        self._files.next.forget()
        self._files.forget()
        _log.warning("this machine's key is deleted; to use it again: `ecs-anywhere-agent register`")
        self._agent.end()

    def _stop_all(self) -> None:
        """Asked again after a while, should one have begun meanwhile."""
        asked_at = float("-inf")
        while running := self._running():
            if time.monotonic() > asked_at + _ASK_AGAIN_SECONDS:
                asked_at = time.monotonic()
                for task_id in running:
                    self._agent.emit(StopAsked(task_id))
            time.sleep(_LOOK_SECONDS)

    def _running(self) -> list[str]:
        """All that have not stopped, orphans too."""
        tasks = self._agent.state.tasks.values()
        return [task.task_id for task in tasks if task.last_status is not TaskStatus.STOPPED]
