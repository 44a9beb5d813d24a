"""Who waits for capacity, with functions that die between any two effects, and messages that come again.

An effect is a commit, another write, a message or an event. What brings a message to a function brings it again when
that has died: the first time it dies right after its first effect, then after its second, and so on until it lives to
its end. However that goes, each task that was wanted has started once, and nobody waits who does not have to.
"""

import itertools
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from control_plane.flows.check import check
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.delete_cluster import delete_cluster
from control_plane.flows.look_at_service import look_at_services
from control_plane.flows.publish_events import publish_events
from control_plane.flows.run_task import run_task
from control_plane.flows.run_task_event import run_task_for_event, run_waiting_event
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service
from control_plane.flows.sweep import sweep
from control_plane.runtime import ControlPlane
from control_plane.store import services, waiting
from integration.flows.test_waiting import event, failed, of_events, one_stops, running, who_waits
from world import World

OF_TABLE = ("commit", "put_many", "delete_many")
OF_QUEUES = ("wake_services", "run_waiting", "give_up_event", "look_at_service_later", "look_later", "publish_later")


class Death(BaseException):
    """Nothing that a function could catch."""


class Mortal:
    """A world in which functions die. Its one machine is full with tasks of nobody who waits."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.deaths = 0
        self._effects_left: float = math.inf
        world.cluster()
        world.task_definition(memory=100, cpu=100)
        world.allow("events/my.app", "ecs:RunTask")
        self.machine = world.machine(memory=400, cpu=400)
        run_task(world.cp, {"taskDefinition": "web", "count": 4})
        world.deliver()
        for name in OF_TABLE:
            setattr(world.table, name, partial(self._effect, getattr(world.table, name)))
        for name in OF_QUEUES:
            setattr(world.queues, name, partial(self._effect, getattr(world.queues, name)))
        world.events.put_events = partial(self._effect, world.events.put_events)  # type: ignore[method-assign]

    def _effect(self, effect: Callable[..., Any], *arguments: Any, **members: Any) -> Any:
        answer = effect(*arguments, **members)
        self._effects_left -= 1
        if self._effects_left == 0:
            raise Death
        return answer

    def brought(self, work: Callable[[ControlPlane], Any]) -> None:
        """To a function that remembers nothing, until it has lived to its end."""
        for effects in itertools.count(1):
            self._effects_left = effects
            try:
                work(self.world.function())
            except Death:
                self.deaths += 1
            else:
                break
        self._effects_left = math.inf

    def settle(self) -> None:
        """Hand on what the stream and the queues hold, until nothing comes of it any more."""
        table, queues = self.world.table, self.world.queues
        while table.stream or queues.services or queues.waiting:
            records = table.stream[:]
            self.brought(lambda cp, records=records: publish_events(cp, records))  # type: ignore[misc]
            del table.stream[: len(records)]
            wanted, queues.services = [key for key, _ in queues.services], []
            self.brought(lambda cp, wanted=wanted: schedule_services(cp, wanted))  # type: ignore[misc]
            ids, queues.waiting = queues.waiting, []
            for request_id in ids:
                self.brought(lambda cp, request_id=request_id: run_waiting_event(cp, request_id))  # type: ignore[misc]

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.world.pass_time(60)
            out = self.world.queues.those_out()
            self.brought(lambda cp, out=out: look_at_services(cp, out))  # type: ignore[misc]
            self.brought(sweep)
            self.settle()

    def a_task_stops(self) -> None:
        one_stops(self.world, self.machine)

    def nobody_tells(self) -> None:
        """What the stream holds is lost."""
        self.world.table.stream.clear()


@pytest.fixture
def mortal(world: World) -> Mortal:
    return Mortal(world)


def test_an_event_that_waits_runs_each_of_its_tasks_once(mortal: Mortal) -> None:
    world = mortal.world
    mortal.brought(lambda cp: run_task_for_event(cp, event(count=3)))
    for told in (True, False, True):
        mortal.a_task_stops()
        mortal.settle() if told else mortal.nobody_tells()
        mortal.minutes(1)
    assert of_events(world, mortal.machine) == 3
    assert (who_waits(world), failed(world), world.queues.given_up) == ([], [], [])
    assert waiting.load_event(world.table, event()["id"]) is None
    assert mortal.deaths > 20


def test_an_event_whose_time_is_up_is_told_and_kept(mortal: Mortal) -> None:
    world = mortal.world
    mortal.brought(lambda cp: run_task_for_event(cp, event(count=2)))
    mortal.a_task_stops()
    mortal.settle()
    mortal.minutes(11)
    assert of_events(world, mortal.machine) == 1
    assert {each["failures"][0]["reason"] for each in failed(world)} == {"RESOURCE:CPU"}
    assert {json.loads(each)["id"] for each in world.queues.given_up} == {event()["id"]}
    assert who_waits(world) == []
    assert waiting.load_event(world.table, event()["id"]) is None


def test_an_event_whose_cluster_is_deleted_waits_no_more(mortal: Mortal) -> None:
    world = mortal.world
    for _ in range(4):
        mortal.a_task_stops()
    mortal.brought(lambda cp: run_task_for_event(cp, event(count=1, overrides={"cpu": "500"})))
    assert who_waits(world) == [event()["id"]]
    deregister_container_instance(world.cp, {"containerInstance": mortal.machine})
    assert delete_cluster(world.cp, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"
    mortal.minutes(1)
    assert {each["error"] for each in failed(world)} == {"ClusterNotFoundException"}
    assert (who_waits(world), world.queues.given_up) == ([], [])
    assert waiting.load_event(world.table, event()["id"]) is None


def test_a_service_and_an_event_wait_for_the_same_places(mortal: Mortal) -> None:
    """The one that came first has the first; and both have all in the end."""
    world = mortal.world
    create_service(world.cp, {"serviceName": "api", "taskDefinition": "web", "desiredCount": 2})
    mortal.settle()
    world.pass_time(1)
    mortal.brought(lambda cp: run_task_for_event(cp, event(count=1)))
    had = []
    for told in (True, False, True):
        mortal.a_task_stops()
        mortal.settle() if told else mortal.nobody_tells()
        mortal.minutes(1)
        had.append((running(world, mortal.machine, "api"), of_events(world, mortal.machine)))
    assert (had[0], had[-1]) == ((1, 0), (2, 1))
    service = services.load(world.table, "default", "api")
    assert service is not None
    assert (service.waiting_since, service.short, who_waits(world)) == (None, False, [])
    assert check(world.cp, "default", None, repair=False)["differences"] == []
    assert mortal.deaths > 30
