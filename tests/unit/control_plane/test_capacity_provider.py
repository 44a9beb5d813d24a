"""Capacity provider strategies: which tasks can be started by."""

from typing import Any

import pytest

from control_plane.domain.capacity_provider import StrategyItem, checked_strategy, in_the_api, strategy_of
from control_plane.domain.errors import InvalidParameterException, UnsupportedFeatureException

EXTERNAL = (StrategyItem(capacity_provider="EXTERNAL"),)
WEIGHED = (StrategyItem(capacity_provider="EXTERNAL", weight=3, base=1),)


@pytest.mark.parametrize(
    ("request_", "strategy"),
    [
        pytest.param({}, WEIGHED, id="nothing-said: the cluster's default"),
        pytest.param({"launchType": "EXTERNAL"}, (), id="launch-type: none"),
        pytest.param({"capacityProviderStrategy": [{"capacityProvider": "EXTERNAL"}]}, EXTERNAL, id="its-own"),
        pytest.param({"capacityProviderStrategy": []}, WEIGHED, id="an-empty-one-says-nothing"),
    ],
)
def test_what_a_request_is_carried_out_by(request_: dict[str, Any], strategy: tuple[StrategyItem, ...]) -> None:
    assert strategy_of(request_, (), WEIGHED) == strategy


def test_what_was_left_out_is_filled_in() -> None:
    assert in_the_api(EXTERNAL) == [{"capacityProvider": "EXTERNAL", "weight": 0, "base": 0}]


def test_it_is_refused_by_an_error_that_the_operation_has() -> None:
    fargate = [{"capacityProvider": "FARGATE"}]
    with pytest.raises(UnsupportedFeatureException):
        checked_strategy(fargate, ["FARGATE"])
    with pytest.raises(InvalidParameterException):
        checked_strategy(fargate, ["FARGATE"], unsupported=InvalidParameterException)
