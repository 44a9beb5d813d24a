"""Account settings: whose word holds, what may be said, and what it changes."""

from typing import Any

import pytest
from botocore.session import Session

from control_plane.domain.account_setting import KINDS
from control_plane.domain.errors import InvalidParameterException
from control_plane.flows.account_settings import (
    delete_account_setting,
    list_account_settings,
    put_account_setting,
    put_account_setting_default,
)
from control_plane.flows.clusters import create_cluster
from world import World

ROOT = "arn:aws:iam::123456789012:root"
ANN = "arn:aws:iam::123456789012:user/ann"
BOB = "arn:aws:iam::123456789012:role/team/bob"


def a_setting(name: str, value: str, principal: str = ROOT, kind: str = "user") -> dict[str, Any]:
    return {"name": name, "value": value, "principalArn": principal, "type": kind}


def listed(world: World, **request: Any) -> list[dict[str, Any]]:
    settings: list[dict[str, Any]] = list_account_settings(world.cp, request)["settings"]
    return settings


def test_every_setting_of_amazons_is_known() -> None:
    model = Session().get_service_model("ecs")
    assert set(KINDS) == set(model.shape_for("SettingName").enum)  # type: ignore[attr-defined]
    assert list(KINDS) == sorted(KINDS)


def test_nothing_is_listed_until_it_is_set(world: World) -> None:
    assert listed(world) == []
    answer = put_account_setting(world.cp, {"name": "containerInsights", "value": "enabled"})
    assert answer == {"setting": a_setting("containerInsights", "enabled")}
    assert listed(world) == [a_setting("containerInsights", "enabled")]


def test_what_holds_if_nobody_has_said_anything(world: World) -> None:
    first = list_account_settings(world.cp, {"effectiveSettings": True})
    rest = list_account_settings(world.cp, {"effectiveSettings": True, "nextToken": first["nextToken"]})
    assert "nextToken" not in rest
    assert [*first["settings"], *rest["settings"]] == [
        a_setting("awsvpcTrunking", "disabled"),
        a_setting("containerInsights", "disabled"),
        a_setting("containerInstanceLongArnFormat", "enabled"),
        a_setting("defaultLogDriverMode", "non-blocking"),
        a_setting("fargateEventWindows", "disabled"),
        a_setting("fargateFIPSMode", "disabled"),
        a_setting("fargateTaskRetirementWaitPeriod", "7"),
        a_setting("guardDutyActivate", "off", kind="aws_managed"),
        a_setting("serviceLongArnFormat", "enabled"),
        a_setting("tagResourceAuthorization", "on"),
        a_setting("taskLongArnFormat", "enabled"),
    ]


def test_ones_own_word_goes_before_the_root_users(world: World) -> None:
    name = {"name": "containerInsights"}
    effective = {**name, "effectiveSettings": True}
    put_account_setting_default(world.cp, {**name, "value": "enhanced"})
    put_account_setting(world.cp, {**name, "value": "enabled", "principalArn": ANN})
    assert listed(world, **effective, principalArn=ANN) == [a_setting("containerInsights", "enabled", ANN)]
    assert listed(world, **effective, principalArn=BOB) == [a_setting("containerInsights", "enhanced", ROOT)]
    assert listed(world, **name, principalArn=BOB) == []
    for _ in range(2):
        answer = delete_account_setting(world.cp, {**name, "principalArn": ANN})
        assert answer == {"setting": a_setting("containerInsights", "enhanced", ANN)}
    assert delete_account_setting(world.cp, name)["setting"]["value"] == "disabled"


def test_filters(world: World) -> None:
    assert listed(world, effectiveSettings=True, name="taskLongArnFormat", value="disabled") == []
    assert len(listed(world, effectiveSettings=True, name="taskLongArnFormat", value="enabled")) == 1
    with pytest.raises(InvalidParameterException, match="account setting name"):
        listed(world, value="enabled")


def test_container_insights_is_what_new_clusters_begin_with(world: World) -> None:
    put_account_setting_default(world.cp, {"name": "containerInsights", "value": "enhanced"})
    [setting] = create_cluster(world.cp, {"clusterName": "a"})["cluster"]["settings"]
    assert setting == {"name": "containerInsights", "value": "enhanced"}
    own = [{"name": "containerInsights", "value": "disabled"}]
    assert create_cluster(world.cp, {"clusterName": "b", "settings": own})["cluster"]["settings"] == own


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, kind in KINDS.items() if not kind.aws_managed for value in (kind.default,)],
)
def test_a_default_may_be_said(world: World, name: str, value: str) -> None:
    assert put_account_setting(world.cp, {"name": name, "value": value})["setting"]["value"] == value


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param({"name": "serviceLongArnFormat", "value": "disabled"}, "long format", id="short-service-arns"),
        pytest.param({"name": "taskLongArnFormat", "value": "disabled"}, "long format", id="short-task-arns"),
        pytest.param({"name": "defaultLogDriverMode", "value": "blocking"}, "logConfiguration", id="blocking-logs"),
        pytest.param({"name": "tagResourceAuthorization", "value": "off"}, "permission", id="tags-for-all"),
        pytest.param({"name": "guardDutyActivate", "value": "on"}, "read-only", id="managed-by-aws"),
        pytest.param({"name": "containerInsights", "value": "ENABLED"}, "Invalid setting 'value'", id="case"),
        pytest.param({"name": "fargateTaskRetirementWaitPeriod", "value": "8"}, "0 or 7 or 14", id="days"),
        pytest.param({"name": "awsvpcTrunking", "value": ""}, "enabled or disabled", id="empty"),
        pytest.param(
            {"name": "awsvpcTrunking", "value": "enabled", "principalArn": "arn:aws:iam::210987654321:user/ann"},
            "Invalid principalArn",
            id="another-account",
        ),
        pytest.param(
            {"name": "awsvpcTrunking", "value": "enabled", "principalArn": "ann"}, "Invalid principalArn", id="no-arn"
        ),
    ],
)
def test_what_is_refused_changes_nothing(world: World, request_: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterException, match=words):
        put_account_setting(world.cp, request_)
    assert listed(world) == []
