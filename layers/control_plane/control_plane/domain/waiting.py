"""Who waits for capacity, and whom of them to tell that there is some. Pure.

A service that could not place all its tasks, and a `Run Task` event that asks for it, wait with what one task of theirs
wants. An instance with room is shown to them in the order in which they began.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property

from pydantic import Field

from control_plane.domain.container_instance import port_names
from control_plane.domain.entity import Entity
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.filters import Candidate, Demand, can_take, with_task
from control_plane.domain.placement.rules import UNCONSTRAINED, parse_constraints
from control_plane.domain.reminders import command_due, on_grid
from control_plane.domain.resources import Resources

LONGEST_GAP = timedelta(minutes=15)
"""Between two looks at who waits, should the news of capacity get lost."""

ROLE = "ROLE"
"""What a service lacks whose tasks' role cannot be assumed: no instance has it to offer."""


class Waiting(Entity):
    """Written when a shortage begins, removed when it ends. It is a service's, or a `Run Task` event's."""

    cluster: str
    since: datetime
    service: str | None = None
    task_set: str | None = None
    """Of a service that has some: each waits for itself."""
    request_id: str | None = None
    """Of the event."""
    cpu: int = 0
    memory: int = 0
    ports: tuple[str, ...] = ()
    """Host ports, as `8080/tcp`."""
    gpus: dict[str, int] = Field(default_factory=dict)
    """How many, by container."""
    requires: tuple[str, ...] = ()
    """Names of attributes."""
    group: str = ""
    constraints: tuple[dict[str, str], ...] = ()
    """In the shape of the ECS API: those of the definition and of the request together."""
    lacked: dict[str, int] = Field(default_factory=dict)
    """How many instances refused for each reason, when it began."""

    @property
    def name(self) -> str:
        if self.service is None:
            return f"E#{self.request_id}"
        return f"S#{self.service}#{self.task_set}" if self.task_set else f"S#{self.service}"

    @cached_property
    def demand(self) -> Demand:
        """An older release stored constraints in words of its own, which might be longer than what may be written: who
        cannot be asked what it wants is told of any room that it has space in, in vain at worst."""
        try:
            constraints = parse_constraints(self.constraints)
        except InvalidParameterException:
            constraints = UNCONSTRAINED
        ports = frozenset((int(number), protocol) for number, protocol in (each.split("/") for each in self.ports))
        return Demand(
            Resources(self.cpu, self.memory, ports),
            frozenset(self.requires),
            self.group,
            constraints,
            gpus=self.gpus,
        )

    @property
    def for_room(self) -> bool:
        """Whether it would start if it had room. Else it keeps its place in the line, and others go before it."""
        return ROLE not in self.lacked

    def wants_the_same(self, other: "Waiting") -> bool:
        """Whether room that is shown to the one would be shown to the other."""
        not_wants = {"lacked", "since"}
        alike = self.model_dump(exclude=not_wants) == other.model_dump(exclude=not_wants)
        return alike and self.for_room == other.for_room

    @property
    def asks_for_tasks(self) -> bool:
        """Whether an instance's tasks decide if it fits there."""
        return self.demand.constraints.of_tasks or self.demand.constraints.distinct


class WaitingEvent(Entity):
    """A `Run Task` event that waits: the event itself, and how far it has come."""

    request_id: str
    cluster: str
    event: str
    """As JSON."""
    since: datetime
    until: datetime
    placed: int = 0
    """How many of its tasks have been started."""


def waiting(
    demand: Demand,
    lacked: Mapping[str, int],
    *,
    cluster: str,
    since: datetime,
    service: str | None = None,
    task_set: str | None = None,
    request_id: str | None = None,
) -> Waiting:
    """For one of the two."""
    expressions = [{"type": "memberOf", "expression": str(each)} for each in demand.constraints.expressions]
    distinct = [{"type": "distinctInstance"}] if demand.constraints.distinct else []
    return Waiting(
        cluster=cluster,
        since=since,
        service=service,
        task_set=task_set,
        request_id=request_id,
        cpu=demand.resources.cpu,
        memory=demand.resources.memory,
        ports=tuple(sorted(port_names(demand.resources))),
        gpus=dict(demand.gpus),
        requires=tuple(sorted(demand.required_attributes)),
        group=demand.group,
        constraints=(*expressions, *distinct),
        lacked=dict(lacked),
    )


def to_tell(waiting_ones: Iterable[Waiting], fleet: Iterable[Candidate]) -> list[tuple[Waiting, str]]:
    """Whom to tell of room on these instances, the longest waiting first, and the instance that each would fit on.

    Each is taken to start one task there, so that no more are told than could start one.
    """
    left = {candidate.instance.instance_id: candidate for candidate in fleet}
    told: list[tuple[Waiting, str]] = []
    for each in sorted((one for one in waiting_ones if one.for_room), key=lambda one: (one.since, one.name)):
        place = next((name for name, candidate in left.items() if can_take(each.demand, candidate)), None)
        if place is not None:
            left[place] = with_task(left[place], each.demand)
            told.append((each, place))
    return told


def next_look(since: datetime, until: datetime, now: datetime) -> int:
    """When an event that waits is tried again whatever happens, on the grid of reminders: after gaps that double.

    However often this is asked between two such times, the answer is the same: reminders do not multiply.
    """
    elapsed = now - since
    if elapsed < LONGEST_GAP:
        due = command_due(since, now)
    else:
        due = on_grid(since + LONGEST_GAP * (elapsed // LONGEST_GAP + 1))
    return min(due, on_grid(until))
