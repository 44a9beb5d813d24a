"""Who may do what: policies, scopes, and what a pattern is like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.arns import Arns
from control_plane.domain.authorization import Caller, Need, Policy, Statement, arn_like, like, why_refused
from control_plane.domain.concerned_resources import resource_of

ARNS = Arns(region="eu-west-1", account="123456789012")
CI = Caller(principal="ci")
TASK = ARNS.task("prod", "0" * 32)
CLUSTER = ARNS.cluster("prod")
OTHER = ARNS.cluster("other")


def policy(*statements: Statement) -> Policy:
    return Policy(principal="ci", name="all", statements=statements)


def allow(*actions: str, on: str = CLUSTER) -> Statement:
    return Statement(effect="Allow", actions=actions, resources=(on,))


def deny(*actions: str, on: str = CLUSTER) -> Statement:
    return Statement(effect="Deny", actions=actions, resources=(on,))


def decision(action: str, arn: str, *statements: Statement, caller: Caller = CI) -> str | None:
    refused = why_refused([Need(action, resource_of(arn, ARNS))], caller, [policy(each) for each in statements])
    return refused[1] if refused else None


NONE_ALLOWS = "because no identity-based policy allows the ecs:StopTask action"
DENIED = "with an explicit deny in an identity-based policy"
OUT_OF_SCOPE = "because no permissions boundary allows the ecs:StopTask action"


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        pytest.param([], NONE_ALLOWS, id="without-policies-nothing"),
        pytest.param([allow("ecs:StopTask")], None, id="a-cluster-is-all-that-is-in-it"),
        pytest.param([allow("ecs:stoptask")], None, id="actions-are-of-any-case"),
        pytest.param([allow("ecs:Stop*")], None, id="any-characters"),
        pytest.param([allow("ecs:?topTask")], None, id="one-character"),
        pytest.param([allow("*", on="*")], None, id="everything"),
        pytest.param([allow("ecs:StopTask", on=TASK)], None, id="one-task"),
        pytest.param([allow("ecs:StopTask", on="arn:*:ecs:*:*:task/prod/*")], None, id="every-task-of-a-cluster"),
        pytest.param([allow("ecs:Describe*", "ecs:RunTask")], NONE_ALLOWS, id="another-action"),
        pytest.param([allow("ecs:StopTask", on=OTHER)], NONE_ALLOWS, id="another-cluster"),
        pytest.param([allow("ecs:StopTask", on=f"{CLUSTER}-too")], NONE_ALLOWS, id="a-cluster-of-a-longer-name"),
        pytest.param([allow("ecs:StopTask", on=CLUSTER.replace("prod", "PROD"))], NONE_ALLOWS, id="names-have-a-case"),
        pytest.param([allow("*", on="*"), deny("ecs:StopTask")], DENIED, id="deny-wins"),
        pytest.param([deny("ecs:*", on=TASK), allow("*", on="*")], DENIED, id="in-whatever-order"),
        pytest.param([deny("ecs:StopTask", on=OTHER), allow("ecs:StopTask")], None, id="a-denial-of-something-else"),
    ],
)
def test_policies(statements: list[Statement], why: str | None) -> None:
    assert decision("ecs:StopTask", TASK, *statements) == why


def test_every_need_is_to_be_granted() -> None:
    needs = [Need("ecs:RunTask", resource_of(arn, ARNS)) for arn in (CLUSTER, ARNS.task_definition("web:1"))]
    assert why_refused(needs, CI, [policy(allow("ecs:RunTask"))]) == (
        needs[1],
        "because no identity-based policy allows the ecs:RunTask action",
    )
    both = policy(allow("ecs:RunTask"), allow("ecs:RunTask", on="arn:*:ecs:*:*:task-definition/web:*"))
    assert why_refused(needs, CI, [both]) is None


@pytest.mark.parametrize(
    ("clusters", "arn", "why"),
    [
        pytest.param(("prod",), TASK, None, id="its-cluster"),
        pytest.param(("other",), TASK, OUT_OF_SCOPE, id="another-cluster"),
        pytest.param(("other",), ARNS.task_definition("web:1"), None, id="of-no-cluster"),
    ],
)
def test_the_scope_of_a_key_only_takes_away(clusters: tuple[str, ...], arn: str, why: str | None) -> None:
    caller = Caller(principal="ci", clusters=clusters)
    assert decision("ecs:StopTask", arn, allow("*", on="*"), caller=caller) == why
    assert decision("ecs:StopTask", arn, caller=caller) == NONE_ALLOWS


@pytest.mark.parametrize(
    "arn",
    [
        pytest.param("arn:aws:ecs:eu-west-1:999999999999:task/prod/1", id="another-account"),
        pytest.param("arn:aws:ecs:us-east-1:123456789012:task/prod/1", id="another-region"),
        pytest.param(f"{ARNS.prefix}service/other/x:cluster/prod", id="an-arn-within-a-name"),
        pytest.param(f"{ARNS.prefix}task/prod/../other/1", id="dots"),
        pytest.param("prod", id="no-arn"),
    ],
)
def test_what_is_no_arn_of_ours_needs_everything(arn: str) -> None:
    assert decision("ecs:StopTask", arn, allow("*", on="arn:*:ecs:*:*:*")) == NONE_ALLOWS
    assert decision("ecs:StopTask", arn, allow("*", on="*")) is None


def test_a_part_of_an_arn_ends_at_its_colon() -> None:
    assert arn_like("arn:*:ecs:*:*:cluster/*", CLUSTER)
    assert not arn_like("arn:*:cluster/prod", CLUSTER)
    assert not arn_like("arn:aws:ecs:*:cluster/prod", CLUSTER)


@given(pattern=st.text("ab*?", max_size=8), text=st.text("ab", max_size=10))
def test_a_pattern_is_like_what_a_regular_expression_matches(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(each, each) for each in pattern)
    assert like(pattern, text) == bool(re.fullmatch(expression, text))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not like("*a" * 50 + "b", "a" * 5000)
