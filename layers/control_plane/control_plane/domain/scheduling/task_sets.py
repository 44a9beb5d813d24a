"""What to do about a service with task sets: each is planned as if it were a service of its own. Pure.

    service ──► one part for each task set, with its computed count and its own tasks ──► plan.py ──► put together
            └─► one for tasks of no task set: they end

So a task set is held at its count with all that holds for services: machines that are away or are to be emptied,
health, and starts that fail are spaced out. There is no deployment, and so nothing rolls and no circuit breaker trips:
who controls the deployments elsewhere decides which task set has how many tasks.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-external.html
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.ranking import Groups
from control_plane.domain.scheduling.rollout import Checks
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.service import Deployment, RolloutState, Service, ServiceStatus
from control_plane.domain.task import Task
from control_plane.domain.task_set import TaskSet, TaskSetStatus


@dataclass(frozen=True)
class Part:
    """A task set, the service as if it were all of it, and what to do about that. None: tasks of no task set."""

    task_set: TaskSet | None
    service: Service
    plan: ServicePlan


@dataclass(frozen=True)
class TaskSetsPlan(ServicePlan):
    """What is to be done about all of them, and each one's part."""

    parts: tuple[Part, ...]


def plan_task_sets(
    service: Service,
    tasks: Sequence[Task],
    now: datetime,
    connections: Mapping[str, Connection] | None = None,
    delays: Mapping[str, timedelta | None] | None = None,
    *,
    checks: Checks | None = None,
    groups: Groups | None = None,
) -> TaskSetsPlan:
    """Arguments as of plan()."""
    stay = _staying(service.task_sets)
    home = stay[0].task_set_id if stay else None  # of adopted tasks: nobody knows for which task set they were started
    known = {task_set.task_set_id for task_set in service.task_sets}

    def part(task_set: TaskSet | None) -> Part:
        mine = [task for task in tasks if _belongs(task, task_set, home, known)]
        alone = as_service(service, task_set)
        return Part(task_set, alone, plan(alone, mine, now, connections, delays, checks=checks, groups=groups))

    parts = (part(None), *(part(task_set) for task_set in service.task_sets))
    return _together(service, parts)


def parts_of(service: Service, planned: ServicePlan) -> Sequence[tuple[Service, ServicePlan]]:
    """Who starts tasks, and how many: the service itself, or as each of its task sets sees it."""
    if isinstance(planned, TaskSetsPlan):
        return [(each.service, each.plan) for each in planned.parts]
    return [(service, planned)]


def as_service(service: Service, task_set: TaskSet | None) -> Service:
    """The service as if the task set were all of it. Its deployment is one that is always on its way: what is not
    healthy is not steady."""
    ends = task_set is None or task_set.status is TaskSetStatus.DRAINING or service.status is not ServiceStatus.ACTIVE
    members = {
        "status": ServiceStatus.DRAINING if ends else service.status,
        "deployment_configuration": service.deployment_configuration.model_copy(update={"circuit_breaker": None}),
    }
    if task_set is None:
        return service.model_copy(update={**members, "waiting_since": None})
    deployment = Deployment(
        deployment_id=task_set.task_set_id,
        task_definition=task_set.task_definition,
        capacity_provider_strategy=task_set.capacity_provider_strategy or None,
        rollout_state=RolloutState.IN_PROGRESS,
        created_at=task_set.created_at,
        updated_at=task_set.updated_at,
    )
    return service.model_copy(
        update={
            **members,
            "desired_count": task_set.computed_desired_count(service.desired_count),
            "task_definition": task_set.task_definition,
            "capacity_provider_strategy": task_set.capacity_provider_strategy,
            "deployment": deployment,
            "failed_starts": task_set.failed_starts,
            "not_before": task_set.not_before,
            "short": task_set.waiting_since is not None,
            "waiting_since": task_set.waiting_since,
        }
    )


def who_asks(service: Service) -> Service | None:
    """The service as the task set sees it that has waited longest for capacity; else the PRIMARY one, or the first."""
    waiting = [each for each in service.task_sets if each.waiting_since is not None]
    waiting.sort(key=lambda each: each.waiting_since or each.created_at)
    chosen = next(iter((*waiting, *_staying(service.task_sets))), None)
    return None if chosen is None else as_service(service, chosen)


def task_sets_after(
    planned: TaskSetsPlan,
    now: datetime,
    *,
    started: Mapping[str, int],
    waiting_since: Mapping[str, datetime | None],
    more: bool,
) -> tuple[TaskSet, ...]:
    """What becomes of them once a step is committed: `started` tasks of each, and since when those that were tried wait
    for capacity.

    One that is DRAINING goes with the last of its tasks, once nothing (`more`) is left to be struck off the list.
    """
    return tuple(
        _after(part.task_set, part.plan, now, started=started, waiting_since=waiting_since)
        for part in planned.parts
        if part.task_set is not None and (more or part.plan.status is not ServiceStatus.INACTIVE)
    )


def _after(
    task_set: TaskSet,
    done: ServicePlan,
    now: datetime,
    *,
    started: Mapping[str, int],
    waiting_since: Mapping[str, datetime | None],
) -> TaskSet:
    return task_set.model_copy(
        update={
            "running_count": done.running,
            "pending_count": done.pending + started.get(task_set.task_set_id, 0),
            "steady": done.steady,
            "stability_at": task_set.stability_at if done.steady == task_set.steady else now,
            "failed_starts": done.failed_starts,
            "not_before": done.not_before,
            "waiting_since": waiting_since.get(task_set.task_set_id, task_set.waiting_since),
        }
    )


def _staying(task_sets: Iterable[TaskSet]) -> list[TaskSet]:
    """Those that are not DRAINING, the PRIMARY one first."""
    stay = [task_set for task_set in task_sets if task_set.status is not TaskSetStatus.DRAINING]
    return sorted(stay, key=lambda task_set: task_set.status is not TaskSetStatus.PRIMARY)


def _belongs(task: Task, task_set: TaskSet | None, home: str | None, known: Collection[str]) -> bool:
    whose = home if task.deployment_id is None else task.deployment_id
    return whose == task_set.task_set_id if task_set is not None else whose not in known


def _together(service: Service, parts: tuple[Part, ...]) -> TaskSetsPlan:
    plans = [part.plan for part in parts]
    ends = service.status is not ServiceStatus.ACTIVE
    done = ends and all(each.status is ServiceStatus.INACTIVE for each in plans)
    times = [at for each in plans for at in (each.until, each.not_before) if at is not None]
    return TaskSetsPlan(
        start=sum(each.start for each in plans),
        substitutes=sum(each.substitutes for each in plans),
        stop=tuple(task for each in plans for task in each.stop),
        sick=tuple(task for each in plans for task in each.sick),
        ailing=tuple(task for each in plans for task in each.ailing),
        give_up=tuple(task for each in plans for task in each.give_up),
        ended=tuple(task for each in plans for task in each.ended),
        running=sum(each.running for each in plans),
        pending=sum(each.pending for each in plans),
        away=sum(each.away for each in plans),
        missed=sum(each.missed for each in plans),
        held=sum(each.held for each in plans),
        failed_starts=0,
        not_before=None,
        status=ServiceStatus.INACTIVE if done else service.status,
        deployment=service.deployment,
        former=(),
        older=(),
        tripped=False,
        leaving=any(each.leaving for each in plans),
        stuck=any(each.stuck for each in plans),
        crowded=False,
        protected=sum(each.protected for each in plans),
        waits=any(each.waits or each.not_before for each in plans),
        until=min(times, default=None),
        parts=parts,
    )
