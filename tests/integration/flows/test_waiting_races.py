"""Who waits for capacity, with many functions at once."""

import uuid
from typing import Any

import pytest

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.races import LostRace
from control_plane.flows.check import check
from control_plane.flows.run_task import run_task
from control_plane.flows.run_task_event import run_task_for_event, run_waiting_event
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service
from control_plane.store import tasks, waiting
from integration.flows.test_races import at_once
from integration.flows.test_waiting import event, failed, of_events, one_stops, running, who_waits
from world import World

pytestmark = pytest.mark.dynamodb_local


@pytest.fixture
def world(dynamodb_local: Any) -> World:
    world = World(dynamodb_local, table_name=f"waiting-{uuid.uuid4().hex}")
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    world.allow("events/my.app", "ecs:RunTask")
    return world


@pytest.fixture
def full(world: World) -> str:
    """A machine with room for eight tasks of `web`, all taken by tasks of nobody who waits."""
    machine = world.machine(memory=800, cpu=800)
    run_task(world.cp, {"taskDefinition": "web", "count": 8})
    return machine


def bring(world: World, work: Any, *arguments: Any) -> None:
    """To a function of its own; what has lost too many races the queue brings again."""
    try:
        work(world.function(), *arguments)
    except LostRace:
        bring(world, work, *arguments)


def test_an_event_that_many_run_at_once_starts_each_of_its_tasks_once(world: World, full: str) -> None:
    asked = event(count=5)
    for stops, started in ((2, 2), (0, 2), (1, 3), (4, 5)):
        for _ in range(stops):
            one_stops(world, full)
        at_once(6, lambda _: bring(world, run_task_for_event, asked))
        assert of_events(world, full) == started
    assert (who_waits(world), failed(world)) == ([], [])
    assert waiting.load_event(world.table, asked["id"]) is None
    assert check(world.cp, "default", None, repair=False)["differences"] == []


def test_of_many_that_want_one_place_one_has_it_and_the_others_wait_on(world: World, full: str) -> None:
    """Five events, and two services, are brought at the same moment, whoever told them."""
    asked = [{**event(), "id": str(uuid.UUID(int=number))} for number in range(5)]
    names = ["api", "web"]
    for each in asked:
        run_task_for_event(world.cp, each)
    for name in names:
        create_service(world.cp, {"serviceName": name, "taskDefinition": "web", "desiredCount": 1})
        assert not schedule_services(world.cp, [ServiceKey("default", name)])

    def look(number: int) -> None:
        if number < len(asked):
            bring(world, run_waiting_event, asked[number]["id"])
        else:
            key = ServiceKey("default", names[number - len(asked)])
            assert not schedule_services(world.function(), [key])

    for placed in range(1, 8):
        one_stops(world, full)
        at_once(7, look)
        have = of_events(world, full) + sum(running(world, full, name) for name in names)
        assert (have, len(who_waits(world))) == (placed, 7 - placed)
    assert failed(world) == []
    assert len(tasks.of_instance(world.table, "default", full)) == 8
