"""GPUs by their ids: how many are wanted, who gets which, and that nobody ever shares one."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.gpus import EVERY, all_gpu_ids, free_gpus, pinned_gpus, told_gpus, wanted_gpus
from control_plane.domain.placement.place import Demand, Placed, Unplaced, place
from control_plane.domain.resources import Resources
from unit.control_plane.builders import a_candidate, an_instance


def ids(text: str) -> frozenset[str]:
    """`abc`: three GPUs."""
    return frozenset(text)


def asks(**gpus: int) -> Demand:
    return Demand(Resources(), gpus=gpus)


@pytest.mark.parametrize(
    ("requirements", "wanted"),
    [
        pytest.param([], {}, id="none"),
        pytest.param([{"type": "GPU", "value": "2"}], {"main": 2}, id="a-number"),
        pytest.param([{"type": "GPU", "value": "ALL"}], {"main": EVERY}, id="all"),
        pytest.param([{"type": "InferenceAccelerator", "value": "eia"}], {}, id="something-else"),
    ],
)
def test_what_a_definition_wants(requirements: list[dict[str, str]], wanted: dict[str, int]) -> None:
    main, side = {"name": "main", "resourceRequirements": requirements}, {"name": "side"}
    assert wanted_gpus({"containerDefinitions": [main, side]}) == wanted


@pytest.mark.parametrize(
    ("members", "wanted", "pinned"),
    [
        pytest.param({}, {"main": 1}, {"main": ("a",)}, id="the-first"),
        pytest.param({}, {"main": 1, "side": 2}, {"main": ("a",), "side": ("b", "c")}, id="each-container-its-own"),
        pytest.param({}, {"main": EVERY}, {"main": ("a", "b", "c")}, id="all"),
        pytest.param({}, {"main": 4}, None, id="more-than-there-are"),
        pytest.param({}, {"main": 2, "side": 2}, None, id="more-than-there-are-together"),
        pytest.param({"held_gpus": ids("a")}, {"main": 2}, {"main": ("b", "c")}, id="what-no-task-holds"),
        pytest.param({"held_gpus": ids("a")}, {"main": 3}, None, id="a-task-holds-one"),
        pytest.param({"held_gpus": ids("a")}, {"main": EVERY}, None, id="all-means-all-of-the-machine"),
        pytest.param({"orphan_gpus": ids("ab")}, {"main": 1}, {"main": ("c",)}, id="what-no-orphan-has"),
        pytest.param({"held_gpus": ids("xyz")}, {"main": EVERY}, {"main": ("a", "b", "c")}, id="what-is-gone"),
        pytest.param({"gpus": ids("")}, {"main": EVERY}, None, id="all-of-none"),
        pytest.param({"gpus": ids("")}, {"main": 1}, None, id="none"),
        pytest.param({"gpus": ids("")}, {}, {}, id="nothing-wanted-of-none"),
    ],
)
def test_who_gets_which(
    members: Mapping[str, Any], wanted: dict[str, int], pinned: dict[str, tuple[str, ...]] | None
) -> None:
    candidate = a_candidate("a", **{"gpus": ids("abc"), **members})
    expected = Unplaced({"a" * 32: ("RESOURCE:GPU",)}) if pinned is None else Placed("a" * 32, 1, {}, pinned)
    assert place(asks(**wanted), 1, [candidate]) == [expected]


def test_tasks_that_are_placed_together_get_others() -> None:
    fleet = [a_candidate("a", gpus=ids("uv")), a_candidate("b", gpus=ids("x"))]
    answers = place(asks(main=1), 4, fleet)
    got = [(each.instance_id[0], each.gpu_ids["main"]) for each in answers if isinstance(each, Placed)]
    assert got == [("a", ("u",)), ("b", ("x",)), ("a", ("v",))]
    assert isinstance(answers[3], Unplaced)


def test_what_is_short_is_said_in_numbers() -> None:
    fleet = [a_candidate("a", gpus=ids("abc"), held_gpus=ids("ab"))]
    for many, words in ((2, "GPUs: wants 2, has 1 of 3 left"), (EVERY, "GPUs: wants all, has 1 of 3 left")):
        demand = asks(main=many)
        [answer] = place(demand, 1, fleet)
        assert isinstance(answer, Unplaced)
        assert answer.lacks == {"a" * 32: (words,)}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        pytest.param({"main": "ab", "side": "c"}, {"main": ("a", "b"), "side": ("c",)}, id="as-it-is-told"),
        pytest.param({"main": "ax", "side": "y"}, {"main": ("a",)}, id="none-that-the-machine-has-not"),
        pytest.param({"main": "aab", "side": "bc"}, {"main": ("a", "b"), "side": ("c",)}, id="none-twice"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_what_a_machine_tells_of_an_orphan(told: dict[str, str], kept: dict[str, tuple[str, ...]]) -> None:
    assert told_gpus(an_instance(gpus=ids("abc")), told) == kept


gpu_sets = st.frozensets(st.sampled_from("abcdef"))


@given(
    st.lists(st.tuples(gpu_sets, gpu_sets, gpu_sets), max_size=4),
    st.dictionaries(st.sampled_from(["main", "side", "log"]), st.integers(1, 3), min_size=1) | st.just({"main": EVERY}),
    st.integers(1, 10),
)
def test_no_gpu_is_ever_given_twice_and_none_is_withheld(
    rows: list[tuple[frozenset[str], frozenset[str], frozenset[str]]], wanted: dict[str, int], count: int
) -> None:
    fleet = [
        a_candidate("abcd"[number], gpus=gpus, held_gpus=held, orphan_gpus=orphans)
        for number, (gpus, held, orphans) in enumerate(rows)
    ]
    free = {each.instance.instance_id: set(free_gpus(each.instance)) for each in fleet}
    all_of = {each.instance.instance_id: set(each.instance.gpus) for each in fleet}
    for answer in place(asks(**wanted), count, fleet):
        if isinstance(answer, Placed):
            given_now = [gpu_id for gpu_ids in answer.gpu_ids.values() for gpu_id in gpu_ids]
            assert len(given_now) == len(set(given_now))
            assert set(given_now) <= free[answer.instance_id]
            if EVERY in wanted.values():
                assert set(given_now) == all_of[answer.instance_id]
            else:
                assert {name: len(gpu_ids) for name, gpu_ids in answer.gpu_ids.items()} == wanted
            free[answer.instance_id] -= set(given_now)
        elif EVERY in wanted.values():
            assert not any(left and left == all_of[name] for name, left in free.items())
        else:
            assert all(len(left) < sum(wanted.values()) for left in free.values())


def test_the_ids_of_a_task_are_those_of_all_its_containers() -> None:
    assert all_gpu_ids(pinned_gpus(an_instance(gpus=ids("abc")), {"main": 1, "side": 2})) == ids("abc")
