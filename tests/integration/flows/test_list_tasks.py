"""ListTasks: each filter reads what it has to, and a task that moves meanwhile is not missed."""

from collections.abc import Sequence
from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException, ServiceNotFoundException
from control_plane.flows.list_tasks import list_tasks
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, delete_service
from control_plane.flows.stop_task import stop_task
from control_plane.store import tasks
from ecs_protocol.statuses import TaskStatus
from world import World

S = TaskStatus


@pytest.fixture
def machines(world: World) -> Sequence[str]:
    world.cluster()
    world.task_definition(memory=10, cpu=1)
    world.task_definition("worker", memory=10, cpu=1)
    return [world.machine() for _ in range(3)]


def listed(world: World, **request: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    token = None
    while True:
        answer = list_tasks(world.cp, {**request, **({"nextToken": token} if token else {})})
        found += [arn.rsplit("/", 1)[1] for arn in answer["taskArns"]]
        token = answer.get("nextToken")
        if token is None:
            return found


def run(world: World, family: str = "web", count: int = 1, **members: Any) -> list[str]:
    answer = run_task(world.cp, {"taskDefinition": family, "count": count, **members})
    return [task["taskArn"].rsplit("/", 1)[1] for task in answer["tasks"]]


def stops(world: World, machines: Sequence[str], task_id: str) -> None:
    [machine] = [each for each in machines if each.startswith(task_id[-8:])]
    world.report(world.report_of(task_id, S.STOPPED, 1), instance_id=machine)


def test_a_services_tasks(world: World, machines: Sequence[str]) -> None:
    run(world, count=3)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 3})
    world.deliver()
    first, *others = sorted(listed(world, serviceName="web", maxResults=1))
    assert (len(others), listed(world, serviceName=world.cp.arns.service("default", "web"))) == (2, [first, *others])
    stops(world, machines, first)
    assert sorted(listed(world, serviceName="web")) == others, "its line is there until the scheduler has counted it"
    assert listed(world, serviceName="web", desiredStatus="STOPPED") == [first]
    world.deliver()
    assert listed(world, serviceName="web", desiredStatus="STOPPED") == [first]
    delete_service(world.cp, {"service": "web", "force": True})
    world.deliver()
    replacement = {*listed(world, serviceName="web", desiredStatus="STOPPED")} - {first, *others}
    assert (len(replacement), listed(world, serviceName="web")) == (1, []), "all three are to stop"


@pytest.mark.usefixtures("machines")
def test_a_service_that_is_not_there(world: World) -> None:
    with pytest.raises(ServiceNotFoundException, match="Service not found"):
        list_tasks(world.cp, {"serviceName": "web"})


def test_an_instances_tasks(world: World, machines: Sequence[str]) -> None:
    ids = run(world, count=9)
    of_each = {each: [task_id for task_id in sorted(ids) if each.startswith(task_id[-8:])] for each in machines}
    assert {each: listed(world, containerInstance=each, maxResults=2) for each in machines} == of_each
    [first, *others] = of_each[machines[0]]
    stops(world, machines, first)
    assert listed(world, containerInstance=machines[0]) == others
    assert listed(world, containerInstance=machines[0], desiredStatus="STOPPED") == [first]
    assert listed(world, containerInstance=machines[1], desiredStatus="STOPPED") == []
    assert listed(world, containerInstance="unknown") == listed(world, containerInstance="0" * 32) == []
    with pytest.raises(InvalidParameterException, match="Identifier is for cluster other"):
        list_tasks(world.cp, {"containerInstance": world.cp.arns.container_instance("other", machines[0])})


def test_a_task_that_stops_while_the_stopped_ones_are_listed(world: World, machines: Sequence[str]) -> None:
    """Whether its page came before or comes after, it is listed; those that go on are not."""
    ids = run(world, count=8)
    for task_id in ids[:6]:
        stop_task(world.cp, {"task": task_id})
    answer = list_tasks(world.cp, {"desiredStatus": "STOPPED", "maxResults": 3})
    found = {arn.rsplit("/", 1)[1] for arn in answer["taskArns"]}
    for task_id in ids[:6]:
        stops(world, machines, task_id)
    found |= {*listed(world, desiredStatus="STOPPED", nextToken=answer["nextToken"])}
    assert found == {*ids[:6]}


def test_a_line_that_is_not_a_tasks_own_end_counts_for_nothing(world: World, machines: Sequence[str]) -> None:
    """An end is noted before the task stops, and stays if it does not stop just then."""
    stopping, running = run(world, count=2)
    for task_id in (stopping, running):
        task = tasks.load(world.table, "default", task_id)
        assert task is not None
        tasks.note_ends(world.table, [task])
    world.pass_time(5)
    stops(world, machines, stopping)
    assert listed(world, desiredStatus="STOPPED") == [stopping]
    assert listed(world) == [running]
