"""When a service is looked at though nothing changes: by a delayed message, and by the sweeper should that get lost."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.inbox import ServiceKey
from control_plane.flows import schedule_service
from control_plane.flows.look_at_service import look_at_services
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service, delete_service
from control_plane.flows.sweep import sweep
from control_plane.gateways.queues import QueueError
from control_plane.store import services, tasks
from control_plane.store.table import Write
from ecs_protocol.statuses import StopCode, TaskStatus
from world import World

KEY = ServiceKey("default", "web")
MINUTE = 60


@pytest.fixture
def machine(world: World) -> str:
    """Its service waits ten seconds before it starts a task, since three starts have failed."""
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    machine = world.machine(memory=1000, cpu=1000)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1})
    world.deliver()
    for _ in range(3):
        [task] = tasks.of_instance(world.table, "default", machine)
        last = world.report_of(task.task_id, TaskStatus.STOPPED, 1, stop_code=StopCode.TASK_FAILED_TO_START)
        world.report(last, instance_id=machine)
        world.deliver()
    return machine


def timers(world: World) -> list[timedelta]:
    """How far away those are that have not run out yet."""
    return sorted(at - world.now for at, _ in world.queues.timers)


def woken(world: World) -> list[tuple[ServiceKey, str]]:
    """What lies in the scheduler's queue, which is empty then."""
    found, world.queues.services = world.queues.services, []
    return found


def has_started(world: World, machine: str) -> bool:
    return len(tasks.of_instance(world.table, "default", machine)) == 1


def test_a_time_that_is_near_is_a_delayed_message_and_one_that_is_far_the_sweepers(world: World, machine: str) -> None:
    assert timedelta(seconds=10) in timers(world)
    world.pass_time(10)
    world.deliver()
    assert has_started(world, machine)
    [task] = tasks.of_instance(world.table, "default", machine)
    world.report(world.report_of(task.task_id, TaskStatus.RUNNING, 1), instance_id=machine)
    world.deliver()
    world.minutes(1)
    service = services.load(world.table, "default", "web")
    assert service is not None
    assert service.look_at is not None
    assert (service.look_at - world.now > timedelta(minutes=15), timers(world)) == (True, [])


def test_the_message_and_the_sweeper_send_the_same_which_the_queue_takes_once(world: World, machine: str) -> None:
    world.pass_time(MINUTE)
    assert look_at_services(world.cp, world.queues.those_out()) == set()
    by_message = woken(world)
    assert sweep(world.cp)["services"] == 1
    assert by_message == woken(world)
    assert [key for key, _ in by_message] == [KEY]


def test_a_message_that_comes_again_or_late_finds_nothing_due(world: World, machine: str) -> None:
    late = [KEY]
    world.pass_time(10)
    world.deliver()
    assert has_started(world, machine)
    assert look_at_services(world.cp, [*late, ServiceKey("default", "never-was")]) == set()
    assert woken(world) == []


def test_a_message_of_a_service_that_is_deleted_meanwhile(world: World, machine: str) -> None:
    out = [KEY]
    delete_service(world.cp, {"service": "web", "force": True})
    world.deliver()
    world.pass_time(MINUTE)
    assert look_at_services(world.cp, out) == set()
    assert woken(world) == []


def test_a_lost_message_only_delays(world: World, machine: str) -> None:
    world.queues.timers.clear()
    world.minutes(1)
    assert has_started(world, machine)


def test_a_run_that_dies_before_it_sets_its_timer_has_left_it_to_the_sweeper(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pass_time(10)
    world.deliver()
    [task] = tasks.of_instance(world.table, "default", machine)
    last = world.report_of(task.task_id, TaskStatus.STOPPED, 1, stop_code=StopCode.TASK_FAILED_TO_START)
    world.report(last, instance_id=machine)

    def dies(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(schedule_service, "set_timer", dies)
        with pytest.raises(SystemExit):
            world.deliver()
    world.queues.services.clear()
    world.queues.timers.clear()
    world.minutes(1)
    assert has_started(world, machine)


def test_what_the_scheduler_fails_to_do_until_the_queue_gives_up_the_sweeper_brings_again(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five times three minutes; then the message lies with the dead letters, and nobody replays it."""
    world.pass_time(MINUTE)
    sweep(world.cp)
    commit = world.table.commit

    def broken(writes: Sequence[Write]) -> None:
        raise RuntimeError(f"{len(writes)} writes")

    monkeypatch.setattr(world.table, "commit", broken)
    assert schedule_services(world.cp, [key for key, _ in woken(world)]) == {KEY}
    monkeypatch.setattr(world.table, "commit", commit)
    assert [minute for minute in range(1, 22) if a_minute(world)] == [20]
    assert has_started(world, machine)


def a_minute(world: World) -> bool:
    """Whether the service is woken then. No timer runs out any more."""
    world.queues.timers.clear()
    world.pass_time(MINUTE)
    sweep(world.cp)
    keys = [key for key, _ in woken(world)]
    assert not schedule_services(world.cp, keys)
    return keys == [KEY]


def test_a_queue_that_cannot_be_reached_brings_the_message_again(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(_keys: Any) -> None:
        raise QueueError("out")

    world.pass_time(10)
    with monkeypatch.context() as patch:
        patch.setattr(world.queues, "wake_services", out)
        assert look_at_services(world.cp, [KEY]) == {KEY}
    assert look_at_services(world.cp, [KEY]) == set()
    assert [key for key, _ in woken(world)] == [KEY]


# --- a DAEMON service, which is looked at for what it has on one instance


def a_daemon_that_does_not_start(world: World, *machines: str) -> list[ServiceKey]:
    """Its next start on each of these machines is ten seconds away."""
    create_service(world.cp, {"serviceName": "agent", "taskDefinition": "web", "schedulingStrategy": "DAEMON"})
    world.deliver()
    for _ in range(3):
        for machine in machines:
            [task] = [each for each in tasks.of_instance(world.table, "default", machine) if each.daemon]
            last = world.report_of(task.task_id, TaskStatus.STOPPED, 1, stop_code=StopCode.TASK_FAILED_TO_START)
            world.report(last, instance_id=machine)
            world.deliver()
    return [ServiceKey("default", "agent", machine) for machine in machines]


def daemons_on(world: World, machine: str) -> int:
    return sum(bool(each.daemon) for each in tasks.of_instance(world.table, "default", machine))


def test_of_a_daemon_service_those_instances_are_looked_at_whose_time_has_come(world: World, machine: str) -> None:
    failing = a_daemon_that_does_not_start(world, machine, world.machine())
    fine = world.machine()
    world.deliver()
    world.pass_time(10)
    assert look_at_services(world.cp, [*failing, ServiceKey("default", "agent", fine)]) == set()
    by_message = woken(world)
    assert sorted(key.instance_id or "" for key, _ in by_message) == sorted(key.instance_id or "" for key in failing)
    world.pass_time(MINUTE)
    sweep(world.cp)
    assert {each for each in woken(world) if each[0].service == "agent"} >= set(by_message), (
        "which the queue takes once"
    )
    schedule_services(world.cp, failing)
    assert [daemons_on(world, str(key.instance_id)) for key in failing] == [1, 1]
    assert look_at_services(world.cp, failing) == set()
    assert woken(world) == [], "nothing is due there any more"


def test_the_time_on_an_instance_comes_also_where_the_message_or_the_sweepers_run_is_lost(
    world: World, machine: str
) -> None:
    [key] = a_daemon_that_does_not_start(world, machine)
    world.queues.timers.clear()
    world.pass_time(MINUTE)
    sweep(world.cp)
    woken(world)  # and this message fails until the queue gives it up
    world.minutes(21, sweeps_each=21)
    assert daemons_on(world, str(key.instance_id)) == 1
