"""Copies of what Amazon's agent sends, at the same time, on a DynamoDB that isolates transactions as Amazon's does."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from control_plane.domain.authorization import AgentOf
from control_plane.flows.amazon_agents import register_container_instance, submit_task_state_change
from control_plane.flows.run_task import run_task
from control_plane.store import instance_presence, instances
from world import EVERY_CAPABILITY, World

pytestmark = pytest.mark.dynamodb_local

COPIES = 8
OWN = AgentOf(cluster="default", instance_id="1" * 32)
REGISTRATION: dict[str, Any] = {
    "totalResources": [{"name": "CPU", "integerValue": 1024}, {"name": "MEMORY", "integerValue": 1000}],
    "attributes": [{"name": name} for name in EVERY_CAPABILITY],
}


@pytest.fixture
def world(dynamodb_local: Any) -> World:
    made = World(dynamodb_local, table_name=f"agent-{uuid.uuid4().hex}")
    made.table.recording = False
    made.cluster()
    return made


def at_once(work: Any) -> list[Any]:
    with ThreadPoolExecutor(COPIES) as threads:
        return list(threads.map(work, range(COPIES)))


def test_copies_of_the_first_registration_make_one_instance(world: World) -> None:
    answers = at_once(lambda _: register_container_instance(world.function(), OWN, REGISTRATION))
    assert len({answer["containerInstance"]["containerInstanceArn"] for answer in answers}) == 1
    instance = world.instance(OWN.instance_id)
    assert (instance.registration, instance.cpu, instance.memory) == (1, 1024, 1000)


def test_copies_of_reports_release_once(world: World) -> None:
    register_container_instance(world.cp, OWN, REGISTRATION)
    definition = world.task_definition(memory=100, cpu=100)
    found = instances.load(world.table, "default", OWN.instance_id)
    assert found is not None
    world.table.update(instance_presence.heard(found, world.now))  # as if something could speak to it already
    [task] = run_task(world.cp, {"taskDefinition": definition})["tasks"]
    assert world.instance(OWN.instance_id).memory == 900
    statuses = ["RUNNING", "STOPPED"] * (COPIES // 2)

    def submit(number: int) -> Any:
        containers = [{"containerName": "main", "status": statuses[number], "exitCode": 0}]
        request = {"task": task["taskArn"], "status": statuses[number], "containers": containers}
        return submit_task_state_change(world.function(), OWN, request)

    assert at_once(submit) == [{"acknowledgment": "ACK"}] * COPIES
    after = world.instance(OWN.instance_id)
    assert (after.tasks, after.cpu, after.memory) == (0, 1024, 1000)
