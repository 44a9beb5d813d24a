"""Where tasks are placed: what is read to decide it, and what the commit must find unchanged.

    fleet (at most 5 s old) ── the cluster's tasks, if the demand asks what runs where ──► place ──► the chosen ones
                                                                                            ▲              │
                                     read again, strongly consistent: the instance, then its tasks ◄───────┘

Only a demand that asks what runs on an instance (task:group, runningTasksCount, distinctInstance, a spread of tasks
that are no service's) reads tasks, and pays for all of the cluster's: candidates, never the answer. The answer rests on
those of the instances that were chosen: each is read before its tasks are, and the commit demands that its version is
still that. Whatever comes to an instance or goes raises its version; so of two that place at once on one instance only
the first commits, and the other one decides again and sees the first one's task.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from control_plane.domain.placement.filters import Candidate, Demand
from control_plane.domain.placement.place import Placed, Unplaced, place
from control_plane.domain.placement.query import Expression
from control_plane.domain.placement.rules import Random
from control_plane.domain.task import Task
from control_plane.runtime import ControlPlane
from control_plane.store import instances, keys, tasks
from ecs_protocol.statuses import DesiredStatus, TaskStatus

OF_REGISTRATION = frozenset({"agentVersion", "registeredAt"})


def choose_instances(
    cp: ControlPlane,
    cluster: str,
    demand: Demand,
    count: int,
    *,
    fresh: bool,
    of_service: Sequence[Task] | None = None,
) -> list[Placed | Unplaced]:
    """One answer a task. With `fresh` nothing remembered is used; no task is refused on what was.

    `of_service`: all tasks of the service that the new ones are of, strongly consistent. They are all that there are of
    its group, and stay so until the commit, which holds the service's lock.
    """
    seed = cp.new_id() if any(isinstance(each, Random) for each in demand.strategy) else ""
    answers = _choose(cp, cluster, demand, count, seed=seed, fresh=fresh, of_service=of_service)
    if not fresh and any(isinstance(answer, Unplaced) for answer in answers):
        answers = _choose(cp, cluster, demand, count, seed=seed, fresh=True, of_service=of_service)
    return answers


def look_at(cp: ControlPlane, cluster: str, instance_id: str, demand: Demand) -> Candidate | None:
    """An instance as it is now. It is read before its tasks: its version is theirs, or an older one."""
    instance = instances.load(cp.table, cluster, instance_id)
    if instance is None:
        return None
    asked = demand.constraints.of_tasks or demand.constraints.distinct
    held = tasks.of_instance(cp.table, cluster, instance_id) if asked else ()
    [candidate] = with_registrations(cp, [cp.fleet.candidate(instance)], demand.constraints.expressions)
    return holding(candidate, held)


def believing(answer: Placed, candidate: Candidate) -> Placed:
    """The answer, to be committed only if nothing came to the instance or went since it was looked at."""
    return replace(answer, believed={**answer.believed, "version": candidate.instance.version})


def with_registrations(
    cp: ControlPlane, candidates: Sequence[Candidate], expressions: Iterable[Expression]
) -> Sequence[Candidate]:
    """With what an expression asks of a registration, also where an instance registered with an older release."""
    if not any(expression.subjects() & OF_REGISTRATION for expression in expressions):
        return candidates
    lacking = [each.instance for each in candidates if each.instance.registered_at is None]
    found = instances.load_registrations(cp.table, lacking) if lacking else {}
    return [
        replace(
            each,
            instance=each.instance.model_copy(
                update={"agent_version": known.agent_version, "registered_at": known.registered_at}
            ),
        )
        if (known := found.get(each.instance.instance_id))
        else each
        for each in candidates
    ]


def with_tasks(cp: ControlPlane, cluster: str, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """With their tasks, eventually consistent. A task lies in its instance's partition."""
    shards = {keys.instance_shard(each.instance.instance_id) for each in candidates}
    return _each_holding(candidates, tasks.of_cluster(cp.table, cluster, sorted(shards)) if shards else ())


def _choose(
    cp: ControlPlane,
    cluster: str,
    demand: Demand,
    count: int,
    *,
    seed: str,
    fresh: bool,
    of_service: Sequence[Task] | None,
) -> list[Placed | Unplaced]:
    candidates: Sequence[Candidate] = cp.fleet.candidates(cluster, cp.clock(), fresh=fresh)
    candidates = with_registrations(cp, candidates, demand.constraints.expressions)
    if demand.constraints.of_tasks or (demand.counts_group and of_service is None):
        candidates = with_tasks(cp, cluster, candidates)
    elif demand.counts_group and of_service is not None:
        candidates = _each_holding(candidates, of_service)
    if not demand.constraints.of_tasks and (of_service is not None or not demand.constraints.distinct):
        return place(demand, count, candidates, seed)
    return _by_looking(cp, cluster, demand, count, seed=seed, candidates=candidates)


def _by_looking(
    cp: ControlPlane, cluster: str, demand: Demand, count: int, *, seed: str, candidates: Sequence[Candidate]
) -> list[Placed | Unplaced]:
    """Choose until all that are chosen have been looked at. Each round looks at one more at least, so that it ends."""
    seen: dict[str, Candidate | None] = {}
    while True:
        known = [seen.get(each.instance.instance_id, each) for each in candidates]
        answers = place(demand, count, [each for each in known if each is not None], seed)
        chosen = dict.fromkeys(answer.instance_id for answer in answers if isinstance(answer, Placed))
        unseen = [instance_id for instance_id in chosen if instance_id not in seen]
        if not unseen:
            return [
                believing(answer, candidate)
                if isinstance(answer, Placed) and (candidate := seen[answer.instance_id])
                else answer
                for answer in answers
            ]
        for instance_id in unseen:
            seen[instance_id] = look_at(cp, cluster, instance_id, demand)


def _each_holding(candidates: Iterable[Candidate], held: Iterable[Task]) -> list[Candidate]:
    by_instance: dict[str, list[Task]] = defaultdict(list)
    for task in held:
        by_instance[task.instance_id].append(task)
    return [holding(candidate, by_instance.get(candidate.instance.instance_id, ())) for candidate in candidates]


def holding(candidate: Candidate, held: Iterable[Task]) -> Candidate:
    """Amazon ECS goes by the desired status: a task that is to stop is in nobody's way any more."""
    alive = [task for task in held if not task.stopped]
    return replace(
        candidate,
        groups=Counter(task.group for task in alive if task.desired_status is DesiredStatus.RUNNING),
        running_tasks=sum(task.last_status is TaskStatus.RUNNING for task in alive),
    )
