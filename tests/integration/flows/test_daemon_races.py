"""One task of a DAEMON service on an instance, and what may be down, with many at work, on a DynamoDB that isolates."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from control_plane.domain.inbox import ServiceKey
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from world import World

pytestmark = pytest.mark.dynamodb_local

S = TaskStatus
THREADS = 6
SERVICE = ServiceKey("default", "agent")


@pytest.fixture
def world(dynamodb_local: Any) -> World:
    world = World(dynamodb_local, table_name=f"daemons-{uuid.uuid4().hex}")
    world.cluster()
    world.task_definition("agent", memory=10, cpu=1)
    return world


def look_at_once(world: World, machines: list[str]) -> None:
    """Every message comes twice, mixed with looks at the whole service. What loses too often comes again."""
    keys = [SERVICE, *(ServiceKey("default", "agent", machine) for machine in machines)] * 2
    with ThreadPoolExecutor(THREADS) as threads:
        failed = threads.map(lambda key: schedule_services(world.function(), [key]), keys)
        again = sorted({key for each in failed for key in each}, key=str)
    assert not schedule_services(world.function(), again)


def on(world: World, machine: str) -> list[Any]:
    return tasks.of_instance(world.table, "default", machine)


def do_as_told(world: World, machines: list[str]) -> None:
    for machine in machines:
        for task in on(world, machine):
            status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
            container = ContainerReport(name="main", last_status=status)
            report = world.report_of(task.task_id, status, task.report_number + 1, containers=(container,))
            world.report(report, instance_id=machine)


def described(world: World) -> tuple[int, int, int]:
    found = describe_services(world.cp, {"services": ["agent"]})["services"][0]
    return found["desiredCount"], found["runningCount"], found["pendingCount"]


def test_messages_that_come_twice_and_at_once_start_one_task_on_each(world: World) -> None:
    create_service(world.cp, {"serviceName": "agent", "taskDefinition": "agent", "schedulingStrategy": "DAEMON"})
    machines = [world.machine() for _ in range(8)]
    look_at_once(world, machines)
    assert [len(on(world, machine)) for machine in machines] == [1] * 8
    assert described(world) == (8, 0, 8)
    do_as_told(world, machines)
    look_at_once(world, machines)
    assert described(world) == (8, 8, 0)


def test_a_deployment_keeps_its_bounds_and_its_counts(world: World) -> None:
    machines = [world.machine() for _ in range(6)]
    request = {"serviceName": "agent", "taskDefinition": "agent", "schedulingStrategy": "DAEMON"}
    half = {"deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 100}}
    create_service(world.cp, {**request, **half})
    for _ in range(2):
        look_at_once(world, machines)
        do_as_told(world, machines)
    look_at_once(world, machines)
    update_service(world.cp, {"service": "agent", "forceNewDeployment": True})
    for _ in range(6):
        look_at_once(world, machines)
        held = [on(world, machine) for machine in machines]
        assert all(len(each) <= 1 for each in held)
        well = [task for each in held for task in each if task.desired_status is DesiredStatus.RUNNING]
        assert sum(task.last_status is S.RUNNING for task in well) >= 3
        do_as_told(world, machines)
    look_at_once(world, machines)
    newest = describe_services(world.cp, {"services": ["agent"]})["services"][0]["deployments"]
    assert [(each["runningCount"], each["rolloutState"]) for each in newest] == [(6, "COMPLETED")]
    assert {task.deployment_id for machine in machines for task in on(world, machine)} == {newest[0]["id"]}
