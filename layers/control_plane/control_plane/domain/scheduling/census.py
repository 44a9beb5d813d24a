"""The tasks of a service, each in its part: which count, which are of former deployments, which are well. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.scheduling.rollout import Checks, is_healthy, unhealthy_at
from control_plane.domain.scheduling.standing import Connection, Standing, absence_of_task, standing
from control_plane.domain.service import Deployment, Service, ServiceStatus
from control_plane.domain.task import Task
from ecs_protocol.statuses import DesiredStatus, TaskStatus

CONNECTED = Connection(connected=True)

OCCUPIES = frozenset({TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING, TaskStatus.RUNNING})
"""What maximumPercent counts, in Amazon's words RUNNING or PENDING, also of tasks that are told to stop."""


@dataclass(frozen=True)
class Census:
    """`current` and `former` are the kept ones of the PRIMARY deployment and of those before it."""

    ended: tuple[Task, ...]
    standings: Mapping[str, Standing]
    """By task id, of all that have not stopped."""
    wanted_to_run: tuple[Task, ...]
    kept: tuple[Task, ...]
    """Of those, the ones that count."""
    missed: tuple[Task, ...]
    """And those that do not count any more."""
    leaving: tuple[Task, ...]
    """To be STOPPED, and not there yet."""
    current: tuple[Task, ...]
    former: tuple[Task, ...]
    healthy: frozenset[str]
    """Ids of kept tasks."""
    sick: frozenset[str]
    """Ids of current tasks that are to be replaced for their health."""
    draining: frozenset[str]
    """Ids of current tasks that are to be replaced since their container instances are to be emptied."""
    protected: frozenset[str]
    """Ids of kept tasks that neither scaling in, a deployment nor the emptying of an instance stops now. Health goes
    before protection, and so does the end of the service."""
    sick_later: tuple[datetime, ...]
    """When others will be, if they do not get well."""

    def counts(self, task: Task) -> bool:
        return self.standings[task.task_id].counts

    def away(self, task: Task) -> bool:
        return self.standings[task.task_id].away

    @property
    def replaced(self) -> frozenset[str]:
        """Current tasks that run on until others have taken their place, and are none of those wanted."""
        return self.sick | self.draining

    @property
    def staying(self) -> tuple[Task, ...]:
        return tuple(task for task in self.current if task.task_id not in self.replaced)

    @property
    def occupied(self) -> int:
        """What counts against maximumPercent: a machine that is away and is to stop a task blocks nothing."""
        return len(self.kept) + sum(task.last_status in OCCUPIES and not self.away(task) for task in self.leaving)

    @property
    def holding(self) -> int:
        """Tasks that are not of the kind that is wanted, and yet hold a place: at most one copy of them may run."""
        others = [*self.former, *(task for task in self.current if task.task_id in self.replaced)]
        single = sum(absence_of_task(task).kind == "stop-after" for task in others)
        return single + sum(self.counts(task) for task in self.leaving)


def take_census(
    service: Service,
    tasks: Sequence[Task],
    now: datetime,
    *,
    connections: Mapping[str, Connection],
    delays: Mapping[str, timedelta | None],
    checks: Checks,
) -> Census:
    """`connections` and `delays` (departures.py) are by container instance; one that is not named is connected."""
    alive = [task for task in tasks if not task.stopped]
    standings = {
        task.task_id: standing(
            task,
            connections.get(task.instance_id, CONNECTED),
            now,
            delay=delays.get(task.instance_id, timedelta()),
        )
        for task in alive
    }
    wanted_to_run = tuple(task for task in alive if task.desired_status is DesiredStatus.RUNNING)
    kept = tuple(task for task in wanted_to_run if standings[task.task_id].counts)
    current = tuple(task for task in kept if is_of(service.deployment, task))
    unhealthy = {
        task.task_id: at
        for task in kept
        if not standings[task.task_id].away and (at := unhealthy_at(service, task, checks)) is not None
    }
    sick_at = {task.task_id: unhealthy[task.task_id] for task in current if task.task_id in unhealthy}
    return Census(
        ended=tuple(task for task in tasks if task.stopped),
        standings=standings,
        wanted_to_run=wanted_to_run,
        kept=kept,
        missed=tuple(task for task in wanted_to_run if not standings[task.task_id].counts),
        leaving=tuple(task for task in alive if task.desired_status is DesiredStatus.STOPPED),
        current=current,
        former=tuple(task for task in kept if not is_of(service.deployment, task)),
        healthy=frozenset(task.task_id for task in kept if is_healthy(task, checks)),
        sick=frozenset(task_id for task_id, at in sick_at.items() if at <= now),
        draining=frozenset(task.task_id for task in current if connections.get(task.instance_id, CONNECTED).draining),
        protected=frozenset(
            task.task_id
            for task in kept
            if service.status is ServiceStatus.ACTIVE
            and task.protected(now)
            and not (task.task_id in unhealthy and unhealthy[task.task_id] <= now)
        ),
        sick_later=tuple(at for at in sick_at.values() if at > now),
    )


def is_of(deployment: Deployment, task: Task) -> bool:
    """An adopted task, whose deployment nobody knows, is as good as any."""
    return task.deployment_id in {None, deployment.deployment_id}


def running(tasks: Iterable[Task]) -> int:
    return sum(task.last_status is TaskStatus.RUNNING for task in tasks)
