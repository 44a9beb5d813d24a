"""Which tasks go when a service has too many: those that leave the others spread best, and never a protected one.

Tasks are drawn as the groups that they are in: `a/1` is in site a, rack 1; `!` after it means protected.
"""

from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.placement.rules import Binpack, Spread, Strategy
from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.ranking import Groups, group_of
from control_plane.domain.service import RolloutState
from control_plane.domain.task import Task
from ecs_protocol.statuses import TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task, an_instance


def a_fleet(drawn: list[str]) -> tuple[list[Task], Groups]:
    """A task on each of as many instances, the last one the newest."""
    tasks, groups = [], {}
    for number, word in enumerate(drawn):
        instance_id = f"{number:032x}"
        groups[instance_id] = tuple(word.rstrip("!").split("/"))
        members: dict[str, Any] = {"protected_until": NOW + timedelta(hours=1)} if word.endswith("!") else {}
        created = NOW + timedelta(seconds=number)
        running = {"last_status": TaskStatus.RUNNING, "started_at": NOW, "created_at": created}
        tasks.append(a_task(number, instance_id=instance_id, **running, **members))
    return tasks, groups


def scaled_in(drawn: list[str], desired: int) -> tuple[ServicePlan, list[str]]:
    """What is planned, and what stays."""
    tasks, groups = a_fleet(drawn)
    service = a_service(desired_count=desired)
    done = service.deployment.model_copy(update={"rollout_state": RolloutState.COMPLETED})
    planned = plan(service.model_copy(update={"deployment": done}), tasks, NOW, groups=groups)
    gone = {task.task_id for task in planned.stop}
    return planned, [word for word, task in zip(drawn, tasks, strict=True) if task.task_id not in gone]


@pytest.mark.parametrize(
    ("drawn", "desired", "stay"),
    [
        pytest.param("a a a b", 2, "a b", id="the-fullest-group-first"),
        pytest.param("a a b b", 2, "a b", id="then-each-in-its-turn"),
        pytest.param("a a b b", 3, "a a b", id="of-groups-alike-the-newest-task"),
        pytest.param("a/1 a/1 a/2 b/1", 2, "a/1 b/1", id="in-several-levels-in-their-order"),
        pytest.param("a/1 a/1 a/2 b/1", 3, "a/1 a/2 b/1", id="within-a-group-its-fullest-group"),
        pytest.param("a a! a! b", 2, "a! a!", id="protected-ones-count-and-stay"),
    ],
)
def test_who_stays(drawn: str, desired: int, stay: str) -> None:
    assert scaled_in(drawn.split(), desired)[1] == stay.split()


words = st.lists(
    st.builds(
        lambda site, rack, end: f"{site}/{rack}{end}",
        st.sampled_from("abc"),
        st.sampled_from("123"),
        st.sampled_from(["", "", "!"]),
    ),
    max_size=30,
)


@given(words, st.integers(0, 30))
def test_what_stays_is_spread_as_evenly_as_it_can_be(drawn: list[str], desired: int) -> None:
    """At each level: no group that lost a task has two fewer than another one that could still have lost one."""
    planned, stay = scaled_in(drawn, desired)
    protected = [word for word in drawn if word.endswith("!")]
    assert len(stay) == (max(desired, len(protected)) if len(drawn) > desired else len(drawn))
    assert [word for word in stay if word.endswith("!")] == protected
    assert planned.protected == (max(0, len(protected) - desired) if len(stay) == len(drawn) else 0)
    for depth in (1, 2):
        before, after, free = (_counted(each, depth) for each in (drawn, stay, [w for w in stay if w not in protected]))
        beside: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        for group in before:
            beside[group[:-1]].append(group)
        for groups in beside.values():
            most = max((after[group] for group in groups if free[group]), default=0)
            assert all(after[group] >= most - 1 for group in groups if after[group] < before[group])


def _counted(drawn: list[str], depth: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(word.rstrip("!").split("/"))[:depth] for word in drawn)


@pytest.mark.parametrize(
    ("strategy", "group"),
    [
        pytest.param((), (), id="no-spread"),
        pytest.param((Binpack("memory"),), (), id="binpack-says-nothing-of-who-goes"),
        pytest.param((Spread("site"),), ("oslo",), id="an-attribute"),
        pytest.param((Spread("site"), Spread("rack"), Binpack("cpu")), ("oslo", ""), id="one-that-it-has-not"),
        pytest.param((Spread(), Spread("site")), ("a" * 32, "oslo"), id="instances"),
    ],
)
def test_what_an_instance_counts_for(strategy: tuple[Strategy, ...], group: tuple[str, ...]) -> None:
    assert group_of(an_instance(attributes={"site": "oslo"}), strategy) == group
