"""Every waiter of botocore's model of Amazon ECS: how it succeeds, fails, and gives up."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import WaiterError
from functions.api_ecs.app import OPERATIONS

from contract.conftest import Client
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from world import World

S = TaskStatus


@pytest.fixture
def machine(world: World, client: Client) -> str:
    del client  # whose time it is
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=1000, cpu=1000)


def wait(client: Client, waiter: str, *meanwhile: Callable[[], Any], **request: Any) -> None:
    """Ask once more than something happens, without a pause."""
    client.meanwhile = list(meanwhile)
    attempts = len(meanwhile) + 1
    client.ecs.get_waiter(waiter).wait(**request, WaiterConfig={"Delay": 0, "MaxAttempts": attempts})
    assert client.meanwhile == []


def refused(client: Client, waiter: str, *meanwhile: Callable[[], Any], **request: Any) -> str:
    with pytest.raises(WaiterError) as raised:
        wait(client, waiter, *meanwhile, **request)
    return str(raised.value)


TIMED_OUT = "Max attempts exceeded"


def fails_for(member: str, value: str) -> str:
    return f'For expression "{member}" we matched expected path: "{value}" at least once'


def obey(world: World, machine: str) -> None:
    """The machine's tasks run, and those that are to stop have stopped."""
    for task in tasks.of_instance(world.table, "default", machine):
        status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
        report = world.report_of(
            task.task_id, status, task.report_number + 1, containers=(ContainerReport(name="main", last_status=status),)
        )
        world.report(report, instance_id=machine)
    world.deliver()


def test_every_waiter_of_the_model_is_tried() -> None:
    model = boto3.Session()._session.get_component("data_loader").load_service_model("ecs", "waiters-2")
    there = {name for name, waiter in model["waiters"].items() if waiter["operation"] in OPERATIONS}
    assert there == {"ServicesStable", "ServicesInactive", "TasksRunning", "TasksStopped"}


# --- tasks


def run(client: Client) -> str:
    arn: str = client.ecs.run_task(taskDefinition="web")["tasks"][0]["taskArn"]
    return arn


def test_a_task_runs_and_stops(client: Client, world: World, machine: str) -> None:
    arn = run(client)
    assert TIMED_OUT in refused(client, "tasks_running", tasks=[arn])
    wait(client, "tasks_running", lambda: obey(world, machine), tasks=[arn])
    assert TIMED_OUT in refused(client, "tasks_stopped", tasks=[arn])
    client.ecs.stop_task(task=arn)
    assert TIMED_OUT in refused(client, "tasks_stopped", tasks=[arn])
    wait(client, "tasks_stopped", lambda: obey(world, machine), tasks=[arn])


def test_a_task_that_stops_will_never_run(client: Client, world: World, machine: str) -> None:
    arns = [run(client), run(client)]

    def one_stops() -> None:
        client.ecs.stop_task(task=arns[0])
        obey(world, machine)

    assert fails_for("tasks[].lastStatus", "STOPPED") in refused(client, "tasks_running", one_stops, tasks=arns)
    assert TIMED_OUT in refused(client, "tasks_stopped", tasks=arns)


@pytest.mark.usefixtures("machine")
def test_a_task_that_nobody_knows_will_never_run(client: Client) -> None:
    unknown = ["0" * 32, run(client)]
    assert fails_for("failures[].reason", "MISSING") in refused(client, "tasks_running", tasks=unknown)
    assert TIMED_OUT in refused(client, "tasks_stopped", tasks=unknown[:1])


# --- services


@pytest.fixture
def service(client: Client, world: World, machine: str) -> str:
    """With two tasks, which are placed and do not run yet."""
    client.ecs.create_service(serviceName="web", taskDefinition="web", desiredCount=2)
    world.deliver()
    return machine


def test_a_service_becomes_stable(client: Client, world: World, service: str) -> None:
    assert TIMED_OUT in refused(client, "services_stable", services=["web"])
    wait(client, "services_stable", lambda: obey(world, service), services=["web"])


def test_a_deployment_has_to_replace_every_task(client: Client, world: World, service: str) -> None:
    obey(world, service)
    world.task_definition(memory=50, cpu=50)
    client.ecs.update_service(service="web", taskDefinition="web:2")
    assert TIMED_OUT in refused(client, "services_stable", services=["web"]), "two deployments"
    wait(client, "services_stable", *[lambda: obey(world, service)] * 4, services=["web"])


def test_a_service_without_room_is_never_stable(client: Client, world: World, service: str) -> None:
    client.ecs.update_service(service="web", desiredCount=50)
    assert TIMED_OUT in refused(client, "services_stable", *[lambda: obey(world, service)] * 3, services=["web"])


def test_a_service_becomes_inactive(client: Client, world: World, service: str) -> None:
    assert TIMED_OUT in refused(client, "services_inactive", services=["web"]), "it is ACTIVE"
    client.ecs.delete_service(service="web", force=True)
    world.deliver()
    draining = refused(client, "services_stable", services=["web"])
    assert fails_for("services[].status", "DRAINING") in draining
    wait(client, "services_inactive", lambda: obey(world, service), services=["web"])
    assert fails_for("services[].status", "INACTIVE") in refused(client, "services_stable", services=["web"])


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("waiter", ["services_stable", "services_inactive"])
def test_a_service_that_nobody_knows_is_missing(client: Client, waiter: str) -> None:
    assert fails_for("failures[].reason", "MISSING") in refused(client, waiter, services=["web", "unknown"])
