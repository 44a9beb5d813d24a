"""A container instance is emptied: others take the place of its services' tasks first."""

from typing import Any

import pytest

from control_plane.flows.container_instances import update_container_instances_state
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, describe_services
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from world import World

S = TaskStatus


@pytest.fixture
def machines(world: World) -> list[str]:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return sorted(world.machine(memory=400, cpu=1000) for _ in range(2))


def create(world: World, desired: int) -> None:
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": desired})
    world.deliver()


def set_status(world: World, status: str, machine: str) -> None:
    update_container_instances_state(world.cp, {"containerInstances": [machine], "status": status})
    world.deliver()


def do_as_told(world: World, machine: str) -> None:
    for task in tasks.of_instance(world.table, "default", machine):
        status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
        container = ContainerReport(name="main", last_status=status)
        report = world.report_of(task.task_id, status, task.report_number + 1, containers=(container,))
        world.report(report, instance_id=machine)
    world.deliver()


def standing(world: World, machines: list[str]) -> list[tuple[int, int]]:
    """Of each machine: how many tasks are to run there, and how many are to stop."""
    found = []
    for machine in machines:
        wanted = [task.desired_status for task in tasks.of_instance(world.table, "default", machine)]
        found.append((wanted.count(DesiredStatus.RUNNING), wanted.count(DesiredStatus.STOPPED)))
    return found


def service(world: World) -> dict[str, Any]:
    found: dict[str, Any] = describe_services(world.cp, {"services": ["web"]})["services"][0]
    return found


def test_others_run_before_it_is_emptied(world: World, machines: list[str]) -> None:
    create(world, 4)
    for machine in machines:
        do_as_told(world, machine)
    assert standing(world, machines) == [(2, 0), (2, 0)]
    set_status(world, "DRAINING", machines[0])
    assert standing(world, machines) == [(2, 0), (4, 0)]
    do_as_told(world, machines[1])
    assert standing(world, machines) == [(0, 2), (4, 0)]
    do_as_told(world, machines[0])
    assert standing(world, machines) == [(0, 0), (4, 0)]
    found = service(world)
    assert (found["runningCount"], found["pendingCount"]) == (4, 0)
    assert [event["message"] for event in found["events"]].count("(service web) has reached a steady state.") == 2


def test_what_does_not_run_yet_goes_at_once_and_other_tasks_stay(world: World, machines: list[str]) -> None:
    run_task(world.cp, {"taskDefinition": "web", "count": 2})
    create(world, 2)
    assert standing(world, machines) == [(2, 0), (2, 0)]
    set_status(world, "DRAINING", machines[0])
    assert standing(world, machines) == [(1, 1), (3, 0)]


def test_without_room_elsewhere_it_waits_and_says_so(world: World, machines: list[str]) -> None:
    create(world, 8)
    for machine in machines:
        do_as_told(world, machine)
    set_status(world, "DRAINING", machines[0])
    assert standing(world, machines) == [(4, 0), (4, 0)]
    closest = f"The closest matching (container-instance {machines[1]}) has insufficient memory available."
    assert [event for event in service(world)["events"] if closest in event["message"]]
    third = world.machine(memory=400, cpu=1000)
    world.deliver()
    do_as_told(world, third)
    assert standing(world, [*machines, third]) == [(0, 4), (4, 0), (4, 0)]


def test_back_to_active_at_any_time(world: World, machines: list[str]) -> None:
    create(world, 4)
    for machine in machines:
        do_as_told(world, machine)
    set_status(world, "DRAINING", machines[0])
    set_status(world, "ACTIVE", machines[0])
    assert [wanted for wanted, _ in standing(world, machines)] == [2, 2]
    for machine in machines:
        do_as_told(world, machine)
    assert service(world)["runningCount"] == 4
