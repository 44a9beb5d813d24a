"""Which messages of a service are worth a run: those of a batch are one, and what a run has seen is none."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.inbox import ServiceKey
from control_plane.flows import schedule_service
from control_plane.flows.publish_events import publish_events
from control_plane.flows.run_task import run_task
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.service_wakes import SEEN_WITHIN, wakes_of
from control_plane.flows.services import create_service, update_service
from control_plane.store import services, tasks
from ecs_protocol.statuses import TaskStatus
from integration.flows.reporting_fleet import Fleet
from world import START, World

KEY = ServiceKey("default", "web")


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    machine = world.machine(memory=1000, cpu=1000)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 2})
    world.deliver()
    return machine


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A service's name for each time that its tasks are read."""
    seen: list[str] = []
    read = services.list_of

    def counted(table: Any, service: Any) -> Any:
        seen.append(service.name)
        return read(table, service)

    monkeypatch.setattr(services, "list_of", counted)
    return seen


def runs(world: World, machine: str) -> None:
    for task in tasks.of_instance(world.table, "default", machine):
        world.report(world.report_of(task.task_id, TaskStatus.RUNNING, 1), instance_id=machine)


def messages(world: World) -> list[ServiceKey]:
    """What the stream makes of what it holds, which is gone then."""
    records, world.table.stream = world.table.stream, []
    publish_events(world.cp, records)
    keys, world.queues.services = [key for key, _ in world.queues.services], []
    return keys


def test_all_messages_of_a_service_in_a_batch_are_one_run(world: World, machine: str, reads: list[str]) -> None:
    runs(world, machine)
    first = messages(world)
    assert not schedule_services(world.cp, [*first, *first, KEY, *first])
    assert reads == ["web"]


@pytest.mark.parametrize(
    ("seconds", "looked_at"),
    [pytest.param(3, 0, id="that-long-before"), pytest.param(2, 1, id="perhaps-after-it")],
)
def test_a_change_that_an_earlier_run_has_seen_ends_without_reading_the_tasks(
    world: World, machine: str, reads: list[str], seconds: int, looked_at: int
) -> None:
    runs(world, machine)
    found = messages(world)
    world.pass_time(seconds)
    assert not schedule_services(world.cp, found)
    reads.clear()
    assert not schedule_services(world.cp, found)
    assert len(reads) == looked_at
    service = services.load(world.table, "default", "web")
    assert service is not None
    assert (service.running_count, service.seen_at) == (2, START + timedelta(seconds=seconds))


@pytest.fixture
def late(world: World, machine: str, reads: list[str]) -> ServiceKey:
    """A message of a change that a run has seen."""
    runs(world, machine)
    [message] = messages(world)
    world.pass_time(10)
    assert not schedule_services(world.cp, [message])
    reads.clear()
    return message


def test_one_late_message_among_others_changes_nothing(
    world: World, machine: str, late: ServiceKey, reads: list[str]
) -> None:
    [task, _] = tasks.of_instance(world.table, "default", machine)
    world.report(world.report_of(task.task_id, TaskStatus.STOPPED, 2), instance_id=machine)
    assert not schedule_services(world.cp, [late, *messages(world), late])
    assert reads == ["web"]
    assert len(tasks.of_instance(world.table, "default", machine)) == 2


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(KEY, id="by-the-clock-or-of-an-older-release"),
        pytest.param(replace(KEY, changed_at=START + timedelta(seconds=8)), id="of-a-change-that-came-at-that-time"),
    ],
)
def test_others_are_looked_at(world: World, late: ServiceKey, reads: list[str], message: ServiceKey) -> None:
    assert not schedule_services(world.cp, [late, message])
    assert reads == ["web"]


def test_another_wish_is_looked_at_whatever_brings_it(world: World, late: ServiceKey, reads: list[str]) -> None:
    update_service(world.cp, {"service": "web", "desiredCount": 3})
    assert not schedule_services(world.cp, [late])
    assert reads == ["web"]


def test_capacity_that_appears_is_looked_at_though_all_tasks_have_been_seen(world: World, machine: str) -> None:
    """Instances are not read with a service's tasks, but as placement remembers them."""
    world.table.stream.clear()
    [alone] = run_task(world.cp, {"taskDefinition": "web"})["tasks"]
    update_service(world.cp, {"service": "web", "desiredCount": 10})
    world.deliver()
    world.pass_time(10)
    task_id = alone["taskArn"].rsplit("/", 1)[1]
    world.report(world.report_of(task_id, TaskStatus.STOPPED, 1), instance_id=machine)
    [task, *_] = [each for each in tasks.of_instance(world.table, "default", machine) if each.service]
    world.report(world.report_of(task.task_id, TaskStatus.RUNNING, 1), instance_id=machine)
    assert [(key, key.changed_at) for key in messages(world)] == [(KEY, None)]


def test_a_run_that_dies_on_its_way_has_seen_nothing(
    world: World, machine: str, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has committed a part; the message comes again, and the rest is done."""
    monkeypatch.setattr(schedule_service, "CHUNK", 1)
    runs(world, machine)
    world.deliver()
    for task in tasks.of_instance(world.table, "default", machine):
        world.report(world.report_of(task.task_id, TaskStatus.STOPPED, 2), instance_id=machine)
    found = messages(world)
    world.pass_time(10)
    commit, left = world.table.commit, [1]

    def dies(writes: Sequence[Any]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit
        commit(writes)

    with monkeypatch.context() as patch:
        patch.setattr(world.table, "commit", dies)
        with pytest.raises(SystemExit):
            schedule_services(world.cp, found)
    assert len(tasks.of_instance(world.table, "default", machine)) < 2
    assert not schedule_services(world.cp, found)
    assert len(tasks.of_instance(world.table, "default", machine)) == 2


def test_what_messages_say_together() -> None:
    early, later = (replace(KEY, changed_at=START + timedelta(seconds=seconds)) for seconds in (1, 5))
    [wake] = wakes_of([later, early])
    assert (wake.service, wake.keys, wake.instance_ids, wake.changed_at) == (KEY, (KEY,), None, later.changed_at)
    [wake] = wakes_of([later, KEY])
    assert wake.changed_at is None
    daemons = [replace(early, instance_id="a"), replace(later, instance_id="b"), replace(early, instance_id="a")]
    [wake] = wakes_of(daemons)
    assert (wake.keys, wake.instance_ids) == ((daemons[0], daemons[1]), ("a", "b"))
    [wake] = wakes_of([*daemons, KEY])
    assert wake.instance_ids is None
    assert timedelta(seconds=1) < SEEN_WITHIN, "the stream tells the second"


@pytest.mark.dynamodb_local
def test_what_has_been_seen_costs_one_unit_however_large_the_service_is(dynamodb_local: Any) -> None:
    fleet = Fleet(dynamodb_local, 5)
    fleet.change(desiredCount=60)
    fleet.world.pass_time(10)
    assert not schedule_services(fleet.world.cp, [KEY])
    fleet.change(desiredCount=70)
    service = services.load(fleet.world.table, "default", "web")
    assert service is not None
    assert service.seen_at is not None
    fleet.meter.reset()
    late = replace(KEY, changed_at=service.seen_at - SEEN_WITHIN)
    assert not schedule_services(fleet.world.cp, [late] * 10)
    assert (fleet.meter.reads, fleet.meter.writes) == (1, 0)
