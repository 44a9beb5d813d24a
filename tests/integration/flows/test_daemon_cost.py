"""What an instance costs a DAEMON service as it joins, and what a deployment costs, on a DynamoDB that counts units."""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.scheduling.throttle import STARTS_BEFORE_THROTTLING
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.sweep import sweep
from control_plane.store import keys, tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from integration.flows.capacity import Meter
from world import World

pytestmark = pytest.mark.dynamodb_local

S = TaskStatus
SERVICE = ServiceKey("default", "agent")


@pytest.fixture
def meter(dynamodb_local: Any) -> Meter:
    meter = Meter()
    meter.attach(dynamodb_local)
    return meter


def a_fleet(client: Any, count: int) -> tuple[World, list[str]]:
    """`count` machines on which the service runs."""
    world = World(client, table_name=f"daemons-{uuid.uuid4().hex}")
    world.cluster()
    world.task_definition("agent", memory=10, cpu=1)
    machines = [world.machine() for _ in range(count)]
    create_service(world.cp, {"serviceName": "agent", "taskDefinition": "agent", "schedulingStrategy": "DAEMON"})
    world.table.stream.clear()
    assert not schedule_services(world.cp, [SERVICE])
    do_as_told(world, machines)
    return world, machines


def do_as_told(world: World, machines: list[str]) -> None:
    """Ten at a time, as a queue brings the changes."""
    for start in range(0, len(machines), 10):
        some = machines[start : start + 10]
        for machine in some:
            for task in tasks.of_instance(world.table, "default", machine):
                status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
                container = ContainerReport(name="main", last_status=status)
                report = world.report_of(task.task_id, status, task.report_number + 1, containers=(container,))
                world.report(report, instance_id=machine)
        assert not schedule_services(world.cp, [ServiceKey("default", "agent", machine) for machine in some])
    world.table.stream.clear()


def counts(world: World) -> tuple[int, int, int]:
    found = describe_services(world.cp, {"services": ["agent"]})["services"][0]
    return found["desiredCount"], found["runningCount"], found["pendingCount"]


def rollout(world: World) -> str:
    return str(describe_services(world.cp, {"services": ["agent"]})["services"][0]["deployments"][0]["rolloutState"])


def spent(meter: Meter, what: Callable[[], Any]) -> tuple[float, float]:
    meter.reset()
    what()
    return meter.reads, meter.writes


def test_an_instance_that_joins_costs_the_same_in_a_large_fleet(dynamodb_local: Any, meter: Meter) -> None:
    """From its registration to a task that runs, wake-ups included."""
    costs = {}
    for size in (10, 200):
        world, _ = a_fleet(dynamodb_local, size)
        world.machine()  # whose shard of keys may be a new one
        world.deliver()
        world.table.recording = False
        joined: list[str] = []
        steps = {
            "registers": lambda world=world, joined=joined: joined.append(world.machine()),
            "is looked at": lambda world=world, joined=joined: schedule_services(
                world.cp, [ServiceKey("default", "agent", joined[0])]
            ),
            "runs": lambda world=world, joined=joined: do_as_told(world, joined),
        }
        costs[size] = {name: spent(meter, step) for name, step in steps.items()}
        assert counts(world) == (size + 2, size + 1, 1), "one of the two that joined runs"
    assert costs[200] == costs[10]
    assert costs[10]["is looked at"] == (2.0, 13)


def test_a_machine_on_which_it_does_not_start_costs_the_same_in_a_large_fleet(
    dynamodb_local: Any, meter: Meter
) -> None:
    """What is due there by the clock is due there alone."""
    costs = {}
    for size in (10, 100):
        world, _ = a_fleet(dynamodb_local, size)
        joined = world.machine()
        world.deliver()
        for _ in range(STARTS_BEFORE_THROTTLING):
            [task] = tasks.of_instance(world.table, "default", joined)
            last = world.report_of(task.task_id, S.STOPPED, 1, stop_code=StopCode.TASK_FAILED_TO_START)
            world.report(last, instance_id=joined)
            world.deliver()
        assert tasks.of_instance(world.table, "default", joined) == [], "the next start is to wait"
        world.pass_time(20)
        world.table.recording = False
        sweep(world.cp)
        due = [key for key, _ in world.queues.services]
        assert due == [ServiceKey("default", "agent", joined)]
        costs[size] = spent(meter, partial(schedule_services, world.cp, due))
        assert counts(world) == (size + 1, size, 1)
    assert costs[100] == costs[10] == (3.0, 13)


def test_a_deployment_costs_in_proportion_also_one_by_one(dynamodb_local: Any, meter: Meter) -> None:
    """Ten times the instances of which one may be down: each step looks at that one and at the next."""
    costs = {}
    for size, least in ((6, 70), (60, 97)):
        world, machines = a_fleet(dynamodb_local, size)
        bounds = {"deploymentConfiguration": {"minimumHealthyPercent": least, "maximumPercent": 100}}
        update_service(world.cp, {"service": "agent", "forceNewDeployment": True, **bounds})
        world.table.stream.clear()
        world.table.recording = False
        meter.reset()
        assert not schedule_services(world.cp, [SERVICE])
        for _ in range(3 * size):
            with meter.paused():
                moving = moved(world, machines)
            if not moving:
                break
            assert len(moving) == 1
            do_as_told(world, moving)
        assert (counts(world), rollout(world)) == ((size, size, 0), "COMPLETED")
        costs[size] = meter.reads + meter.writes
    assert costs[60] <= 12 * costs[6], costs


def moved(world: World, machines: list[str]) -> list[str]:
    """Machines that have something to do."""
    held = tasks.of_cluster(world.table, "default", sorted({keys.instance_shard(machine) for machine in machines}))
    return sorted(
        {
            task.instance_id
            for task in held
            if not task.stopped and (task.last_status is not S.RUNNING or task.desired_status is DesiredStatus.STOPPED)
        }
    )


def test_a_deployment_costs_in_proportion(dynamodb_local: Any, meter: Meter) -> None:
    costs = {}
    for size in (10, 100):
        world, machines = a_fleet(dynamodb_local, size)
        half = {"deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 100}}
        update_service(world.cp, {"service": "agent", "forceNewDeployment": True, **half})
        world.table.stream.clear()
        world.table.recording = False
        meter.reset()
        assert not schedule_services(world.cp, [SERVICE])
        for _ in range(40):
            if rollout(world) == "COMPLETED":
                break
            do_as_told(world, machines)
        assert counts(world) == (size, size, 0)
        costs[size] = meter.reads + meter.writes
    assert costs[100] <= 12 * costs[10], costs
