"""The life of a service: what is wanted, what the scheduler does, what its users are told."""

from typing import Any

import pytest

from control_plane.domain.errors import EcsError, InvalidParameterException, ServiceNotFoundException
from control_plane.flows.list_services import list_services
from control_plane.flows.services import (
    create_service,
    delete_service,
    describe_services,
    update_service,
)
from control_plane.flows.sweep import sweep
from control_plane.store import services, tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from world import World

S = TaskStatus


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=1000, cpu=1000)


def service(world: World) -> dict[str, Any]:
    answer: dict[str, Any] = describe_services(world.cp, {"services": ["web"]})["services"][0]
    return answer


def create(world: World, desired: int = 3) -> None:
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": desired})
    world.deliver()


def all_do_as_told(world: World, machine: str, number: int = 1) -> None:
    """The machine's tasks run, and those that are to stop have stopped."""
    for task in tasks.of_instance(world.table, "default", machine):
        status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
        container = ContainerReport(name="main", last_status=status)
        number = task.report_number + 1
        world.report(world.report_of(task.task_id, status, number, containers=(container,)), instance_id=machine)
    world.deliver()


def counts(world: World) -> tuple[int, int, int]:
    found = service(world)
    return found["desiredCount"], found["runningCount"], found["pendingCount"]


def told(world: World) -> list[str]:
    return [event["message"].split(")", 1)[1].strip() for event in reversed(service(world)["events"])]


def event_names(world: World) -> list[str]:
    import json  # noqa: PLC0415

    details = [json.loads(entry["Detail"]) for entry in world.events.entries]
    return [detail["eventName"] for detail in details if "eventName" in detail]


def test_from_created_to_steady(world: World, machine: str) -> None:
    create(world)
    assert counts(world) == (3, 0, 3)
    all_do_as_told(world, machine)
    assert counts(world) == (3, 3, 0)
    assert service(world)["deployments"][0]["rolloutState"] == "COMPLETED"
    assert "has reached a steady state." in told(world)
    assert event_names(world) == [
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_STEADY_STATE",
        "SERVICE_DEPLOYMENT_COMPLETED",
    ]


def test_a_task_that_ends_is_replaced(world: World, machine: str) -> None:
    create(world)
    all_do_as_told(world, machine)
    victim = tasks.of_instance(world.table, "default", machine)[0]
    last = world.report_of(victim.task_id, S.STOPPED, 2, stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED)
    world.report(last, instance_id=machine)
    world.deliver()
    assert counts(world) == (3, 2, 1)
    all_do_as_told(world, machine)
    assert counts(world) == (3, 3, 0)
    assert victim.task_id not in {task.task_id for task in tasks.of_instance(world.table, "default", machine)}


def test_scaling_out_and_in(world: World, machine: str) -> None:
    create(world, 1)
    all_do_as_told(world, machine)
    update_service(world.cp, {"service": "web", "desiredCount": 4})
    world.deliver()
    all_do_as_told(world, machine)
    assert counts(world) == (4, 4, 0)
    update_service(world.cp, {"service": "web", "desiredCount": 2})
    world.deliver()
    all_do_as_told(world, machine)
    assert counts(world) == (2, 2, 0)
    assert world.instance(machine).tasks == 2


def test_room_that_comes_later_is_used(world: World, machine: str) -> None:
    create(world, 12)
    assert counts(world) == (12, 0, 10)
    assert "SERVICE_TASK_PLACEMENT_FAILURE" in event_names(world)
    second = world.machine(memory=1000, cpu=1000)
    world.deliver()
    assert counts(world) == (12, 0, 12)
    assert world.instance(second).tasks == 2


def test_the_sweeper_brings_back_a_service_that_waits_for_room(world: World, machine: str) -> None:
    create(world, 12)
    world.queues.services.clear()
    world.pass_time(60)
    assert sweep(world.cp)["services"] == 1
    assert [key.service for key, _ in world.queues.services] == ["web"]


def test_deleting(world: World, machine: str) -> None:
    create(world)
    with pytest.raises(InvalidParameterException, match="scaled above 0"):
        delete_service(world.cp, {"service": "web"})
    assert delete_service(world.cp, {"service": "web", "force": True})["service"]["status"] == "DRAINING"
    world.deliver()
    all_do_as_told(world, machine)
    assert service(world)["status"] == "INACTIVE"
    assert world.instance(machine).tasks == 0
    with pytest.raises(ServiceNotFoundException):
        update_service(world.cp, {"service": "web", "desiredCount": 1})
    create(world, 1)
    assert counts(world) == (1, 0, 1)


def test_creating_twice(world: World, machine: str) -> None:
    request = {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1, "clientToken": "t"}
    first = create_service(world.cp, request)
    assert (
        create_service(world.cp, request)["service"]["deployments"][0]["id"] == first["service"]["deployments"][0]["id"]
    )
    with pytest.raises(EcsError, match="not idempotent"):
        create_service(world.cp, {**request, "clientToken": "u"})


def test_starts_that_fail_are_spaced_out(world: World, machine: str) -> None:
    create(world, 1)
    for _ in range(3):
        [task] = tasks.of_instance(world.table, "default", machine)
        last = world.report_of(task.task_id, S.STOPPED, 1, stop_code=StopCode.TASK_FAILED_TO_START)
        world.report(last, instance_id=machine)
        world.deliver()
    assert tasks.of_instance(world.table, "default", machine) == []
    assert "SERVICE_TASK_START_IMPAIRED" in event_names(world)
    world.pass_time(9)
    world.deliver()
    assert tasks.of_instance(world.table, "default", machine) == []
    world.pass_time(1)
    world.deliver()
    assert len(tasks.of_instance(world.table, "default", machine)) == 1, "after ten seconds, not with the next minute"


def test_a_run_of_the_scheduler_that_finds_nothing_to_do_writes_nothing(world: World, machine: str) -> None:
    create(world)
    all_do_as_told(world, machine)
    before = services.load(world.table, "default", "web")
    world.queues.wake_services([(key, "again") for key in _keys()])
    world.deliver()
    assert services.load(world.table, "default", "web") == before


def _keys() -> list[Any]:
    from control_plane.domain.inbox import ServiceKey  # noqa: PLC0415

    return [ServiceKey("default", "web")]


def test_listing(world: World, machine: str) -> None:
    create(world)
    assert list_services(world.cp, {})["serviceArns"] == [world.cp.arns.service("default", "web")]
    missing = describe_services(world.cp, {"services": ["none"]})["failures"]
    assert missing == [{"arn": world.cp.arns.service("default", "none"), "reason": "MISSING"}]
