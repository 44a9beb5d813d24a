"""What a list costs in request units: its pages, not what is in the table."""

import uuid
from typing import Any

import pytest

from control_plane.flows.list_services import list_services
from control_plane.flows.list_tasks import list_tasks
from control_plane.flows.services import create_service
from control_plane.store import keys, pages, services
from integration.flows.capacity import Meter
from many_tasks import Crowd
from world import World

pytestmark = pytest.mark.dynamodb_local


@pytest.fixture
def metered(dynamodb_local: Any) -> tuple[World, Meter]:
    world = World(dynamodb_local, table_name=f"lists-{uuid.uuid4().hex}")
    world.table.recording = False
    meter = Meter()
    meter.attach(dynamodb_local)
    return world, meter


def test_a_page_costs_the_same_with_100_and_with_2000_tasks(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    crowd = Crowd(world, machines=20)

    def cost(**request: Any) -> float:
        meter.reset()
        answer = list_tasks(world.cp, request)
        assert len(answer["taskArns"]) == request.get("maxResults", 100)
        return meter.reads

    def costs() -> dict[str, float]:
        second = list_tasks(world.cp, {"maxResults": 10})["nextToken"]
        machine = crowd.tasks[0].instance_id
        return {
            "a whole page": cost(),
            "a small one": cost(maxResults=10),
            "the one after it": cost(maxResults=10, nextToken=second),
            "an instance's": cost(maxResults=3, containerInstance=machine),
            "with a filter that all fit": cost(maxResults=10, startedBy="me"),
            "with another": cost(maxResults=10, family="web"),
        }

    crowd.grow(100)
    few = costs()
    crowd.grow(2000)
    many = costs()
    assert {name: many[name] <= few[name] for name in few} == dict.fromkeys(few, True), (few, many)
    assert few["a whole page"] <= 30
    assert few["a small one"] <= 6


def test_a_filter_that_nothing_fits_reads_a_bounded_part(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    crowd = Crowd(world, machines=8)
    crowd.grow(3 * pages.READ_AT_MOST)
    token, calls = None, 0
    while token or not calls:
        meter.reset()
        answer = list_tasks(world.cp, {"startedBy": "nobody", **({"nextToken": token} if token else {})})
        assert answer["taskArns"] == []
        assert meter.reads <= 2 * pages.READ_AT_MOST / 8, "items of less than 1 KB, 8 of them for a unit"
        token, calls = answer.get("nextToken"), calls + 1
    assert calls in {3, 4}


def test_a_page_of_services_costs_the_same_with_100_and_with_1000(metered: tuple[World, Meter]) -> None:
    """A page that is sorted by name reads each of the keys that services are spread over."""
    world, meter = metered
    world.cluster()
    world.task_definition()
    create_service(world.cp, {"serviceName": "first", "taskDefinition": "web", "desiredCount": 0})
    first = services.load(world.table, "default", "first")
    assert first is not None

    def cost_with(count: int) -> float:
        named = [first.model_copy(update={"name": f"service-{number:04d}"}) for number in range(count)]
        world.table.put_many({keys.service("default", each.name): services.to_item(each) for each in named})
        token = list_services(world.cp, {"maxResults": 10})["nextToken"]
        meter.reset()
        answer = list_services(world.cp, {"maxResults": 10, "nextToken": token})
        assert [arn[-4:] for arn in answer["serviceArns"]] == [f"{number:04d}" for number in range(9, 19)]
        return meter.reads

    assert (few := cost_with(100)) <= 1 + keys.SERVICE_SHARDS
    assert cost_with(1000) <= few
