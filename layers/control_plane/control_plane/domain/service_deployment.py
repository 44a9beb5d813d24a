"""A service deployment: how one revision of a service took the place of others. It is kept once it has ended.

Each has a service revision of its own, and both have the digits of the deployment's id, `ecs-svc/<digits>`: they begin
with the time, so that their order is that of the deployments. A rollback makes neither: the service deployment that
failed goes on until the former revision runs again.

    PENDING ──► IN_PROGRESS ──► SUCCESSFUL
       │             │ ├──────► STOPPED                 failed without a rollback, or another one took its place
       │             │ └──────► ROLLBACK_IN_PROGRESS    the circuit breaker rolls back
       └──► ROLLBACK_REQUESTED ────────▲ ├─► ROLLBACK_SUCCESSFUL
               StopServiceDeployment     └─► ROLLBACK_FAILED

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from control_plane.domain.capacity_provider import Strategy
from control_plane.domain.entity import Entity

PREFIX = "ecs-svc/"


class ServiceDeploymentStatus(StrEnum):
    """STOP_REQUESTED never occurs here: what is stopped has stopped in the same commit."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    STOP_REQUESTED = "STOP_REQUESTED"
    ROLLBACK_REQUESTED = "ROLLBACK_REQUESTED"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    STOPPED = "STOPPED"
    ROLLBACK_SUCCESSFUL = "ROLLBACK_SUCCESSFUL"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"

    @property
    def ended(self) -> bool:
        return self in _ENDS

    @property
    def rolls_back(self) -> bool:
        """Whether it is on its way back."""
        return self in {ServiceDeploymentStatus.ROLLBACK_REQUESTED, ServiceDeploymentStatus.ROLLBACK_IN_PROGRESS}


_ENDS = frozenset(
    {
        ServiceDeploymentStatus.SUCCESSFUL,
        ServiceDeploymentStatus.STOPPED,
        ServiceDeploymentStatus.ROLLBACK_SUCCESSFUL,
        ServiceDeploymentStatus.ROLLBACK_FAILED,
    }
)


class RevisionCounts(Entity):
    """How many tasks of a revision are wanted, and are there."""

    revision_id: str
    requested: int = 0
    running: int = 0
    pending: int = 0


class Rollback(Entity):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Rollback.html"""

    reason: str
    started_at: datetime
    revision_id: str


class ServiceDeployment(Entity):
    """With the revision that it brings about: what `task_definition` and `capacity_provider_strategy` say.

    The counts are those of when it was last written: its beginning, a turn, or its end.
    """

    target: RevisionCounts
    """Its revision's id is its own, too."""
    task_definition: str
    capacity_provider_strategy: Strategy = ()
    """Empty: by launch type EXTERNAL."""
    configuration: dict[str, Any] = Field(default_factory=dict)
    """The deployment configuration, as the ECS API has it."""
    sources: tuple[RevisionCounts, ...] = ()
    """What ran when it began."""
    status: ServiceDeploymentStatus = ServiceDeploymentStatus.PENDING
    status_reason: str | None = None
    circuit_breaker: bool
    """Whether it watches."""
    failure_count: int = 0
    threshold: int
    tripped: bool = False
    """The circuit breaker has had enough of it."""
    rollback: Rollback | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stopped_at: datetime | None = None

    @property
    def revision_id(self) -> str:
        return self.target.revision_id


def new_deployment_id(now: datetime, random_id: str) -> str:
    """Of a deployment, or a task set: 13 digits of the time in milliseconds, and 6 of `random_id`, hexadecimal."""
    return f"{PREFIX}{int(now.timestamp() * 1000):013d}{int(random_id[:15], 16) % 1_000_000:06d}"


def revision_of(deployment_id: str) -> str:
    return deployment_id.removeprefix(PREFIX)
