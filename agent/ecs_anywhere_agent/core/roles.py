"""What is known of tasks' roles and of their credentials: never the credentials themselves."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from ecs_protocol.messages import RoleKind


class Role(NamedTuple):
    """A role whose credentials a task cannot start without."""

    kind: RoleKind
    arn: str


class RoleRef(NamedTuple):
    """One of a task's two roles."""

    task_id: str
    kind: RoleKind


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one role of one task. On the clock of Instant.elapsed."""

    expires_at: float = -math.inf
    """-inf: there are none."""
    renew_at: float = -math.inf
    refusal: str | None = None
    """Why there are no new ones, as the control plane has last said."""
