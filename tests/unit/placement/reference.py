"""A placer that looks at everything for each task, and shares nothing with the real one but its words.

Machines, what a task wants and the rules are written down anew, each rule as plainly as the documentation has it: so a
mistake in a filter or in the reader of expressions is a difference, too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.placement.filters import Candidate, Demand
from control_plane.domain.placement.rules import parse_constraints, parse_strategy
from control_plane.domain.resources import Resources
from unit.control_plane.builders import an_instance

GROUP = "service:web"


@dataclass
class Machine:
    name: str
    cpu: int = 1000
    memory: int = 1000
    ports: set[int] = field(default_factory=set)
    gpus: int = 0
    gpus_held: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    capable: bool = True
    status: str = "ACTIVE"
    connected: bool = True
    agent_version: str = "1.9.0"
    groups: list[str] = field(default_factory=list)
    """One for each task that is to run there."""
    running: int = 0

    def holds(self, group: str) -> int:
        return self.groups.count(group)


Says = Callable[[Machine], bool]

EXPRESSIONS: Mapping[str, Says] = {
    "attribute:site == x": lambda machine: machine.attributes.get("site") == "x",
    "attribute:site != x": lambda machine: machine.attributes.get("site", "x") != "x",
    "not attribute:site == x": lambda machine: machine.attributes.get("site") != "x",
    "attribute:rack exists": lambda machine: "rack" in machine.attributes,
    "attribute:rack >= 2": lambda machine: int(machine.attributes.get("rack", 0)) >= 2,
    "attribute:rack in [10, '2']||attribute:site=~'(x|z)'": lambda machine: (
        machine.attributes.get("rack") in {"10", "2"} or machine.attributes.get("site") in {"x", "z"}
    ),
    "agentVersion < 1.10 and agentConnected == true": lambda machine: (
        machine.agent_version in {"1.9.0", "1.2.3"} and machine.connected
    ),
    "registeredAt >= 2026-01-01": lambda machine: True,
    "ec2InstanceId =~ i-.*": lambda machine: False,
    "runningTasksCount < 2": lambda machine: machine.running < 2,
    "task:group == family:other": lambda machine: machine.holds("family:other") > 0,
    "not(task:group == family:other)": lambda machine: not machine.holds("family:other"),
    "!(task:group == service:web)": lambda machine: not machine.holds(GROUP),
    "task:group == service:web or task:group not_exists": lambda machine: (
        machine.holds(GROUP) > 0 or not machine.groups
    ),
}
"""What can be written, and what it says."""


@dataclass(frozen=True)
class Wanted:
    cpu: int = 0
    memory: int = 0
    port: int | None = None
    gpus: int | str = 0
    """Of one container; or ALL."""
    expressions: tuple[str, ...] = ()
    distinct: bool = False
    strategy: tuple[str, ...] = ()
    """`spread instanceId`, `binpack memory`, …"""

    def refusals(self, machine: Machine) -> tuple[str, ...]:
        free = machine.gpus - machine.gpus_held
        satisfied = all(EXPRESSIONS[each](machine) for each in self.expressions)
        return tuple(
            reason
            for reason, refuses in (
                (machine.status, machine.status != "ACTIVE"),
                ("AGENT", not machine.connected),
                ("ATTRIBUTE", not machine.capable),
                (
                    "MemberOf placement constraint unsatisfied.",
                    not satisfied,
                ),
                ("DistinctInstance placement constraint unsatisfied.", self.distinct and machine.holds(GROUP)),
                ("RESOURCE:CPU", self.cpu and machine.cpu < self.cpu),
                ("RESOURCE:MEMORY", self.memory and machine.memory < self.memory),
                ("RESOURCE:PORTS", self.port in machine.ports),
                ("RESOURCE:GPU", (not free or free < machine.gpus) if self.gpus == "ALL" else free < int(self.gpus)),
            )
            if refuses
        )

    def put(self, machine: Machine) -> None:
        machine.cpu -= self.cpu
        machine.memory -= self.memory
        machine.gpus_held += machine.gpus if self.gpus == "ALL" else int(self.gpus)
        machine.groups.append(GROUP)
        if self.port is not None:
            machine.ports.add(self.port)


def by_looking_at_everything(
    wanted: Wanted, count: int, fleet: Sequence[Machine]
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Where each task goes (`ab-`), and why no machine takes another; puts them there."""
    gone = ""
    for _ in range(count):
        able = [machine for machine in fleet if not wanted.refusals(machine)]
        if not able:
            return gone + "-" * (count - len(gone)), {each.name: wanted.refusals(each) for each in fleet}
        best = min(able, key=lambda machine: (*_ranks(wanted, machine, fleet), len(machine.groups), machine.name))
        wanted.put(best)
        gone += best.name
    return gone, {}


def _ranks(wanted: Wanted, machine: Machine, fleet: Sequence[Machine]) -> list[int]:
    ranks: list[int] = []
    alike = [each for each in fleet if each.status == "ACTIVE"]
    for strategy in wanted.strategy:
        match strategy.split():
            case ["binpack", "cpu"]:
                ranks.append(machine.cpu)
            case ["binpack", "memory"]:
                ranks.append(machine.memory)
            case ["spread", "instanceId"]:
                ranks.append(machine.holds(GROUP))
            case ["spread", attribute]:
                name = attribute.removeprefix("attribute:")
                alike = [each for each in alike if each.attributes.get(name) == machine.attributes.get(name)]
                ranks.append(sum(each.holds(GROUP) for each in alike))
    return ranks


def candidate(machine: Machine) -> Candidate:
    """The machine as the real placer sees it."""
    gpus = [f"gpu-{number}" for number in range(machine.gpus)]
    instance = an_instance(
        machine.name,
        cpu=machine.cpu,
        memory=machine.memory,
        ports=frozenset(f"{port}/tcp" for port in machine.ports),
        gpus=frozenset(gpus),
        held_gpus=frozenset(gpus[: machine.gpus_held]),
        attributes=dict(machine.attributes),
        status=InstanceStatus(machine.status),
        agent_connected=machine.connected,
        agent_version=machine.agent_version,
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
        tasks=len(machine.groups),
    )
    groups = {group: machine.holds(group) for group in machine.groups}
    return Candidate(instance, frozenset({"needed"} if machine.capable else ()), groups, machine.running)


def demand(wanted: Wanted) -> Demand:
    """What is wanted, as a request writes it."""
    constraints: list[dict[str, str]] = [{"type": "memberOf", "expression": each} for each in wanted.expressions]
    if wanted.distinct:
        constraints.append({"type": "distinctInstance"})
    strategy = [dict(zip(("type", "field"), each.split(), strict=False)) for each in wanted.strategy]
    return Demand(
        Resources(wanted.cpu, wanted.memory, frozenset({(wanted.port, "tcp")} if wanted.port else ())),
        frozenset({"needed"}),
        GROUP,
        parse_constraints(constraints),
        parse_strategy(strategy),
        gpus={"main": 0 if wanted.gpus == "ALL" else int(wanted.gpus)} if wanted.gpus else {},
    )
