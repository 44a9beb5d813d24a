"""Where tasks go, and why not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.placement.place import Candidate, Demand, Placed, Unplaced, place, take
from control_plane.domain.resources import Resources
from unit.control_plane.builders import a_candidate

SMALL = Demand(Resources(cpu=256, memory=256))


def ids(answers: list[Placed | Unplaced]) -> list[str]:
    return [answer.instance_id[0] if isinstance(answer, Placed) else "-" for answer in answers]


def test_tasks_spread_over_instances_and_ties_go_by_id() -> None:
    candidates = [a_candidate("b"), a_candidate("a"), a_candidate("c", tasks=1)]
    assert ids(place(SMALL, 4, candidates)) == ["a", "b", "a", "b"]


def test_what_does_not_fit_any_more_is_refused_with_every_reason() -> None:
    demand = Demand(Resources(cpu=600, memory=600))
    answers = place(demand, 2, [a_candidate("a")])
    assert ids(answers) == ["a", "-"]
    assert answers[1] == Unplaced({"a" * 32: ("RESOURCE:CPU", "RESOURCE:MEMORY")})


def test_no_instance_at_all_is_an_answer() -> None:
    assert place(SMALL, 1, []) == [Unplaced({})]


@pytest.mark.parametrize(
    ("members", "reasons"),
    [
        pytest.param({"agent_connected": False}, ("AGENT",), id="its-agent-is-not-connected"),
        pytest.param({"status": InstanceStatus.DRAINING}, ("DRAINING",), id="it-is-draining"),
        pytest.param({"cpu": 255}, ("RESOURCE:CPU",), id="cpu-is-short"),
        pytest.param({"memory": 255}, ("RESOURCE:MEMORY",), id="memory-is-short"),
        pytest.param({"ports": frozenset({"80/tcp"})}, ("RESOURCE:PORTS",), id="a-task-holds-the-port"),
        pytest.param({"reserved_ports": frozenset({"80/tcp"})}, ("RESOURCE:PORTS",), id="the-machine-holds-the-port"),
        pytest.param({"ports": frozenset({"80/udp"})}, None, id="the-other-protocol-is-another-port"),
        pytest.param({"capabilities": frozenset()}, ("ATTRIBUTE",), id="it-lacks-an-attribute"),
        pytest.param({"cpu": 0, "agent_connected": False}, ("AGENT", "RESOURCE:CPU"), id="all-reasons-are-named"),
    ],
)
def test_refusals(members: dict[str, Any], reasons: tuple[str, ...] | None) -> None:
    demand = Demand(Resources(cpu=256, memory=256, ports=frozenset({(80, "tcp")})), frozenset({"x"}))
    candidate = a_candidate("a", **{"capabilities": frozenset({"x"}), **members})
    expected = Placed("a" * 32, 1) if reasons is None else Unplaced({"a" * 32: reasons})
    assert place(demand, 1, [candidate]) == [expected]


def test_an_instance_below_zero_takes_what_costs_it_nothing() -> None:
    assert ids(place(Demand(Resources(cpu=0, memory=64)), 1, [a_candidate("a", cpu=-100)])) == ["a"]


def test_two_tasks_with_one_host_port_go_to_two_instances() -> None:
    demand = Demand(Resources(cpu=1, memory=1, ports=frozenset({(80, "tcp")})))
    assert ids(place(demand, 3, [a_candidate("a"), a_candidate("b")])) == ["a", "b", "-"]


fleets = st.lists(st.tuples(st.integers(-10, 50), st.integers(-10, 50), st.integers(0, 5)), max_size=6).map(
    lambda rows: [
        a_candidate("abcdef"[number], cpu=cpu, memory=memory, tasks=tasks)
        for number, (cpu, memory, tasks) in enumerate(rows)
    ]
)


@given(fleets, st.integers(0, 20), st.integers(0, 20), st.integers(1, 10))
def test_nothing_is_ever_sold_twice(fleet: list[Candidate], cpu: int, memory: int, count: int) -> None:
    demand = Demand(Resources(cpu=cpu, memory=memory))
    left = {candidate.instance.instance_id: candidate.instance for candidate in fleet}
    for answer in place(demand, count, fleet):
        if isinstance(answer, Placed):
            assert left[answer.instance_id].can_take(demand.resources)
            left[answer.instance_id] = take(left[answer.instance_id], demand.resources)
        else:
            assert not any(instance.can_take(demand.resources) for instance in left.values())


@given(fleets, st.integers(1, 10), st.randoms(use_true_random=False))
def test_the_order_of_the_fleet_changes_nothing(fleet: list[Candidate], count: int, random: Any) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)
    assert place(SMALL, count, shuffled) == place(SMALL, count, fleet)
