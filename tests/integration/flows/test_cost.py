"""What one task costs in request units, on a DynamoDB that counts them as Amazon's does."""

import uuid
from typing import Any

import pytest

from control_plane.flows.run_task import run_task
from control_plane.flows.stop_task import stop_task
from control_plane.store import keys
from ecs_protocol.messages import ContainerReport, Reconcile
from ecs_protocol.statuses import TaskStatus
from integration.flows.capacity import Meter
from world import World

pytestmark = pytest.mark.dynamodb_local

S = TaskStatus


@pytest.fixture
def metered(dynamodb_local: Any) -> tuple[World, Meter]:
    world = World(dynamodb_local, table_name=f"cost-{uuid.uuid4().hex}")
    world.table.recording = False
    meter = Meter()
    meter.attach(dynamodb_local)
    world.cluster()
    world.task_definition(memory=10, cpu=1)
    return world, meter


def _report(world: World, machine: str, task_id: str, status: TaskStatus, number: int) -> None:
    container = ContainerReport(name="main", last_status=status, runtime_id="1234.5678", exit_code=None)
    assert world.report(world.report_of(task_id, status, number, containers=(container,)), instance_id=machine) == set()


def _tell(world: World, machine: str, task_ids: list[str]) -> None:
    from control_plane.domain.inbox import TaskKey  # noqa: PLC0415
    from control_plane.flows.send_agent_commands import send_agent_commands  # noqa: PLC0415

    send_agent_commands(world.cp, [TaskKey("default", task_id, machine) for task_id in task_ids])


def test_one_task_alone(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    machine = world.machine()
    warm = run_task(world.cp, {"taskDefinition": "web:1", "clientToken": "warm"})["tasks"][0]["taskArn"]
    _report(world, machine, warm.rsplit("/", 1)[1], S.STOPPED, 1)
    _forget_due(world, machine)
    meter.reset()

    arn = run_task(world.cp, {"taskDefinition": "web:1", "clientToken": "t"})["tasks"][0]["taskArn"]
    task_id = arn.rsplit("/", 1)[1]
    _tell(world, machine, [task_id])
    _report(world, machine, task_id, S.RUNNING, 1)
    stop_task(world.cp, {"task": arn})
    _tell(world, machine, [task_id])
    _report(world, machine, task_id, S.STOPPED, 2)

    # The target is 22; docs/decisions/0001-one-table.md says what is over.
    assert meter.writes <= 29
    assert meter.reads <= 8


def test_a_hundred_tasks_at_once_on_ten_instances(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    machines = [world.machine() for _ in range(10)]
    meter.reset()
    tasks = [
        task
        for number in range(10)
        for task in run_task(world.cp, {"taskDefinition": "web:1", "count": 10, "clientToken": str(number)})["tasks"]
    ]
    ids = [task["taskArn"].rsplit("/", 1)[1] for task in tasks]
    for machine in machines:
        mine = [task_id for task_id in ids if task_id.endswith(machine[: keys.TAIL])]
        for number, status in ((1, S.RUNNING), (2, S.STOPPED)):
            reports = [world.report_of(task_id, status, number) for task_id in mine]
            if status is S.STOPPED:
                for task_id in mine:
                    stop_task(world.cp, {"task": task_id})
            assert world.report(*reports, instance_id=machine) == set()
    assert len(ids) == 100
    assert meter.writes / 100 <= 18


def test_an_idle_instance_costs_nothing_and_a_reconnect_little(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    machine = world.machine()
    digest = world.cp.table.get(keys.registration("default", machine))
    assert digest is not None
    meter.reset()
    world.say(machine, Reconcile(request_id="r", digest=digest["digest"]))
    assert meter.writes <= 1


def _forget_due(world: World, machine: str) -> None:
    """What the sweeper would do before the next task."""
    from control_plane.store import instances  # noqa: PLC0415

    item = world.table.get(keys.instance("default", machine))
    assert item is not None
    world.table.commit([instances.look_again("default", machine, item["timeAt"], None)])
