"""UpdateTaskProtection and GetTaskProtection, and what they hold off."""

from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.errors import ClusterNotFoundException, InvalidParameterException
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, delete_service, describe_services, update_service
from control_plane.flows.stop_task import stop_task
from control_plane.flows.task_protection import get_task_protection, update_task_protection
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from world import START, World

S = TaskStatus


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=10, cpu=10)
    return world.machine()


def running(world: World, machine: str, desired: int) -> list[str]:
    """The ids of a steady service's tasks."""
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": desired})
    world.deliver()
    do_as_told(world, machine)
    return sorted(task.task_id for task in on(world, machine))


def on(world: World, machine: str) -> list[Any]:
    return tasks.of_instance(world.table, "default", machine)


def wanted(world: World, machine: str) -> list[str]:
    return sorted(task.task_id for task in on(world, machine) if task.desired_status is DesiredStatus.RUNNING)


def do_as_told(world: World, machine: str) -> None:
    for task in on(world, machine):
        status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
        container = ContainerReport(name="main", last_status=status)
        report = world.report_of(task.task_id, status, task.report_number + 1, containers=(container,))
        world.report(report, instance_id=machine)
    world.deliver()


def protect(world: World, *task_ids: str, enabled: bool = True, **members: Any) -> dict[str, Any]:
    request = {"cluster": "default", "tasks": list(task_ids), "protectionEnabled": enabled, **members}
    answer = update_task_protection(world.cp, request)
    world.deliver()
    return answer


def protection(world: World, *task_ids: str) -> dict[str, Any]:
    return get_task_protection(world.cp, {"cluster": "default", "tasks": list(task_ids)})


def update(world: World, **members: Any) -> None:
    update_service(world.cp, {"service": "web", **members})
    world.deliver()


def arn(task_id: str) -> str:
    return f"arn:aws:ecs:eu-west-1:123456789012:task/default/{task_id}"


def service(world: World) -> dict[str, Any]:
    answer: dict[str, Any] = describe_services(world.cp, {"services": ["web"]})["services"][0]
    return answer


def test_it_is_set_prolonged_shown_and_taken_away(world: World, machine: str) -> None:
    first, second = running(world, machine, 2)
    until = START + timedelta(minutes=120)
    shown = {"taskArn": arn(first), "protectionEnabled": True, "expirationDate": until}
    off = {"taskArn": arn(second), "protectionEnabled": False}
    assert protect(world, first) == {"protectedTasks": [shown], "failures": []}
    assert protection(world, arn(first), second) == {"protectedTasks": [shown, off], "failures": []}
    world.pass_time(60)
    assert protect(world, first, expiresInMinutes=1)["protectedTasks"] == [
        {**shown, "expirationDate": START + timedelta(minutes=2)}
    ]
    world.pass_time(60)
    assert protection(world, first)["protectedTasks"] == [{**off, "taskArn": arn(first)}], "it ends by itself"
    protect(world, first)
    assert protect(world, first, enabled=False)["protectedTasks"] == [{**off, "taskArn": arn(first)}]


def test_scaling_in_takes_others_and_waits_for_its_end(world: World, machine: str) -> None:
    ids = running(world, machine, 3)
    protect(world, ids[0], ids[1])
    update(world, desiredCount=1)
    do_as_told(world, machine)
    assert wanted(world, machine) == ids[:2]
    message = f"(taskSet {service(world)['deployments'][0]['id']}) was unable to scale in due to (reason 1 tasks"
    assert [event for event in service(world)["events"] if message in event["message"]]
    world.minutes(121, sweeps_each=121)
    assert len(wanted(world, machine)) == 1


def test_taken_away_it_lets_the_service_go_on_at_once(world: World, machine: str) -> None:
    ids = running(world, machine, 2)
    protect(world, *ids)
    update(world, desiredCount=1)
    assert wanted(world, machine) == ids
    protect(world, ids[0], enabled=False)
    assert wanted(world, machine) == ids[1:]


def test_a_deployment_leaves_it_until_the_end(world: World, machine: str) -> None:
    [old] = running(world, machine, 1)
    protect(world, old, expiresInMinutes=10)
    update(world, forceNewDeployment=True)
    do_as_told(world, machine)
    assert old in wanted(world, machine)
    assert [each["rolloutState"] for each in service(world)["deployments"]] == ["IN_PROGRESS", "COMPLETED"]
    world.minutes(11, sweeps_each=11)
    do_as_told(world, machine)
    assert old not in wanted(world, machine)
    assert [each["rolloutState"] for each in service(world)["deployments"]] == ["COMPLETED"]


def test_a_stop_by_hand_and_the_end_of_the_service_go_before_it(world: World, machine: str) -> None:
    first, second = running(world, machine, 2)
    protect(world, first, second)
    stop_task(world.cp, {"task": first})
    assert first not in wanted(world, machine)
    delete_service(world.cp, {"service": "web", "force": True})
    world.deliver()
    assert wanted(world, machine) == []


def test_what_cannot_be_protected_is_a_failure_beside_the_others(world: World, machine: str) -> None:
    first, second = running(world, machine, 2)
    alone = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"]
    stop_task(world.cp, {"task": first})
    missing = "0" * 32
    answer = protect(world, second, alone, first, missing, "no-id")
    assert [each["taskArn"] for each in answer["protectedTasks"]] == [arn(second)]
    standalone = {
        "arn": alone,
        "reason": "TASK_NOT_VALID",
        "detail": "The specified task isn't part of an Amazon ECS service.",
    }
    assert answer["failures"] == [
        standalone,
        {
            "arn": arn(first),
            "reason": "TASK_NOT_VALID",
            "detail": "The specified task is stopping or has stopped.",
        },
        {"arn": arn(missing), "reason": "MISSING"},
        {"arn": arn("no-id"), "reason": "MISSING"},
    ]
    assert protection(world, alone)["failures"] == [standalone]


def test_no_more_are_protected_while_others_block_a_deployment(world: World, machine: str) -> None:
    [old] = running(world, machine, 1)
    protect(world, old)
    update(world, forceNewDeployment=True)
    do_as_told(world, machine)
    [new] = [task_id for task_id in wanted(world, machine) if task_id != old]
    assert [each["reason"] for each in protect(world, new)["failures"]] == ["DEPLOYMENT_BLOCKED"]
    assert protect(world, old, enabled=False)["failures"] == []
    assert protect(world, new)["failures"] == []


def test_errors_of_the_request(world: World, machine: str) -> None:
    del machine
    with pytest.raises(ClusterNotFoundException):
        protect(world, "0" * 32, cluster="nowhere")
    with pytest.raises(InvalidParameterException, match="Tasks cannot be empty"):
        get_task_protection(world.cp, {"cluster": "default"})
