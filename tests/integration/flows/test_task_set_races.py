"""Task sets and service deployments, with many at once."""

import uuid
from collections import Counter
from typing import Any

import pytest

from control_plane.domain.errors import EcsError
from control_plane.domain.inbox import ServiceKey
from control_plane.domain.task_set import TaskSetStatus
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.service_deployments import describe_service_deployments, stop_service_deployment
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.task_sets import (
    create_task_set,
    delete_task_set,
    describe_task_sets,
    update_service_primary_task_set,
)
from control_plane.store import services
from integration.flows.test_cluster_races import together
from integration.flows.test_races import at_once
from world import World

pytestmark = pytest.mark.dynamodb_local

OF = {"cluster": "default", "service": "web"}


@pytest.fixture
def world(dynamodb_local: Any) -> World:
    world = World(dynamodb_local, table_name=f"task-sets-{uuid.uuid4().hex}")
    world.cluster()
    world.task_definition(memory=10, cpu=1)
    return world


@pytest.fixture
def controlled(world: World) -> World:
    request = {"serviceName": "web", "deploymentController": {"type": "EXTERNAL"}, "desiredCount": 12}
    create_service(world.cp, request)
    return world


def create(world: World, **members: Any) -> str:
    request = {**OF, "taskDefinition": "web:1", **members}
    task_set: str = create_task_set(world.function(), request)["taskSet"]["id"]
    return task_set


def test_one_client_token_makes_one_task_set(controlled: World) -> None:
    answers = set(at_once(16, lambda _: create(controlled, clientToken="same")))
    assert [each["id"] for each in describe_task_sets(controlled.cp, OF)["taskSets"]] == list(answers)
    assert len(answers) == 1


def test_no_more_than_five(controlled: World) -> None:
    def work(number: int) -> str:
        try:
            return create(controlled, clientToken=str(number))
        except EcsError as refusal:
            return refusal.code

    answers = Counter(at_once(16, work))
    made = [each["id"] for each in describe_task_sets(controlled.cp, OF)["taskSets"]]
    assert len(made) == 5
    assert set(made) <= set(answers)
    assert set(answers) - set(made) <= {"InvalidParameterException", "ServerException"}


@pytest.mark.parametrize("seed", range(6))
def test_what_is_made_primary_is_not_deleted_and_what_is_deleted_not_made_primary(controlled: World, seed: int) -> None:
    controlled.random.seed(seed)
    one, other = create(controlled), create(controlled)

    def promote() -> None:
        update_service_primary_task_set(controlled.function(), {**OF, "primaryTaskSet": one})

    def delete() -> None:
        delete_task_set(controlled.function(), {**OF, "taskSet": one})

    promoted, deleted = together(promote, delete)
    service = services.load(controlled.table, "default", "web")
    assert service is not None
    statuses = {each.task_set_id: each.status for each in service.task_sets}
    assert (promoted, deleted) in {(True, False), (False, True)}
    assert statuses == {
        one: TaskSetStatus.PRIMARY if promoted else TaskSetStatus.DRAINING,
        other: TaskSetStatus.ACTIVE,
    }


def test_there_is_one_primary(controlled: World) -> None:
    made = [create(controlled) for _ in range(5)]

    def promote(number: int) -> None:
        update_service_primary_task_set(controlled.function(), {**OF, "primaryTaskSet": made[number % 5]})

    at_once(10, promote)
    statuses = Counter(each["status"] for each in describe_task_sets(controlled.cp, OF)["taskSets"])
    assert statuses == {"PRIMARY": 1, "ACTIVE": 4}


def test_schedulers_at_once_hold_each_at_its_count(controlled: World) -> None:
    for _ in range(3):
        controlled.machine()
    scales = {create(controlled, scale={"value": value}): value for value in (100.0, 50.0)}

    def run(_: int) -> set[ServiceKey]:
        return schedule_services(controlled.function(), [ServiceKey("default", "web")])

    at_once(6, run)
    run(0)
    service = services.load(controlled.table, "default", "web")
    assert service is not None
    listed = services.list_of(controlled.table, service)
    started = Counter(task.started_by for _, task in listed.values() if task is not None)
    assert started == {task_set: 12 * value / 100 for task_set, value in scales.items()}


@pytest.mark.parametrize("seed", range(6))
def test_a_deployment_that_is_stopped_while_it_completes(world: World, seed: int) -> None:
    """It has completed, or it is rolled back; its record and the service say the same."""
    world.random.seed(seed)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1"})
    world.deliver()
    world.pass_time(1)
    updated = update_service(world.cp, {"service": "web", "forceNewDeployment": True})["service"]
    arn = updated["currentServiceDeployment"]

    def stop() -> None:
        stop_service_deployment(world.function(), {"serviceDeploymentArn": arn})

    def schedule() -> None:
        assert not schedule_services(world.function(), [ServiceKey("default", "web")])

    stopped, *_ = together(stop, schedule, schedule)
    schedule()
    [record] = describe_service_deployments(world.cp, {"serviceDeploymentArns": [arn]})["serviceDeployments"]
    assert record["status"] == ("ROLLBACK_SUCCESSFUL" if stopped else "SUCCESSFUL")
    [service] = describe_services(world.cp, {"services": ["web"]})["services"]
    [revision] = service["currentServiceRevisions"]
    assert (revision["arn"] == record["targetServiceRevision"]["arn"]) is not stopped
