"""What one task costs in request units, on a DynamoDB that counts them as Amazon's does."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.domain.inbox import TaskKey
from control_plane.flows.get_credentials import get_credentials
from control_plane.flows.look_at_container_instance import look_at_container_instances
from control_plane.flows.publish_events import publish_events
from control_plane.flows.run_task import run_task
from control_plane.flows.send_agent_commands import send_agent_commands
from control_plane.flows.stop_task import stop_task
from control_plane.flows.sweep import sweep
from control_plane.store import keys, tasks
from control_plane.store.items import to_wire
from ecs_protocol.messages import ContainerReport, CredentialsWanted, GetCredentials, Probe, Reconcile
from ecs_protocol.statuses import TaskStatus
from integration.flows.capacity import Meter, size_of
from world import EVERY_CAPABILITY, World

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
    send_agent_commands(world.cp, [TaskKey("default", task_id, machine) for task_id in task_ids])


def test_one_task_alone(metered: tuple[World, Meter]) -> None:
    """docs/decisions/0002-what-a-task-costs.md shows the same sum."""
    world, meter = metered
    machine = world.machine()
    warm = run_task(world.cp, {"taskDefinition": "web:1", "clientToken": "warm"})["tasks"][0]["taskArn"]
    _report(world, machine, warm.rsplit("/", 1)[1], S.STOPPED, 1)
    spent: dict[str, tuple[float, float]] = {}

    def step(name: str, what: Callable[[], Any]) -> Any:
        meter.reset()
        answer = what()
        spent[name] = (meter.writes, meter.reads)
        return answer

    answer = step("RunTask", lambda: run_task(world.cp, {"taskDefinition": "web:1", "clientToken": "t"}))
    task_id = answer["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    step("command to start", lambda: _tell(world, machine, [task_id]))
    step("RUNNING", lambda: _report(world, machine, task_id, S.RUNNING, 1))
    step("StopTask", lambda: stop_task(world.cp, {"task": task_id}))
    step("command to stop", lambda: _tell(world, machine, [task_id]))
    step("STOPPED", lambda: _report(world, machine, task_id, S.STOPPED, 2))

    writes = {name: writes for name, (writes, _) in spent.items() if writes}
    assert writes == {"RunTask": 7, "RUNNING": 1, "StopTask": 5, "STOPPED": 7}
    assert sum(writes.values()) <= 22
    assert sum(reads for _, reads in spent.values()) <= 10, spent


def test_gpus_cost_nothing_more(metered: tuple[World, Meter]) -> None:
    """Four of them fit into the instance's small item, held ones too."""
    world, meter = metered
    machine = world.machine(gpus=[f"GPU-8932f937-d72c-4106-c12f-20bd9faed9f{number}" for number in range(4)])
    world.task_definition("gpus", memory=10, resourceRequirements=[{"type": "GPU", "value": "4"}])
    run_task(world.cp, {"taskDefinition": "web:1", "clientToken": "warm"})
    meter.reset()
    task = run_task(world.cp, {"taskDefinition": "gpus:1", "clientToken": "t"})["tasks"][0]["taskArn"]
    assert meter.writes == 7
    item = world.table.get(keys.instance("default", machine))
    assert item is not None
    assert size_of(to_wire(item)) < 1024
    meter.reset()
    _report(world, machine, task.rsplit("/", 1)[1], S.STOPPED, 1)
    assert meter.writes == 7


@pytest.mark.parametrize(
    ("count", "reads"),
    [
        pytest.param(1, 2, id="of-one-task"),
        pytest.param(50, 7, id="of-fifty-tasks"),
    ],
)
def test_credentials_of_an_instances_tasks(metered: tuple[World, Meter], count: int, reads: float) -> None:
    """It reads who asks and its tasks, and writes nothing. A task asks every half an hour, with all the others."""
    world, meter = metered
    world.task_definition("roled", memory=10, cpu=1, task_role="app")
    roles = ("com.amazonaws.ecs.capability.task-iam-role", "com.amazonaws.ecs.capability.task-iam-role-network-host")
    machine = world.machine(capabilities=(*EVERY_CAPABILITY, *roles))
    for start in range(0, count, 10):
        run_task(world.cp, {"taskDefinition": "roled", "count": min(10, count - start)})
    mine = [task.task_id for task in tasks.of_instance(world.table, "default", machine)]
    wanted = tuple(CredentialsWanted(task_id=task, role="task") for task in mine)
    request = world.envelope(machine, GetCredentials(request_id="r", wanted=wanted))
    get_credentials(world.cp, request)
    world.agents.take(machine)
    meter.reset()
    get_credentials(world.cp, request)
    assert len(world.agents.take(machine)) == 1
    assert (meter.writes, meter.reads) == (0, reads)


def test_a_stop_where_nobody_waits_reads_half_a_unit_to_know_so(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    world.table.recording = True
    machine = world.machine()
    publish_events(world.cp, world.table.stream)
    world.pass_time(1)
    read: list[float] = []
    for status, number in ((S.RUNNING, 1), (S.STOPPED, 2)):
        world.table.stream.clear()
        if status is S.RUNNING:
            ran = run_task(world.cp, {"taskDefinition": "web:1"})["tasks"][0]["taskArn"].rsplit("/", 1)[1]
        _report(world, machine, ran, status, number)
        records = list(world.table.stream)
        meter.reset()
        publish_events(world.cp, records)
        read.append(meter.reads)
    assert read == [0, 0.5]


def test_the_sweeper_pays_one_write_for_each_reminder(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    world.machine()
    run_task(world.cp, {"taskDefinition": "web:1", "count": 5})
    world.pass_time(70)
    meter.reset()
    assert sweep(world.cp)["containerInstances"] == 1
    assert meter.writes == 1


def test_a_task_that_went_well_costs_the_sweeper_no_further_invocation(metered: tuple[World, Meter]) -> None:
    world, _ = metered
    machine = world.machine()
    ran = run_task(world.cp, {"taskDefinition": "web:1"})["tasks"][0]["taskArn"]
    _report(world, machine, ran.rsplit("/", 1)[1], S.RUNNING, 1)
    world.pass_time(70)
    assert sweep(world.cp)["containerInstances"] == 0
    assert world.queues.looks == []


def test_an_idle_instance_writes_nothing_but_a_probe_in_six_hours(metered: tuple[World, Meter]) -> None:
    """Ten minutes at a time; the machine is connected and keeps silent until it is probed."""
    world, meter = metered
    machine = world.machine()
    world.agents.take(machine)
    digest = world.table.get(keys.registration("default", machine))["digest"]  # type: ignore[index]
    meter.reset()
    quiet = 0
    for _ in range(6 * 6):
        world.pass_time(600)
        before = meter.writes
        sweep(world.cp)
        looks, world.queues.looks = world.queues.looks, []
        assert not look_at_container_instances(world.cp, looks)
        if Probe() in world.agents.take(machine):
            world.say(machine, Reconcile(request_id="r", digest=digest))
        quiet += meter.writes == before
    assert quiet >= 6 * 6 - 3
    # The probe's own reminder and that of its answer are made and removed, and the answer raises the epoch.
    assert meter.writes == 5
    assert world.instance(machine).agent_connected


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
    assert meter.writes / 100 <= 18, meter.writes


def test_an_idle_instance_costs_nothing_and_a_reconnect_little(metered: tuple[World, Meter]) -> None:
    world, meter = metered
    machine = world.machine()
    digest = world.cp.table.get(keys.registration("default", machine))
    assert digest is not None
    meter.reset()
    world.say(machine, Reconcile(request_id="r", digest=digest["digest"]))
    assert meter.writes <= 1


def test_telling_the_known_boot_reads_nothing_more(metered: tuple[World, Meter]) -> None:
    """The identity, the instance and its registration, as ever."""
    world, meter = metered
    machine = world.machine()
    registration = world.cp.table.get(keys.registration("default", machine))
    assert registration is not None
    for _ in range(2):
        meter.reset()
        world.say(machine, Reconcile(request_id="r", digest=registration["digest"], boot_id="first"))
    assert meter.reads == 3
