"""What a service costs in request units as it grows and changes: as much as changes, and not more the larger it is."""

from typing import Any

import pytest

from control_plane.flows.schedule_service import MAX_CHUNKS
from control_plane.store import services
from integration.flows.reporting_fleet import Bill, Fleet

pytestmark = pytest.mark.dynamodb_local

FEW, MANY = 100, 1000
MACHINES = 20

AT_MOST = 12
"""Times what ten times fewer cost."""


def bills(client: Any, count: int) -> tuple[Bill, Bill]:
    """Of a service's growth to so many tasks, and of a deployment over them."""
    fleet = Fleet(client, MACHINES)
    grown = fleet.change(desiredCount=count)
    deployed = fleet.change(taskDefinition="web:2")
    service = services.load(fleet.world.table, "default", "web")
    assert service is not None
    assert (service.running_count, service.steady, service.older) == (count, True, ())
    return grown, deployed


@pytest.mark.timeout(900)
def test_ten_times_the_tasks_cost_hardly_more_than_ten_times_as_much(dynamodb_local: Any) -> None:
    few, many = bills(dynamodb_local, FEW), bills(dynamodb_local, MANY)
    for small, large in zip(few, many, strict=True):
        assert large.units <= AT_MOST * small.units, (small, large)
        assert large.reads <= large.writes, "reads do not outgrow what is written"


def test_what_one_run_does_not_finish_a_message_to_itself_does(dynamodb_local: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("control_plane.flows.schedule_service.MAX_CHUNKS", 2)
    fleet = Fleet(dynamodb_local, MACHINES)
    bill = fleet.change(desiredCount=100)
    assert MAX_CHUNKS > 2
    assert bill.runs == 4  # 40, 40 and 20 tasks, and one for all that their machines report
    service = services.load(fleet.world.table, "default", "web")
    assert service is not None
    assert service.running_count == 100
