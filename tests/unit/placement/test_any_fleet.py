"""The placer against one that looks at everything for each task (reference.py), on small random fleets."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.placement.place import Placed, Unplaced, place
from unit.placement.reference import EXPRESSIONS, GROUP, Machine, Wanted, by_looking_at_everything, candidate, demand

room = st.sampled_from([-100, 0, 49, 50, 200, 250, 400, 999, 9999])
attributes = st.builds(
    lambda site, rack: {name: value for name, value in (("site", site), ("rack", rack)) if value},
    st.sampled_from(["x", "x", "y", "y", "z", ""]),
    st.sampled_from(["1", "1", "2", "2", "10", ""]),
)
groups = st.lists(st.sampled_from([GROUP, GROUP, "family:other"]), max_size=3)

mostly = st.sampled_from([True] * 9 + [False])


@st.composite
def machines(draw: st.DrawFn, name: str) -> Machine:
    held = draw(groups)
    gpus = draw(st.sampled_from([0, 1, 2, 3]))
    return Machine(
        name,
        cpu=draw(room),
        memory=draw(room),
        ports=draw(st.sets(st.sampled_from([80, 443]))),
        gpus=gpus,
        gpus_held=draw(st.integers(0, gpus)),
        attributes=draw(attributes),
        capable=draw(mostly),
        status="ACTIVE" if draw(mostly) else "DRAINING",
        connected=draw(mostly),
        agent_version=draw(st.sampled_from(["1.9.0", "1.10.0", "1.2.3"])),
        groups=held,
        running=draw(st.integers(0, len(held))),
    )


fleets = st.sampled_from([0, 1, 2, 4, 6, 7, 7]).flatmap(
    lambda size: st.tuples(*(machines(name) for name in "abcdefg"[:size]))
)
over_values = st.sampled_from(["spread attribute:site", "spread attribute:rack", "spread attribute:none"])
strategies = st.lists(
    over_values | st.sampled_from(["spread instanceId", "binpack cpu", "binpack memory"]), max_size=4
).map(tuple)
wishes = st.builds(
    Wanted,
    cpu=st.sampled_from([0, 50, 200]),
    memory=st.sampled_from([0, 50, 200]),
    port=st.sampled_from([None, None, None, 80]),
    gpus=st.sampled_from([0, 0, 0, 1, 2, "ALL"]),
    expressions=st.lists(st.sampled_from(["", "", *sorted(EXPRESSIONS)]), max_size=2).map(
        lambda some: tuple(each for each in some if each)
    ),
    distinct=st.sampled_from([False, False, False, True]),
    strategy=strategies,
)


def goes(answers: list[Placed | Unplaced]) -> str:
    return "".join(answer.instance_id[0] if isinstance(answer, Placed) else "-" for answer in answers)


@settings(max_examples=400, deadline=None)
@given(wishes, st.integers(1, 12), fleets)
def test_it_agrees_with_one_that_looks_at_everything(wanted: Wanted, count: int, fleet: tuple[Machine, ...]) -> None:
    answers = place(demand(wanted), count, [candidate(machine) for machine in fleet])
    where, why = by_looking_at_everything(wanted, count, fleet)
    assert goes(answers) == where
    if isinstance(answers[-1], Unplaced):
        assert {name[0]: reasons for name, reasons in answers[-1].refusals.items()} == why


@settings(deadline=None)
@given(wishes, st.integers(1, 12), fleets, st.text(max_size=3))
def test_by_chance_too_none_goes_where_it_is_refused_and_none_stays_out_where_one_would_take_it(
    wanted: Wanted, count: int, fleet: tuple[Machine, ...], seed: str
) -> None:
    by_chance = Wanted(**{**vars(wanted), "strategy": (*wanted.strategy[:1], "random")})
    by_name = {machine.name: machine for machine in fleet}
    for name in goes(place(demand(by_chance), count, [candidate(machine) for machine in fleet], seed)):
        if name == "-":
            assert all(wanted.refusals(machine) for machine in fleet)
        else:
            assert wanted.refusals(by_name[name]) == ()
            wanted.put(by_name[name])


of_the_machine = st.sampled_from([each for each in sorted(EXPRESSIONS) if "task:group" not in each])
spreads = st.builds(
    Wanted,
    cpu=st.sampled_from([0, 50, 200]),
    expressions=st.lists(of_the_machine, max_size=1).map(tuple),
    distinct=st.booleans(),
    strategy=st.sampled_from(["spread attribute:site", "spread attribute:rack"]).map(
        lambda first: (first, "spread instanceId")
    ),
)


@settings(deadline=None)
@given(spreads, st.integers(1, 30), fleets)
def test_a_spread_differs_by_more_than_one_only_where_those_with_fewer_take_no_more(
    wanted: Wanted, count: int, fleet: tuple[Machine, ...]
) -> None:
    """Of a fleet without a task of the group: what could take one in the end could have at any time before."""
    for machine in fleet:
        machine.groups = [group for group in machine.groups if group != GROUP]
    by_name = {machine.name: machine for machine in fleet}
    for name in goes(place(demand(wanted), count, [candidate(machine) for machine in fleet])).rstrip("-"):
        wanted.put(by_name[name])
    over = wanted.strategy[0].rpartition(":")[2]
    alike = defaultdict(list)
    for machine in fleet:
        alike[machine.attributes.get(over)].append(machine)
    of_value = {value: sum(each.holds(GROUP) for each in those) for value, those in alike.items()}
    for value, those in alike.items():
        for machine in those:
            if not wanted.refusals(machine):
                assert max(of_value.values()) <= of_value[value] + 1
                assert max(each.holds(GROUP) for each in those) <= machine.holds(GROUP) + 1
