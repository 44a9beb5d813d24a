"""The credentials of tasks' roles, as the control plane has sent them: in memory only, never stored, never logged.

Whoever makes containers reads the execution role's here, and the local endpoint serves the task role's from here.
"""

import threading
from collections.abc import Iterable

from ecs_anywhere_agent.core.events import CredentialsReceived
from ecs_anywhere_agent.core.roles import RoleRef
from ecs_protocol.messages import RoleCredentials, RoleKind, TaskCredentials


class HeldCredentials:
    """For threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, RoleKind], RoleCredentials] = {}

    def put(self, credentials: Iterable[RoleCredentials]) -> None:
        """The later expiration wins: an answer may come twice, or late."""
        with self._lock:
            for each in credentials:
                held = self._held.get((each.task_id, each.role))
                if held is None or held.expiration <= each.expiration:
                    self._held[each.task_id, each.role] = each

    def receive(self, message: TaskCredentials, jitter: float) -> CredentialsReceived:
        """Hold what has come. Answers what the core is told of it."""
        self.put(message.credentials)
        return CredentialsReceived(
            tuple((RoleRef(each.task_id, each.role), each.expiration) for each in message.credentials),
            tuple((RoleRef(each.task_id, each.role), each.reason) for each in message.refused),
            jitter,
        )

    def get(self, task_id: str, role: RoleKind) -> RoleCredentials | None:
        """The newest that came, which may have expired; None: none has come."""
        with self._lock:
            return self._held.get((task_id, role))

    def drop(self, task_id: str) -> None:
        """The task is over."""
        with self._lock:
            for key in [key for key in self._held if key[0] == task_id]:
                del self._held[key]
