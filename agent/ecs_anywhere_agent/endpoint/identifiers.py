"""What names a container in the URIs that it is given. Pure.

An id is the task's and a hash of the container's name under a key that only the agent has. So nobody can guess one, the
same container has the same one for ever, and there is no list of them to keep, to lose or to compare with.
"""

import hmac
from collections.abc import Iterable
from typing import NamedTuple

from ecs_anywhere_agent.core.values import ContainerRef

_DIGITS = 32


class Identifiers(NamedTuple):
    key: bytes

    def of(self, ref: ContainerRef) -> str:
        return f"{ref.task_id}-{self._hash('id', ref)}"

    def token_of(self, ref: ContainerRef) -> str:
        """What has to come with a request for credentials."""
        return self._hash("token", ref)

    def of_execution_role(self, task_id: str) -> str:
        """Of a task's execution role's credentials, for Docker's daemon."""
        return f"{task_id}-{self._hash('execution role', ContainerRef(task_id, ''))}"

    def name(self, presented: str, task_id: str, names: Iterable[str]) -> str | None:
        """Which of the containers of a task has this id. What is compared takes the same time always."""
        return next((name for name in names if same(presented, self.of(ContainerRef(task_id, name)))), None)

    def _hash(self, purpose: str, ref: ContainerRef) -> str:
        return hmac.digest(self.key, f"{purpose}/{ref.task_id}/{ref.name}".encode(), "sha256").hex()[:_DIGITS]


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
