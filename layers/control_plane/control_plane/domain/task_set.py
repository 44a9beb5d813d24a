"""Task sets: what runs in a service whose deployments somebody else controls (deployment controller EXTERNAL).

They are part of their service's item: five at most, and whoever changes one of them, or what the service wants, does
so under the service's lock. So of two requests, or of a request and the scheduler, the later one decides again.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-external.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskSet.html
"""

import math
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from control_plane.domain.capacity_provider import Strategy
from control_plane.domain.entity import Entity

MAX_TASK_SETS = 5
"""Of a service, those that are DRAINING included.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
"""


class TaskSetStatus(StrEnum):
    """PRIMARY is a word of its owner's, who has told others to use it; DRAINING: until its tasks have ended."""

    PRIMARY = "PRIMARY"
    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"


class TaskSet(Entity):
    """The counts are what the scheduler last saw."""

    task_set_id: str
    """`ecs-svc/<digits>`, which its tasks have for their startedBy."""
    status: TaskSetStatus = TaskSetStatus.ACTIVE
    task_definition: str
    capacity_provider_strategy: Strategy = ()
    """Empty: by launch type EXTERNAL."""
    scale: float = 0
    """In percent of the service's desiredCount."""
    external_id: str | None = None
    client_token: str | None = None
    request: str
    """A digest of what was asked for, in case that the client token comes again."""
    tags: dict[str, str] = Field(default_factory=dict)
    created_at: datetime
    updated_at: datetime
    running_count: int = 0
    pending_count: int = 0
    steady: bool = False
    stability_at: datetime
    """When it became steady, or ceased to be."""
    failed_starts: int = 0
    not_before: datetime | None = None
    """Starts that fail are spaced out, for each task set by itself."""
    waiting_since: datetime | None = None
    """Since when it waits for capacity (domain/waiting.py); None: it does not."""

    def anew(self, now: datetime) -> "TaskSet":
        """Once something else is wanted: it is not steady, and its starts are not put off any more."""
        return self.model_copy(update={"steady": False, "stability_at": now, "failed_starts": 0, "not_before": None})

    def computed_desired_count(self, desired_count: int) -> int:
        """Rounded up, and in decimal numbers: 7 percent of 100 tasks are 7."""
        return math.ceil(Decimal(str(self.scale)) * desired_count / 100)
