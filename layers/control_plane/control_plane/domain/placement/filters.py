"""Whether an instance can take a task, and every reason why not. Pure.

A filter is a function in a tuple: it gives the reason, in the words of RunTask's failures, or none. The order is that
of the reasons in an answer, whose first one is shown alone where there is room for one only.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus, port_names
from control_plane.domain.gpus import all_gpu_ids, has_gpus, pinned_gpus
from control_plane.domain.placement.rules import UNCONSTRAINED, Constraints, Spread, Strategy
from control_plane.domain.resources import Resources

ATTRIBUTE = "ATTRIBUTE"
MEMBER_OF = "MemberOf placement constraint unsatisfied."
DAEMONS_FIRST = "DAEMON"
WAIT_FOR_DAEMONS = timedelta(seconds=60)
"""At most, that tasks of other services wait for those of DAEMON services."""

DISTINCT_INSTANCE = "DistinctInstance placement constraint unsatisfied."


@dataclass(frozen=True)
class Demand:
    """What one task asks of an instance, and how one of those that can take it is chosen."""

    resources: Resources
    """What does not depend on the instance: which GPUs, only an instance can say."""
    required_attributes: frozenset[str] = frozenset()
    group: str = ""
    constraints: Constraints = UNCONSTRAINED
    strategy: tuple[Strategy, ...] = ()
    after_daemons_at: datetime | None = None
    """Now, if it is to wait for the tasks of DAEMON services that are missing on an instance."""
    gpus: Mapping[str, int] = field(default_factory=dict)
    """How many, by container; EVERY: each that the instance has."""

    @property
    def counts_group(self) -> bool:
        """Whether it matters how many tasks of its group an instance holds."""
        return self.constraints.distinct or any(isinstance(each, Spread) for each in self.strategy)


_NO_GROUPS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance as placement sees it. It is what an expression of the cluster query language asks (Facts).

    `groups` and `running_tasks` are of the tasks on it, and known only where a demand asks for them.
    """

    instance: ContainerInstance
    capabilities: frozenset[str]
    """Names of its attributes that have no value."""
    groups: Mapping[str, int] = field(default_factory=lambda: _NO_GROUPS)
    """How many tasks that are to run there are of each group."""
    running_tasks: int = 0

    @property
    def agent_connected(self) -> bool:
        return self.instance.agent_connected

    @property
    def agent_version(self) -> str | None:
        return self.instance.agent_version

    @property
    def ec2_instance_id(self) -> str:
        """Empty, as DescribeContainerInstances shows it: the machine is none of EC2's."""
        return ""

    @property
    def registered_at(self) -> datetime | None:
        return self.instance.registered_at

    def attribute(self, name: str) -> str | None:
        value = self.instance.attribute(name)
        if value is None and name in self.capabilities and name not in self.instance.deleted_attributes:
            return ""
        return value


Filter = Callable[[Demand, Candidate], tuple[str, ...]]
"""The reasons for which an instance cannot take a task; none: it can."""


def _active(_demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return () if candidate.instance.status is InstanceStatus.ACTIVE else (str(candidate.instance.status),)


def _daemons_first(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    instance = candidate.instance
    if demand.after_daemons_at is None or not instance.daemons_due or instance.daemons_due_at is None:
        return ()
    return (DAEMONS_FIRST,) if demand.after_daemons_at < instance.daemons_due_at + WAIT_FOR_DAEMONS else ()


def _connected(_demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    """Of two machines under one identity nobody knows which will hear."""
    instance = candidate.instance
    return () if instance.agent_connected and instance.duplicate_found_at is None else ("AGENT",)


def _attributes(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return (ATTRIBUTE,) if demand.required_attributes - candidate.capabilities else ()


def _member_of(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    satisfied = all(expression.matches(candidate) for expression in demand.constraints.expressions)
    return () if satisfied else (MEMBER_OF,)


def _distinct_instance(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    taken = demand.constraints.distinct and candidate.groups.get(demand.group)
    return (DISTINCT_INSTANCE,) if taken else ()


def _resources(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return candidate.instance.shortages(demand.resources)


def _gpus(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    return ("RESOURCE:GPU",) if demand.gpus and not has_gpus(candidate.instance, demand.gpus) else ()


FILTERS: Sequence[Filter] = (
    _active,
    _connected,
    _daemons_first,
    _attributes,
    _member_of,
    _distinct_instance,
    _resources,
    _gpus,
)


def refusals(demand: Demand, candidate: Candidate) -> tuple[str, ...]:
    """Every reason, so that nobody mends one shortage to meet the next."""
    return tuple(reason for reason_of in FILTERS for reason in reason_of(demand, candidate))


def can_take(demand: Demand, candidate: Candidate) -> bool:
    return not any(reason_of(demand, candidate) for reason_of in FILTERS)


def with_task(candidate: Candidate, demand: Demand) -> Candidate:
    """The instance with one task more, which is to run and does not yet."""
    groups = {**candidate.groups, demand.group: candidate.groups.get(demand.group, 0) + 1}
    pinned = pinned_gpus(candidate.instance, demand.gpus)
    resources = replace(demand.resources, gpu_ids=all_gpu_ids(pinned)) if pinned else demand.resources
    return replace(candidate, instance=take(candidate.instance, resources), groups=groups)


def give_back(instance: ContainerInstance, held: Resources) -> ContainerInstance:
    """What it has left with one task fewer."""
    return instance.model_copy(
        update={
            "cpu": instance.cpu + held.cpu,
            "memory": instance.memory + held.memory,
            "ports": instance.ports - port_names(held),
            "held_gpus": instance.held_gpus - held.gpu_ids,
            "tasks": instance.tasks - 1,
        }
    )


def take(instance: ContainerInstance, wanted: Resources) -> ContainerInstance:
    """What it has left with one task more."""
    return instance.model_copy(
        update={
            "cpu": instance.cpu - wanted.cpu,
            "memory": instance.memory - wanted.memory,
            "ports": instance.ports | port_names(wanted) if wanted.ports else instance.ports,
            "held_gpus": instance.held_gpus | wanted.gpu_ids if wanted.gpu_ids else instance.held_gpus,
            "tasks": instance.tasks + 1,
        }
    )
