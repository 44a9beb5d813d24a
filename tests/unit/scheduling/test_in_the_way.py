"""Whether the end of one of its own tasks would give a service's next one the room that it lacks."""

from typing import Any

import pytest

from control_plane.domain.placement.filters import DISTINCT_INSTANCE, Demand
from control_plane.domain.placement.place import Unplaced
from control_plane.domain.resources import Resources
from control_plane.domain.scheduling.in_the_way import in_the_way
from ecs_protocol.statuses import DesiredStatus
from unit.control_plane.builders import a_task, an_instance

A = "a" * 32
PORT = Resources(cpu=10, memory=64, ports=frozenset({(80, "tcp")}))
FULL = {"cpu": 0, "memory": 10}


@pytest.mark.parametrize(
    ("instance", "reasons", "demand", "gives"),
    [
        pytest.param(FULL, ("RESOURCE:CPU", "RESOURCE:MEMORY"), Resources(cpu=128, memory=64), True, id="its-room"),
        pytest.param(FULL, ("RESOURCE:CPU", "RESOURCE:MEMORY"), Resources(cpu=128, memory=90), False, id="too-little"),
        pytest.param({"ports": frozenset({"80/tcp"})}, ("RESOURCE:PORTS",), PORT, True, id="its-port"),
        pytest.param({"reserved_ports": frozenset({"80/tcp"})}, ("RESOURCE:PORTS",), PORT, False, id="not-its-port"),
        pytest.param(FULL, ("RESOURCE:CPU", "AGENT"), Resources(cpu=128), False, id="the-machine-is-away"),
        pytest.param({}, ("RESOURCE:CPU",), Resources(cpu=128), False, id="there-is-room-by-now"),
        pytest.param({}, (DISTINCT_INSTANCE,), Resources(cpu=128), True, id="one-task-of-the-service-on-each"),
        pytest.param({}, (), Resources(cpu=128), False, id="nobody-refused"),
    ],
)
def test_whether_it_is_in_the_way(
    instance: dict[str, Any], reasons: tuple[str, ...], demand: Resources, gives: bool
) -> None:
    task = a_task(1, ports=("80/tcp",))
    unplaced = Unplaced({A: reasons} if reasons else {})
    found = in_the_way([task], Demand(demand), unplaced, of_service=[task], instances={A: an_instance(**instance)})
    assert found == ([task] if gives else [])


@pytest.mark.parametrize(
    ("desired", "gives"),
    [
        pytest.param(DesiredStatus.RUNNING, False, id="another-one-stays-there"),
        pytest.param(DesiredStatus.STOPPED, True, id="the-other-one-goes-too"),
    ],
)
def test_where_one_task_of_the_service_may_be_on_each_instance(desired: DesiredStatus, gives: bool) -> None:
    task, other = a_task(1), a_task(2, desired_status=desired)
    unplaced = Unplaced({A: (DISTINCT_INSTANCE,)})
    found = in_the_way([task], Demand(Resources()), unplaced, of_service=[task, other], instances={A: an_instance()})
    assert found == ([task] if gives else [])


def test_an_instance_that_is_gone_has_no_room() -> None:
    task, unplaced = a_task(1), Unplaced({A: ("RESOURCE:CPU",)})
    assert in_the_way([task], Demand(Resources(cpu=1)), unplaced, of_service=[task], instances={A: None}) == []
