"""What must never happen, with many at once, on a DynamoDB that isolates transactions as Amazon's does."""

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from control_plane.domain.errors import ConflictException, EcsError
from control_plane.domain.inbox import ServiceKey
from control_plane.flows.attributes import put_attributes
from control_plane.flows.check import check
from control_plane.flows.container_instances import deregister_container_instance, update_container_instances_state
from control_plane.flows.run_task import run_task
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service
from control_plane.flows.task_definitions import (
    delete_task_definitions,
    deregister_task_definition,
    describe_task_definition,
    register_task_definition,
)
from control_plane.store import services, tasks
from control_plane.store.table import Table, Write
from ecs_protocol.statuses import TaskStatus
from world import World

pytestmark = pytest.mark.dynamodb_local

THREADS = 8


@pytest.fixture
def world(dynamodb_local: Any) -> World:
    return World(dynamodb_local, table_name=f"races-{uuid.uuid4().hex}")


def at_once(count: int, work: Any, *, threads_at_most: int = THREADS) -> list[Any]:
    with ThreadPoolExecutor(threads_at_most) as threads:
        return list(threads.map(work, range(count)))


def test_never_overcommits(world: World) -> None:
    """60 tasks compete for room for 20: what was granted is what went away, and no more."""
    world.cluster()
    definition = world.task_definition(memory=100, cpu=0)
    machines = [world.machine(memory=500) for _ in range(4)]
    functions = [world.function() for _ in range(THREADS)]

    def run(number: int) -> int:
        request = {"taskDefinition": definition, "clientToken": f"token-{number}"}
        try:
            return len(run_task(functions[number % THREADS], request)["tasks"])
        except EcsError as error:
            assert error.status == 500  # noqa: PT017 - a race that was lost too often is refused, not oversold
            return 0

    granted = sum(at_once(60, run))
    held = [task for machine in machines for task in tasks.of_instance(world.table, "default", machine)]
    left = [world.instance(machine) for machine in machines]
    assert len(held) == granted <= 20
    assert all(instance.memory >= 0 for instance in left)
    assert sum(500 - instance.memory for instance in left) == granted * 100
    assert sum(instance.tasks for instance in left) == granted


def test_host_ports_are_given_once(world: World) -> None:
    world.cluster()
    definition = world.task_definition(memory=10, portMappings=[{"containerPort": 8080, "hostPort": 8080}])
    machines = [world.machine(memory=5000) for _ in range(3)]

    def run(number: int) -> int:
        return len(run_task(world.function(), {"taskDefinition": definition, "clientToken": str(number)})["tasks"])

    assert sum(at_once(12, run)) == 3
    assert all(world.instance(machine).ports == {"8080/tcp"} for machine in machines)


def test_gpus_are_given_once(world: World) -> None:
    """Tasks with one, two or three of them compete on two machines, while those that have some stop."""
    world.cluster()
    of_size = {
        size: world.task_definition(f"gpu{size}", memory=10, resourceRequirements=[{"type": "GPU", "value": str(size)}])
        for size in (1, 2, 3)
    }
    machines = [world.machine(memory=5000, gpus=[f"GPU-{name}{n}" for n in range(4)]) for name in "ab"]

    def run_and_stop(number: int) -> None:
        function = world.function()
        try:
            answer = run_task(function, {"taskDefinition": of_size[number % 3 + 1], "clientToken": str(number)})
        except EcsError as error:
            assert error.status == 500  # noqa: PT017 - a race that was lost too often is refused, not oversold
            return
        for task in answer["tasks"] if number % 2 else ():
            task_id, machine = (arn.rsplit("/", 1)[1] for arn in (task["taskArn"], task["containerInstanceArn"]))
            world.report(world.report_of(task_id, TaskStatus.STOPPED, 1), instance_id=machine)

    at_once(24, run_and_stop)
    for machine in machines:
        held = tasks.of_instance(world.table, "default", machine)
        on_it = [gpu_id for task in held for gpu_id in task.resources.gpu_ids]
        assert len(on_it) == len(set(on_it))
        assert set(on_it) == world.instance(machine).held_gpus
    assert check(world.cp, "default", None, repair=False)["differences"] == []


def once(world: World, **members: Any) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The tasks and failures that one of many callers with the same token is told."""
    request = {"taskDefinition": "web", "clientToken": "same", "count": 3, **members}
    answer = run_task(world.function(), request)
    failures = tuple((each["arn"], each["reason"]) for each in answer["failures"])
    return tuple(task["taskArn"] for task in answer["tasks"]), failures


@pytest.mark.parametrize(
    ("memory", "placed"), [pytest.param(1000, 3, id="room-for-all"), pytest.param(200, 2, id="room-for-two")]
)
def test_one_client_token_runs_one_set_of_tasks(world: World, memory: int, placed: int) -> None:
    """Whoever was first has the tasks, and what it was told, failures too, is what everybody is told."""
    world.cluster()
    world.task_definition(memory=100)
    machine = world.machine(memory=memory)
    [(arns, failures)] = set(at_once(16, lambda _: once(world), threads_at_most=16))
    held = tasks.of_instance(world.table, "default", machine)
    assert {world.cp.arns.task("default", task.task_id) for task in held} == set(arns)
    assert (len(arns), [reason for _, reason in failures]) == (placed, ["RESOURCE:MEMORY"] * (placed < 3))


class HeldUp(Table):
    """Commits when it is told to."""

    def __init__(self, world: World) -> None:
        super().__init__(world.table._client, world.table.name)
        self.decided = threading.Event()
        self.go_on = threading.Event()

    def commit(self, writes: Sequence[Write]) -> None:
        self.decided.set()
        assert self.go_on.wait(30)
        super().commit(writes)


def test_a_token_whose_first_request_is_at_work(world: World) -> None:
    """The first has decided and not committed. It is overtaken, and then answers as those that overtook it."""
    world.cluster()
    world.task_definition(memory=100)
    machine = world.machine(memory=300)
    slow = world.function()
    slow.table = held_up = HeldUp(world)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(run_task, slow, {"taskDefinition": "web", "clientToken": "same", "count": 3})
        assert held_up.decided.wait(30)
        others = set(at_once(15, lambda _: once(world), threads_at_most=15))
        held_up.go_on.set()
        answer = first.result(30)
    assert others == {(tuple(task["taskArn"] for task in answer["tasks"]), ())}
    assert answer["failures"] == []
    assert len(tasks.of_instance(world.table, "default", machine)) == 3


def test_a_token_is_of_one_request(world: World) -> None:
    """Sixteen ask for something else each: one has its tasks, the others are told which these are."""
    world.cluster()
    world.task_definition(memory=10)
    machine = world.machine()

    def run(number: int) -> tuple[str, ...]:
        try:
            return once(world, startedBy=str(number))[0]
        except ConflictException as conflict:
            conflicts.append(conflict.resource_ids)
            return ()

    conflicts: list[tuple[str, ...]] = []
    [arns] = [each for each in at_once(16, run, threads_at_most=16) if each]
    assert conflicts == [arns] * 15
    assert len(tasks.of_instance(world.table, "default", machine)) == 3


def test_resources_are_released_once(world: World) -> None:
    """The same last report, from everywhere at once."""
    world.cluster()
    definition = world.task_definition(memory=100, cpu=100)
    machine = world.machine(memory=1000, cpu=1000)
    answer = run_task(world.cp, {"taskDefinition": definition, "count": 4})
    ids = [task["taskArn"].rsplit("/", 1)[1] for task in answer["tasks"]]

    def report(number: int) -> set[int]:
        last = [world.report_of(task_id, TaskStatus.STOPPED, 1 + number % 3) for task_id in ids]
        return world.report(*last, instance_id=machine)

    at_once(12, report)
    instance = world.instance(machine)
    assert (instance.memory, instance.cpu, instance.tasks) == (1000, 1000, 0)
    assert not tasks.of_instance(world.table, "default", machine)


def test_two_schedulers_make_one_service(world: World) -> None:
    world.cluster()
    definition = world.task_definition(memory=10, cpu=1)
    for _ in range(3):
        world.machine()
    create_service(world.cp, {"serviceName": "web", "taskDefinition": definition, "desiredCount": 30})

    def run(_: int) -> set[ServiceKey]:
        return schedule_services(world.function(), [ServiceKey("default", "web")])

    at_once(6, run)
    run(0)
    service = services.load(world.table, "default", "web")
    assert service is not None
    listed = services.list_of(world.table, service)
    assert len(listed) == 30
    assert all(task is not None for _, task in listed.values())


def test_revisions_are_never_given_twice(world: World) -> None:
    """64 at once give 64 consecutive revisions, and each is the definition that its caller registered."""
    functions = [world.function() for _ in range(64)]

    def register(number: int) -> int:
        container = {"name": "main", "image": f"busybox:{number}", "memory": 10}
        request = {"family": "web", "containerDefinitions": [container]}
        revision: int = register_task_definition(functions[number], request)["taskDefinition"]["revision"]
        return revision

    revisions = at_once(64, register, threads_at_most=64)
    assert sorted(revisions) == list(range(1, 65))
    images = [
        describe_task_definition(world.cp, {"taskDefinition": f"web:{revision}"})["taskDefinition"]
        for revision in revisions
    ]
    assert [each["containerDefinitions"][0]["image"] for each in images] == [f"busybox:{n}" for n in range(64)]


def test_a_status_moves_forwards_only(world: World) -> None:
    """Many deregister and delete one revision at once: it ends where the furthest of them brings it, and stays."""
    name = world.task_definition()
    functions = [world.function() for _ in range(32)]

    def work(number: int) -> dict[str, Any]:
        if number % 2:
            return delete_task_definitions(functions[number], {"taskDefinitions": [name]})
        return deregister_task_definition(functions[number], {"taskDefinition": name})

    at_once(32, work, threads_at_most=32)
    last = delete_task_definitions(world.cp, {"taskDefinitions": [name]})["taskDefinitions"]
    assert [each["status"] for each in last] == ["DELETE_IN_PROGRESS"]
    assert deregister_task_definition(world.cp, {"taskDefinition": name})["taskDefinition"] == last[0]


def test_one_task_of_a_group_on_each_instance_whoever_places_it(world: World) -> None:
    """Each sees an instance without such a task; the instance's version in the commit lets only one of them win."""
    world.cluster()
    definition = world.task_definition(memory=10, cpu=1)
    machines = [world.machine() for _ in range(3)]
    functions = [world.function() for _ in range(THREADS)]

    def run(number: int) -> int:
        request = {"taskDefinition": definition, "placementConstraints": [{"type": "distinctInstance"}]}
        try:
            return len(run_task(functions[number % THREADS], request)["tasks"])
        except EcsError as error:
            assert error.status == 500  # noqa: PT017 - a race that was lost too often is refused
            return 0

    granted = sum(at_once(16, run))
    granted += sum(run(number) for number in range(3))
    held = [len(tasks.of_instance(world.table, "default", machine)) for machine in machines]
    assert (granted, held) == (3, [1, 1, 1])


def test_nothing_is_placed_on_an_instance_once_it_drains(world: World) -> None:
    world.cluster()
    definition = world.task_definition(memory=10, cpu=1)
    machine = world.machine()
    held: list[int] = []

    def work(number: int) -> None:
        if number == 5:
            update_container_instances_state(world.function(), {"containerInstances": [machine], "status": "DRAINING"})
            held.append(len(tasks.of_instance(world.table, "default", machine)))
            return
        try:
            run_task(world.function(), {"taskDefinition": definition, "clientToken": str(number)})
        except EcsError:
            return

    at_once(16, work)
    assert [len(tasks.of_instance(world.table, "default", machine))] == held


def test_attributes_that_are_put_at_once_are_all_there(world: World) -> None:
    world.cluster()
    machine = world.machine()

    def put(number: int) -> int:
        attribute = {"name": f"n{number}", "value": "x", "targetType": "container-instance", "targetId": machine}
        try:
            return len(put_attributes(world.function(), {"attributes": [attribute]})["attributes"])
        except EcsError as error:
            assert error.code in {"AttributeLimitExceededException", "ServerException"}  # noqa: PT017 - no other
            return 0

    assert sum(at_once(14, put)) == len(world.instance(machine).put_attributes) <= 10


def test_deregistering_and_placing_at_once_leaves_no_task_on_an_inactive_instance(world: World) -> None:
    world.cluster()
    definition = world.task_definition(memory=10, cpu=1)
    machine = world.machine()

    def work(number: int) -> None:
        if number == 5:
            request = {"containerInstance": machine, "force": True}
            deregister_container_instance(world.function(), request)
            return
        try:
            run_task(world.function(), {"taskDefinition": definition, "clientToken": str(number)})
        except EcsError:
            return

    at_once(16, work)
    assert not tasks.of_instance(world.table, "default", machine)
