"""Tags, and what two of them say."""

from datetime import timedelta

import pytest

from control_plane.domain.errors import InvalidParameterException, LimitExceededException
from control_plane.domain.tags import (
    DISCONNECT,
    RESTART,
    Absence,
    Prefer,
    checked,
    checked_keys,
    parse_absence,
    require_room,
    require_same_policy,
    restarts_offline,
)

MINUTES_10 = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("keep", Absence(), id="keep"),
        pytest.param("replace-after=10m", Absence("replace-after", MINUTES_10), id="replace"),
        pytest.param(
            "replace-after=10m prefer=replacement",
            Absence("replace-after", MINUTES_10, Prefer.REPLACEMENT),
            id="the-replacement-stays",
        ),
        pytest.param("replace-after=600s prefer=original", Absence("replace-after", MINUTES_10), id="seconds"),
        pytest.param("stop-after=2h", Absence("stop-after", timedelta(hours=2)), id="stop"),
        pytest.param("stop-after=60s", Absence("stop-after", timedelta(seconds=60)), id="shortest"),
    ],
)
def test_what_an_absence_means(text: str, expected: Absence) -> None:
    assert parse_absence(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keep=1m",
        "keep prefer=original",
        "replace-after",
        "replace-after=",
        "replace-after=10",
        "replace-after=0s",
        "replace-after=-5m",
        "replace-after=1.5h",
        "replace-after=10w",
        "replace-after=999999999d",
        "replace-after=10m prefer=both",
        "replace-after=10m prefer=original prefer=original",
        "stop-after=10m prefer=original",
        "stop-after=59s",
        "Replace-After=10m",
    ],
)
def test_an_unknown_word_or_unit_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterException, match=DISCONNECT):
        parse_absence(text)


def test_restart() -> None:
    assert restarts_offline({}, by_default=True)
    assert not restarts_offline({}, by_default=False)
    assert restarts_offline({RESTART: "offline"}, by_default=False)
    assert not restarts_offline({RESTART: "never"}, by_default=True)
    with pytest.raises(InvalidParameterException, match=RESTART):
        restarts_offline({RESTART: "always"}, by_default=True)


def test_a_tasks_policy_stays_what_it_was_at_its_start() -> None:
    before = {DISCONNECT: "keep", "team": "dev"}
    require_same_policy(before, {DISCONNECT: "keep", "team": "ops"})
    for after in ({}, {DISCONNECT: "stop-after=10m"}, {**before, RESTART: "never"}):
        with pytest.raises(InvalidParameterException, match="holds for a task from its start"):
            require_same_policy(before, after)


def test_amazons_own_tags_take_no_room() -> None:
    fifty = {f"k{number}": "" for number in range(50)}
    require_room({**fifty, "aws:ecs:clusterName": "default"})
    with pytest.raises(LimitExceededException):
        require_room({**fifty, "one": "more"})


def test_keys_that_are_to_go() -> None:
    assert checked_keys(["a", "a", "b"]) == {"a", "b"}
    with pytest.raises(InvalidParameterException, match="reserved"):
        checked_keys(["AWS:a"])


def test_tags_of_a_request() -> None:
    assert checked([{"key": "a", "value": "b"}, {"key": "c"}]) == {"a": "b", "c": ""}


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param([{"key": "", "value": "b"}], id="no-key"),
        pytest.param([{"key": "k" * 129}], id="long-key"),
        pytest.param([{"key": "k", "value": "v" * 257}], id="long-value"),
        pytest.param([{"key": "k", "value": "a,b"}], id="comma"),
        pytest.param([{"key": "aws:k"}], id="reserved"),
        pytest.param([{"key": "k"}, {"key": "k"}], id="twice"),
        pytest.param([{"key": f"k{number}"} for number in range(51)], id="too-many"),
    ],
)
def test_tags_that_amazon_refuses(tags: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidParameterException):
        checked(tags)
