"""What a REPLICA service's scheduler does next, where several things come together (pictures.py)."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.scheduling.aftermath import service_after
from control_plane.domain.scheduling.plan import ServicePlan
from control_plane.domain.scheduling.service_events import of_plan
from control_plane.domain.service import CircuitBreaker, Service
from unit.control_plane.builders import NOW
from unit.scheduling.pictures import Picture, drawn

BREAKER = CircuitBreaker(enable=True, rollback=True)


@pytest.mark.parametrize(
    ("wanted", "machines", "next_step"),
    [
        pytest.param("2 at 100/200", "a: 2- 2+", "start 1", id="an-ill-one-gets-its-replacement-first"),
        pytest.param("2 at 100/200", "a: 2- 2+ 2.", "nothing", id="and-stays-while-that-is-pending"),
        pytest.param("2 at 100/200", "a: 2- 2+ 2?", "nothing", id="and-until-it-is-known-to-be-healthy"),
        pytest.param("2 at 100/200", "a: 2- 2+ 2+", "ill a2-", id="and-goes-then"),
        pytest.param("2 at 100/200", "a: 2- 2- 2+ 2.", "ill a2-", id="of-two-that-are-ill-one-for-each-that-is-well"),
        pytest.param("1 at 100/200", "a: 2- 2-", "ill a2-", id="what-takes-the-place-is-ill-itself"),
        pytest.param("1 at 100/200", "a: 2- 2+ 2+", "stop a2+, ill a2-", id="ill-and-scaled-in"),
        pytest.param("0 at 100/200", "a: 2- 2+", "stop a2+, ill a2-", id="ill-and-scaled-to-0"),
        pytest.param("2 at 50/100", "a: 2- 2+", "ill a2-", id="without-room-for-another-it-goes-first"),
        pytest.param("4 at 50/125", "a: 2- 2- 2- 2+", "start 1, ill a2- a2-", id="as-far-as-there-is-no-room"),
        pytest.param("2 at 100/200", "a: 1+ 1+ 2- 2.", "ill a2-", id="ill-in-a-deployment-that-takes-all-the-room"),
        pytest.param("2 at 50/100 FAILED", "a: 2- 2+", "nothing", id="nothing-will-take-its-place-in-a-failed-one"),
        pytest.param("2 at 100/200", "a: 2-! 2+ 2+", "ill a2-!", id="health-goes-before-protection"),
        pytest.param("2 at 100/200", "a~: 2- | b: 2+", "nothing", id="of-a-machine-that-is-away-it-is-not-known"),
        pytest.param("2 at 100/200", "a: 2+ 2+ 2?", "stop a2?", id="scaling-in-what-is-not-healthy-yet-goes-first"),
        pytest.param("2 at 100/200", "a: 2+ 2+ 2+!", "stop a2+", id="and-what-is-protected-stays"),
        pytest.param("2 at 100/200", "a: 1+ | b~: 1+ | c: 2+", "start 1, stop b1+", id="who-is-away-goes-first"),
        pytest.param("2 at 100/200", "a: 1+ | b~: 1> | c: 2+", "start 1", id="who-is-away-and-told-blocks-nothing"),
        pytest.param("2 at 100/200", "a~: 2. | b: 1+ 1+ 2+", "stop b1+", id="a-start-that-nobody-heard-yet-counts"),
        pytest.param("2 at 0/100", "a: 1+ 1+", "stop a1+ a1+", id="at-0-to-100-all-stop"),
        pytest.param("2 at 0/100", "a: 1> 1>", "nothing", id="and-nothing-starts-before-they-have"),
        pytest.param("2 at 0/100", "a: 1>", "start 1", id="each-gives-its-place-to-one"),
        pytest.param("1 at 99/199", "a: 1+", "stuck", id="desired-1-at-less-than-200"),
        pytest.param("1 at 99/199", "a: 1+!", "nothing", id="what-is-protected-only-waits"),
        pytest.param("1 at 99/199", "a%: 2+", "stuck", id="an-instance-that-cannot-be-emptied"),
        pytest.param("0 at 100/200", "a: 1+ 2.", "stop a1+ a2.", id="nothing-is-wanted-any-more"),
        pytest.param("0 at 100/200", "a: 1+! 2+", "stop a2+", id="but-what-is-protected"),
        pytest.param("3 at 100/200", "a: 1+ 1+", "start 3", id="scaled-out-in-a-deployment"),
        pytest.param("1 at 100/200", "a: 1+ 1+ 2.", "stop a1+", id="scaled-in-in-a-deployment"),
        pytest.param("1 at 100/200", "a: 1+ 1+ 2+", "stop a1+ a1+", id="scaled-in-with-one-that-runs"),
        pytest.param("2 at 100/200", "a%: 1+ 1+ | b: 2+ 2.", "stop a1+", id="a-deployment-empties-an-instance"),
        pytest.param("2 at 100/200", "a%: 2+ 1+ | b: 2+", "start 1, stop a1+", id="which-has-new-ones-too"),
        pytest.param("2 at 100/200", "a%: 2+! | b: 2+ 2+", "nothing", id="but-not-of-a-protected-one"),
        pytest.param("2 at 100/200 FAILED", "a: 1+ 1+ 2.", "nothing", id="what-a-failed-one-has-begun-may-run"),
        pytest.param("2 at 100/200 FAILED", "a: 1+ 1+ 2+", "stop a1+", id="and-takes-a-place-then"),
        pytest.param("2 at 100/200 FAILED", "a: 1+ 2x", "nothing", id="and-starts-nothing"),
    ],
)
def test_the_next_step(wanted: str, machines: str, next_step: str) -> None:
    assert drawn(wanted, machines).told() == next_step


def after(picture: Picture, planned: ServicePlan, *, short: bool = False, **members: object) -> Service:
    since = NOW if short else None
    before = picture.service.model_copy(update=members)
    return service_after(before, planned, NOW, started={}, waiting_since={"ecs-svc/2": since}, more=False)


@pytest.mark.parametrize(
    ("machines", "short", "counted"),
    [
        pytest.param("a: 1+ 2x", False, 1, id="did-not-run"),
        pytest.param("a: 1+ 1x", False, 0, id="of-the-former-deployment"),
        pytest.param("a: 1+ 2+ 2x", False, 0, id="did-not-run-after-another-has"),
        pytest.param("a: 1+ 2? 2x", False, 1, id="nor-while-the-other-is-not-known-to-be-healthy"),
        pytest.param("a: 1+", True, 1, id="found-no-room"),
        pytest.param("a: 1+ 2+", True, 0, id="found-no-room-after-another-has-run"),
        pytest.param("a: 2- 2+ 2+", False, 1, id="is-stopped-for-its-health"),
        pytest.param("a: 2- 2+", False, 0, id="is-ill-and-not-stopped-yet"),
    ],
)
def test_what_counts_as_a_failure(machines: str, short: bool, counted: int) -> None:
    picture = drawn("2 at 100/200", machines, BREAKER)
    found = after(picture, picture.planned(), short=short).deployment
    assert found.failed_tasks == counted


def test_a_task_that_has_run_and_ended_between_two_looks_ends_the_first_stage() -> None:
    picture = drawn("1 at 100/200", "a: 2x 2x 2x", BREAKER)
    ran = picture.tasks[0].model_copy(update={"started_at": NOW - timedelta(seconds=9), "task_definition": "web:9"})
    planned = Picture(picture.service, (ran, *picture.tasks[1:]), {}, {}).planned()
    assert (planned.deployment.has_run, planned.deployment.failed_tasks, planned.tripped) == (True, 0, False)


@pytest.mark.parametrize("desired", [0, 1])
def test_the_circuit_breaker_of_a_small_service_wants_three(desired: int) -> None:
    failed = drawn(f"{desired} at 100/200", "a: 2x 2x", BREAKER)
    assert not failed.planned().tripped
    assert drawn(f"{desired} at 100/200", "a: 2x 2x 2x", BREAKER).planned().tripped


def test_tasks_that_fail_together_are_one_failed_start() -> None:
    together = drawn("9 at 100/200", "a: 2x 2x 2x 2x 2x 2x 2x 2x 2x").planned()
    assert (together.failed_starts, together.not_before, together.start) == (1, None, 9)
    third = drawn("9 at 100/200", "a: 2x 2x", failed_starts=2).planned()
    assert (third.failed_starts, third.not_before) == (3, NOW + timedelta(seconds=10))
    waits: dict[str, Any] = {"failed_starts": 3, "not_before": NOW + timedelta(seconds=10)}
    straggler = drawn("9 at 100/200", "a: 2x", **waits).planned()
    assert (straggler.failed_starts, straggler.not_before) == (3, NOW + timedelta(seconds=10))


def test_what_fails_of_a_former_deployment_holds_up_none_of_the_next() -> None:
    planned = drawn("9 at 100/200", "a: 1x 1x 1x 1x").planned()
    assert (planned.failed_starts, planned.start) == (0, 9)


def test_while_starts_are_put_off_what_is_due_earlier_is_looked_at_earlier() -> None:
    waits: dict[str, Any] = {"failed_starts": 9, "not_before": NOW + timedelta(minutes=27)}
    picture = drawn("2 at 100/200", "a: 2-", health_check_grace_period_seconds=60, **waits)
    assert after(picture, picture.planned()).look_at == NOW + timedelta(seconds=60)
    unharmed = drawn("2 at 100/200", "a: 2+", **waits)
    assert after(unharmed, unharmed.planned()).look_at == NOW + timedelta(minutes=27)


@given(st.integers(1, 6), st.data())
def test_the_numbers_that_are_named_where_nothing_moves_let_it_go_on(desired: int, data: st.DataObject) -> None:
    """Each by itself: bounds that round to what is wanted itself, and a deployment with at least one former task."""
    slack = st.integers(0, (99 // desired) if desired > 1 else 99)
    below, above = data.draw(st.tuples(slack, slack).filter(any))
    former = data.draw(st.integers(1, desired))
    marks = data.draw(st.sampled_from(["", "~", "%"]))
    machines = f"a{marks}: {'1+ ' * former}| b: {'2+ ' * (desired - former)}"
    picture = drawn(f"{desired} at {100 - below}/{100 + above}", machines)
    planned = picture.planned()
    assert planned.stuck
    [event] = of_plan(picture.service, planned, steady=False, now=NOW, new_id=lambda: "event")
    for member, words in (("minimum_healthy_percent", "Lower min"), ("maximum_percent", "raise max")):
        named = re.search(rf"{words}\w+ to (\d+)", event.message)
        assert named
        before = picture.service.deployment_configuration
        mended = before.model_copy(update={member: int(named[1])})
        service = picture.service.model_copy(update={"deployment_configuration": mended})
        after = replace(picture, service=service).planned()
        assert after.start or after.stop


def test_what_waits_for_a_machine_that_is_away_is_not_said_to_want_other_numbers() -> None:
    assert drawn("1 at 99/199", "a: 1+ | b~: 2.").told() == "nothing"
