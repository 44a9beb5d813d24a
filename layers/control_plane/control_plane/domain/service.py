"""A service, its deployment, and the events that its users read.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Service.html
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from control_plane.domain.capacity_provider import Strategy
from control_plane.domain.entity import Entity
from control_plane.domain.service_deployment import RevisionCounts, ServiceDeployment, revision_of
from control_plane.domain.task_set import TaskSet, TaskSetStatus


class ServiceStatus(StrEnum):
    """ACTIVE, DRAINING while a deleted service's tasks end, INACTIVE once they have."""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


class RolloutState(StrEnum):
    """Of a deployment."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def words(self) -> str:
        """As reasons and events have it."""
        return self.value.replace("_", " ").lower()


class Deployment(Entity):
    """What a service is being brought to, or was before. The counts are what the scheduler last saw.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
    """

    deployment_id: str
    task_definition: str
    capacity_provider_strategy: Strategy | None = None
    """None: by launch type EXTERNAL."""
    rollout_state: RolloutState = RolloutState.IN_PROGRESS
    rollout_reason: str | None = None
    """None: what the state alone says."""
    created_at: datetime
    updated_at: datetime
    running_count: int | None = None
    """None: of an older release, or not looked at yet."""
    pending_count: int | None = None
    failed_tasks: int = 0
    """In a row, as the circuit breaker counts them."""
    has_run: bool = False
    """A task of it has run well: what does not start after that is no failure of the deployment."""


class CircuitBreaker(Entity):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html"""

    enable: bool
    rollback: bool
    reset_on_healthy_task: bool | None = None
    threshold_type: Literal["COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"] | None = None
    threshold_value: int | None = None


class DeploymentConfiguration(Entity):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html"""

    maximum_percent: int = 200
    minimum_healthy_percent: int = 100
    circuit_breaker: CircuitBreaker | None = None


class Service(Entity):
    """`lock` is raised by whoever writes the service, so that of two runs of the scheduler one starts over.

    The counts are what the scheduler last saw. `shards` is over how many keys the list of its tasks is spread.
    """

    name: str
    cluster: str
    status: ServiceStatus = ServiceStatus.ACTIVE
    desired_count: int
    task_definition: str
    """Empty with an EXTERNAL deployment controller."""
    deployment: Deployment
    """The one that is PRIMARY. With an EXTERNAL deployment controller there is none: `no_deployment`."""
    older: tuple[Deployment, ...] = ()
    """Those that were PRIMARY before and still have tasks, the newest first."""
    completed: Deployment | None = None
    """The last that was COMPLETED: what is rolled back to."""
    service_deployment: ServiceDeployment | None = None
    """The newest, with what was true of it when it was last written; None: of an older release, or of no deployment."""
    deployment_configuration: DeploymentConfiguration = DeploymentConfiguration()
    scheduling_strategy: Literal["DAEMON"] | None = None
    """None: REPLICA."""
    tally: dict[str, int] | None = None
    """Of a DAEMON service: the sum over its lines (domain/scheduling/daemon.py), so that the change of one of them
    can be counted without reading the others."""
    rolled_up_to: str | None = None
    """Of a DAEMON service: the container instance that its deployments' walk over its lines has come to."""
    health_check_grace_period_seconds: int | None = None
    deployment_controller: Literal["EXTERNAL"] | None = None
    """None: ECS."""
    task_sets: tuple[TaskSet, ...] = ()
    """With an EXTERNAL deployment controller."""
    client_token: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    propagate_tags: str | None = None
    """SERVICE or TASK_DEFINITION; None: NONE."""
    placement_constraints: tuple[dict[str, str], ...] = ()
    placement_strategy: tuple[dict[str, str], ...] = ()
    """As the ECS API has them; domain/placement/rules.py reads them."""
    managed_tags: bool | None = None
    """Whether its tasks get Amazon ECS's own tags, too; None: no."""
    execute_command: bool | None = None
    """Whether commands may be run in the tasks that it starts; None: no."""
    capacity_provider_strategy: Strategy = ()
    """By which its tasks are started; empty: by launch type EXTERNAL."""
    created_at: datetime
    updated_at: datetime
    lock: int = 1
    shards: int = 1
    running_count: int = 0
    pending_count: int = 0
    steady: bool = False
    planned: bool = False
    """False once somebody has changed what is wanted, until the scheduler has looked: its own writes wake nobody."""
    failed_starts: int = 0
    """Tasks in a row that ended before they were RUNNING."""
    not_before: datetime | None = None
    """No task is started earlier than this: starts that fail are spaced out."""
    look_at: datetime | None = None
    """When the sweeper brings it to the scheduler, whatever else is lost. None: never."""
    away_count: int = 0
    """Tasks on disconnected container instances that are to run."""
    missed_count: int = 0
    """Of those, how many do not count any more."""
    held_count: int = 0
    """Tasks that are away and go on counting, since too many machines vanished at once."""
    protected_count: int | None = None
    """Protected tasks that are to stop, with nothing else left to do; None: no such tasks."""
    short: bool = False
    """Whether the last run could not place all that it wanted, so that events say it once."""
    waiting_since: datetime | None = None
    """Since when it waits for capacity (domain/waiting.py); None: it does not."""
    stuck: bool = False
    """Whether the deployment's own bounds allow no step, so that events say it once."""

    @property
    def external(self) -> bool:
        """Whether its task sets say what runs, and no deployment of its own."""
        return self.deployment_controller == "EXTERNAL"

    @property
    def primary_task_set(self) -> TaskSet | None:
        return next((each for each in self.task_sets if each.status is TaskSetStatus.PRIMARY), None)

    @property
    def is_daemon(self) -> bool:
        return self.scheduling_strategy == "DAEMON"


def no_deployment(now: datetime) -> Deployment:
    """What stands for the deployment of a service with an EXTERNAL deployment controller."""
    return Deployment(
        deployment_id="", task_definition="", rollout_state=RolloutState.COMPLETED, created_at=now, updated_at=now
    )


def deployment_of(service: Service, revision_id: str) -> Deployment | None:
    """The one that brought the revision about, while it has, or is to have, tasks."""
    everyone = (service.deployment, *service.older)
    return next((each for each in everyone if revision_of(each.deployment_id) == revision_id), None)


def counts_of(service: Service, revision_id: str) -> RevisionCounts:
    """All that is wanted is of the PRIMARY deployment; an older one has what it still has."""
    found = deployment_of(service, revision_id)
    if found is None:
        return RevisionCounts(revision_id=revision_id)
    running, pending = found.running_count or 0, found.pending_count or 0
    primary = found.deployment_id == service.deployment.deployment_id
    return RevisionCounts(
        revision_id=revision_id,
        requested=service.desired_count if primary else running + pending,
        running=running,
        pending=pending,
    )


def with_task_sets(service: Service, *changed: TaskSet) -> Service:
    """With these as they are now, the new ones last."""
    everyone = {each.task_set_id: each for each in (*service.task_sets, *changed)}
    return service.model_copy(update={"task_sets": tuple(everyone.values())})


class ServiceEvent(Entity):
    """A line of DescribeServices' events; with `event_name` it also goes to EventBridge.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
    """

    event_id: str
    cluster: str
    service: str
    created_at: datetime
    message: str
    detail_type: str | None = None
    """`ECS Service Action` or `ECS Deployment State Change`."""
    event_name: str | None = None
    event_type: str = "INFO"
    deployment_id: str | None = None
    reason: str | None = None
