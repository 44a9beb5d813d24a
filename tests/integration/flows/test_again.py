"""Deciding again after a lost race: bounded, and counted for whoever watches."""

from typing import Any

import pytest

from contract.the_template import of_type
from control_plane.domain.errors import ServerException
from control_plane.domain.races import InstanceChangedError, LostRace
from control_plane.flows.again import ATTEMPTS, until_answered, until_won
from world import PREFIX, World


def counted(caplog: pytest.LogCaptureFixture, metric: str) -> int:
    """What CloudWatch makes of the lines of the log."""
    lines = [vars(record) for record in caplog.records if "_aws" in vars(record)]
    assert all(line["Prefix"] == PREFIX for line in lines)
    directives = [(line, each) for line in lines for each in line["_aws"]["CloudWatchMetrics"]]
    return sum(line[metric] for line, each in directives if {"Name": metric, "Unit": "Count"} in each["Metrics"])


@pytest.mark.parametrize("lost", [pytest.param(0, id="won-at-once"), pytest.param(3, id="won-at-last")])
def test_it_is_decided_again_until_it_is_won(world: World, caplog: pytest.LogCaptureFixture, lost: int) -> None:
    def decide(attempt: int) -> str:
        if attempt < lost:
            raise InstanceChangedError("a")
        return f"at attempt {attempt}"

    assert until_won(world.cp, decide) == f"at attempt {lost}"
    assert (counted(caplog, "LostRaces"), counted(caplog, "RacesGivenUp")) == (lost, 0)


def test_it_is_given_up_in_the_end_and_an_alarm_counts_that(world: World, caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []
    pauses: list[float] = []
    world.cp.sleep = pauses.append

    def decide(attempt: int) -> None:
        tried.append(attempt)
        raise LostRace("TransactionConflict")

    with pytest.raises(LostRace, match="TransactionConflict"):
        until_won(world.cp, decide)
    with pytest.raises(ServerException, match="The service is changing too often"):
        until_answered(world.cp, decide, what="service")
    assert tried == 2 * list(range(ATTEMPTS))
    assert len(pauses) == 2 * (ATTEMPTS - 1)
    assert max(pauses) <= 0.5
    alarm: dict[str, Any] = of_type("AWS::CloudWatch::Alarm")["LostRacesAlarm"]
    assert (alarm["Namespace"], alarm["Dimensions"][0]["Name"]) == ("EcsAnywhere", "Prefix")
    assert (counted(caplog, "LostRaces"), counted(caplog, alarm["MetricName"])) == (2 * ATTEMPTS, 2)
