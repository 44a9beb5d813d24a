"""Where tasks go by constraints and strategies.

Fleets are written as pictures: `a:berlin/2x1` is instance a, at the site berlin, which holds two tasks of the group and
one of another. Instances have 1,024 CPU units and MiB less 100 for each task on them.
"""

import heapq
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.placement.filters import (
    MEMBER_OF,
    Candidate,
    Demand,
)
from control_plane.domain.placement.place import MAX_WORDS, TOLD, Placed, Unplaced, place
from control_plane.domain.placement.rules import (
    Binpack,
    Constraints,
    Random,
    Spread,
    Strategy,
    parse_constraints,
)
from control_plane.domain.resources import Resources
from unit.control_plane.builders import an_instance

GROUP = "service:web"


def fleet(picture: str, **members: Any) -> list[Candidate]:
    found = []
    for word in picture.split():
        place, _, held = word.partition("/")
        name, _, site = place.partition(":")
        own, _, others = held.partition("x")
        tasks = int(own or 0) + int(others or 0)
        instance = an_instance(
            name,
            attributes={"site": site} if site else {},
            tasks=tasks,
            cpu=1024 - 100 * tasks,
            memory=1024 - 100 * tasks,
            **members,
        )
        groups = {GROUP: int(own or 0), "family:other": int(others or 0)}
        found.append(Candidate(instance, frozenset(), {name: count for name, count in groups.items() if count}, tasks))
    return found


def demand(*strategy: Strategy, constraints: Constraints | None = None, size: int = 100) -> Demand:
    needs = Resources(cpu=size, memory=size)
    return Demand(needs, group=GROUP, constraints=constraints or Constraints(), strategy=strategy)


def ids(answers: list[Placed | Unplaced]) -> str:
    return "".join(answer.instance_id[0] if isinstance(answer, Placed) else "-" for answer in answers)


def member_of(*expressions: str) -> Constraints:
    return parse_constraints([{"type": "memberOf", "expression": each} for each in expressions])


DISTINCT = parse_constraints([{"type": "distinctInstance"}])
SITE, HOST, CPU, MEMORY = Spread("site"), Spread(), Binpack("cpu"), Binpack("memory")


@pytest.mark.parametrize(
    ("strategy", "picture", "goes"),
    [
        pytest.param([], "a b c/x1", "abab", id="no-strategy-goes-by-the-fewest-tasks"),
        pytest.param([MEMORY], "a b/1 c", "bbbb", id="binpack-fills-the-fullest"),
        pytest.param([CPU], "a/8 b/9", "baa-", id="binpack-goes-on-with-the-next-fullest"),
        pytest.param([HOST], "a/2 b/x5 c/1", "bcba", id="spread-counts-the-tasks-of-the-group"),
        pytest.param([SITE], "a:x/2 b:y c:y", "bcba", id="spread-over-an-attribute-evens-out"),
        pytest.param([SITE], "a:x b:x c:x d:y", "adbd", id="spread-over-an-attribute-counts-sites-not-instances"),
        pytest.param([SITE], "a b:y", "abab", id="instances-without-the-attribute-are-one-more-value"),
        pytest.param([SITE, HOST], "a:x/1 b:x c:y d:y", "cbdacb", id="sites-first-then-instances-within-each"),
        pytest.param([SITE, MEMORY], "a:x b:x/x3 c:y d:y/x1", "bdbdbd", id="sites-first-then-the-fullest"),
        pytest.param([SITE, MEMORY], "a:x b:y/x3", "bab", id="equal-sites-are-chosen-by-the-next-strategy"),
        pytest.param([MEMORY, SITE], "a:x/x1 b:y/x1 c:y", "aaaaaaaaabbb", id="a-spread-that-comes-second"),
    ],
)
def test_strategies(strategy: list[Strategy], picture: str, goes: str) -> None:
    assert ids(place(demand(*strategy), len(goes), fleet(picture))) == goes


def test_tasks_on_an_instance_that_drains_do_not_count() -> None:
    gone = fleet("a:x/5", status=InstanceStatus.DRAINING)
    assert ids(place(demand(SITE), 2, [*gone, *fleet("b:x c:y")])) == "bc"


@pytest.mark.parametrize(
    ("constraints", "picture", "goes"),
    [
        pytest.param(member_of("attribute:site == x"), "a:x b:y", "aa", id="member-of"),
        pytest.param(member_of("attribute:site exists", "attribute:site != x"), "a:x b:y c", "b", id="all-must-hold"),
        pytest.param(DISTINCT, "a b c/1", "ab-", id="one-task-of-the-group-on-each"),
        pytest.param(DISTINCT, "a/x3 b", "ba-", id="tasks-of-other-groups-do-not-matter"),
        pytest.param(member_of("task:group == family:other"), "a b/x1", "bb", id="with-others"),
        pytest.param(member_of("not(task:group == family:other)"), "a b/x1", "aa", id="away-from-others"),
        pytest.param(member_of("task:group == service:web"), "a b/1", "bb", id="with-its-own-kind"),
        pytest.param(member_of("!(task:group == service:web)"), "a b", "ab-", id="away-from-its-own-kind"),
        pytest.param(member_of("runningTasksCount < 1"), "a b/1", "aa", id="tasks-that-start-do-not-run-yet"),
    ],
)
def test_constraints(constraints: Constraints, picture: str, goes: str) -> None:
    assert ids(place(demand(constraints=constraints), len(goes), fleet(picture))) == goes


def test_why_not_is_counted_and_said_of_each() -> None:
    wanted = demand(constraints=member_of("attribute:site == z", "attribute:site exists"), size=900)
    [answer] = place(wanted, 1, fleet("a:x b c:z/x2"))
    assert isinstance(answer, Unplaced)
    assert answer.counted == {MEMBER_OF: 2, "RESOURCE:CPU": 1, "RESOURCE:MEMORY": 1}
    assert answer.detail("a" * 32) == f"{MEMBER_OF} (does not satisfy: attribute:site == z)"
    assert answer.detail("b" * 32) == (
        f"{MEMBER_OF} (does not satisfy: attribute:site == z; does not satisfy: attribute:site exists)"
    )
    assert answer.detail("c" * 32) == (
        "RESOURCE:CPU, RESOURCE:MEMORY (CPU: wants 900 units, has 824 left; memory: wants 900 MiB, has 824 left)"
    )


@pytest.mark.parametrize(
    ("picture", "members", "order"),
    [
        pytest.param("a:x b:z/x5", {}, "ba", id="one-that-is-what-is-wanted-before-one-that-has-room"),
        pytest.param("a:z/x5 b:z/x3 c:z/x9", {}, "bac", id="one-that-lacks-less-before-one-that-lacks-more"),
        pytest.param("a:z/x3 b:z/3", {"c": {"agent_connected": False}}, "cab", id="one-reason-before-two"),
        pytest.param("", {"a": {"cpu": -500}, "b": {"cpu": 0}}, "ba", id="below-nothing-is-farther-than-nothing"),
        pytest.param("", {"a": {"gpus": ()}, "b": {"gpus": ("g",), "memory": 800}}, "ba", id="no-gpu-at-all"),
        pytest.param("b:x a:x", {}, "ab", id="equal-ones-by-their-ids"),
    ],
)
def test_the_closest_comes_first(picture: str, members: dict[str, dict[str, Any]], order: str) -> None:
    others = [
        Candidate(an_instance(name, **{"attributes": {"site": "z"}, **each}), frozenset())
        for name, each in members.items()
    ]
    wanted = demand(constraints=member_of("attribute:site == z"), size=900)
    if any("gpus" in each for each in members.values()):
        wanted = replace(wanted, gpus={"main": 1})
    [answer] = place(wanted, 1, [*fleet(picture), *others])
    assert isinstance(answer, Unplaced)
    assert "".join(name[0] for name in answer.refusals) == order
    assert answer.closest == order[0] * 32


def test_of_a_large_fleet_it_is_said_of_the_closest_what_they_lack() -> None:
    far = [Candidate(an_instance(instance_id=f"{number:032}"), frozenset()) for number in range(TOLD)]
    [answer] = place(demand(constraints=member_of("attribute:site == z"), size=900), 1, [*far, *fleet("f:z/x3")])
    assert isinstance(answer, Unplaced)
    assert len(answer.refusals) == TOLD + 1
    assert len(answer.lacks) == TOLD
    assert answer.lacks["f" * 32] == ("CPU: wants 900 units, has 724 left", "memory: wants 900 MiB, has 724 left")


def test_however_long_an_expression_is_what_is_answered_of_it_is_bounded() -> None:
    sites = ", ".join(f"site-{number}" for number in range(200))
    [answer] = place(demand(constraints=member_of(f"attribute:site in [{sites}]")), 1, fleet("a"))
    assert isinstance(answer, Unplaced)
    assert answer.lacks["a" * 32] == (f"does not satisfy: attribute:site in [{sites}]",)
    assert answer.detail("a" * 32).startswith(f"{MEMBER_OF} (does not satisfy: attribute:site in [site-0, site-1")
    assert answer.detail("a" * 32).endswith("…)")
    assert len(answer.words("a" * 32)) == MAX_WORDS + len(" ()")


def test_what_was_decided_by_attributes_must_stand() -> None:
    [candidate] = fleet("a:x", attributes_version=3)
    wanted = demand(constraints=member_of("attribute:site == x"))
    assert place(wanted, 1, [candidate]) == [Placed("a" * 32, 1, {"attributesVersion": 3})]
    assert place(demand(), 1, [candidate]) == [Placed("a" * 32, 1, {})]


def test_an_attribute_is_what_the_api_said_last_then_what_the_agent_said() -> None:
    instance = an_instance(
        attributes={"site": "agent", "rack": "r1", "row": "1"},
        put_attributes={"site": "api", "plain": ""},
        deleted_attributes=frozenset({"rack", "gone"}),
    )
    candidate = Candidate(instance, frozenset({"ecs.capability.external", "gone"}))
    names = ["site", "rack", "row", "plain", "ecs.capability.external", "gone", "none"]
    assert [candidate.attribute(name) for name in names] == ["api", None, "1", "", "", None, None]


def test_chance_is_fair_and_its_seed_decides() -> None:
    answers = place(demand(Random(), size=0), 3000, fleet("a b c"), "seed")
    assert all(900 < count < 1100 for count in Counter(ids(answers)).values())
    assert place(demand(Random(), size=0), 50, fleet("a b c"), "seed") == answers[:50]
    assert place(demand(Random(), size=0), 50, fleet("a b c"), "other") != answers[:50]


def pushes(monkeypatch: pytest.MonkeyPatch, racks: int, tasks: int) -> int:
    """How often something is put into a heap to place tasks over the racks of one site."""
    candidates = [
        Candidate(an_instance(instance_id=f"{rack:032}", attributes={"site": "x", "rack": str(rack)}), frozenset())
        for rack in range(racks)
    ]
    counted = 0
    push = heapq.heappush

    def counting(heap: list[Any], item: Any) -> None:
        nonlocal counted
        counted += 1
        push(heap, item)

    with monkeypatch.context() as patched:
        patched.setattr(heapq, "heappush", counting)
        place(demand(SITE, Spread("rack"), MEMORY), tasks, candidates)
    return counted


def test_a_place_costs_the_same_among_ten_values_and_among_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (pushes(monkeypatch, racks, 9) - pushes(monkeypatch, racks, 0) for racks in (10, 1000))
    assert few == many > 0
