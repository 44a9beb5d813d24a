"""What a deployment's failures come to: each counted once, and what its owner is told of them."""

from typing import Any

import pytest

from control_plane.flows.services import create_service, update_service
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from integration.flows.test_deployments import BREAKER, create, deployments, do_as_told, service, stuck, update
from world import World

S = TaskStatus
PORT = [{"containerPort": 80, "hostPort": 80}]
CHECKED: dict[str, Any] = {"healthCheck": {"command": ["CMD", "true"]}}
HEALTHY, UNHEALTHY, UNKNOWN = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=2000, cpu=2000)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.flows.schedule_service.CHUNK", 2)


def breaker(value: int, **members: Any) -> dict[str, Any]:
    threshold = {"type": "COUNT", "value": value}
    return {
        "deploymentCircuitBreaker": {"enable": True, "rollback": True, "thresholdConfiguration": threshold},
        **members,
    }


def all_report(world: World, machine: str, status: TaskStatus, health: HealthStatus = UNKNOWN, **members: Any) -> None:
    """In one message, and one run of the scheduler."""
    containers = (ContainerReport(name="main", last_status=status, health_status=health),)
    reports = [
        world.report_of(task.task_id, status, task.report_number + 1, containers=containers, **members)
        for task in tasks.of_instance(world.table, "default", machine)
    ]
    world.report(*reports, instance_id=machine)
    world.deliver()


def messages(world: World) -> list[str]:
    """Without the service's name, the oldest first."""
    return [event["message"].removeprefix("(service web) ") for event in reversed(service(world)["events"])]


@pytest.mark.usefixtures("small_chunks")
def test_ends_that_are_more_than_one_chunk_are_counted_once_each(world: World, machine: str) -> None:
    request = {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 9}
    create_service(world.cp, {**request, "deploymentConfiguration": breaker(100)})
    world.deliver()
    all_report(world, machine, S.STOPPED, stop_code=StopCode.TASK_FAILED_TO_START)
    assert service(world)["deployments"][0]["failedTasks"] == 9


@pytest.mark.usefixtures("small_chunks")
def test_tasks_that_are_stopped_for_their_health_are_counted_and_told_once_each(world: World) -> None:
    world.cluster()
    world.task_definition(memory=100, cpu=100, **CHECKED)
    machine = world.machine(memory=2000, cpu=2000)
    bounds = breaker(100, maximumPercent=120, minimumHealthyPercent=0)
    create_service(
        world.cp,
        {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 5, "deploymentConfiguration": bounds},
    )
    world.deliver()
    all_report(world, machine, S.RUNNING, UNHEALTHY)
    told = [message for message in messages(world) if message.endswith("failed container health checks.")]
    assert len(set(told)) == len(told) == 4, "one gets its replacement first"
    assert service(world)["deployments"][0]["failedTasks"] == 4


def test_more_are_ill_at_once_than_a_transaction_could_tell_of(world: World) -> None:
    world.cluster()
    world.task_definition(memory=6, cpu=1, **CHECKED)
    machine = world.machine(memory=2000, cpu=2000)
    bounds = {"maximumPercent": 100, "minimumHealthyPercent": 0}
    request = {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 90}
    create_service(world.cp, {**request, "deploymentConfiguration": bounds})
    world.deliver()
    all_report(world, machine, S.RUNNING, UNHEALTHY)
    stopping = [task.desired_status for task in tasks.of_instance(world.table, "default", machine)]
    assert stopping == [DesiredStatus.STOPPED] * 90
    assert service(world)["deployments"][0]["failedTasks"] == 90


def test_an_unhealthy_task_that_alone_has_the_room_for_its_replacement_stops_first(world: World) -> None:
    world.cluster()
    world.task_definition(memory=100, cpu=100, portMappings=PORT, **CHECKED)
    machine = world.machine()
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 1})
    world.deliver()
    do_as_told(world, machine, health=HEALTHY)
    do_as_told(world, machine, health=UNHEALTHY)
    [ill] = tasks.of_instance(world.table, "default", machine)
    assert (ill.desired_status, ill.stopped_reason) == (DesiredStatus.STOPPED, "Task failed container health checks")
    do_as_told(world, machine)
    [after] = tasks.of_instance(world.table, "default", machine)
    assert (after.task_id == ill.task_id, after.last_status) == (False, S.PENDING)


def test_what_finds_no_room_after_the_first_has_run_is_no_failure(world: World, machine: str) -> None:
    create(world, machine, desired=2, deploymentConfiguration={**BREAKER, "maximumPercent": 150})
    world.task_definition(memory=1700, cpu=100)
    update(world, taskDefinition="web:2")
    for _ in range(2):
        do_as_told(world, machine)
    world.minutes(5, sweeps_each=0.5)
    assert [each[1:] for each in deployments(world)] == [("web:2", 1, 0, "IN_PROGRESS"), ("web:1", 1, 0, "COMPLETED")]
    assert service(world)["deployments"][0]["failedTasks"] == 0


def test_no_number_is_named_that_would_not_help(world: World, machine: str) -> None:
    """It would stop what runs, for a task that does not fit even then."""
    create(world, machine)
    world.task_definition(memory=5000, cpu=100)
    update(world, taskDefinition="web:2")
    world.minutes(1)
    assert stuck(world) == []


def test_a_task_on_each_machine_that_may_have_one_only(world: World, machine: str) -> None:
    distinct = {"placementConstraints": [{"type": "distinctInstance"}]}
    create(world, machine, desired=1, **distinct)
    update(world, forceNewDeployment=True)
    assert [message.rpartition(". ")[2] for message in stuck(world)] == ["Lower minimumHealthyPercent to 0."]
    update(world, deploymentConfiguration={"minimumHealthyPercent": 0})
    for _ in range(2):
        do_as_told(world, machine)
    assert [state for *_, state in deployments(world)] == ["COMPLETED"]


def test_another_deployment_says_anew_what_its_tasks_lack(world: World, machine: str) -> None:
    world.task_definition(memory=5000, cpu=100)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:2", "desiredCount": 1})
    world.deliver()
    world.task_definition(memory=100, cpu=5000)
    world.pass_time(1)
    update(world, taskDefinition="web:3")
    told = [message for message in messages(world) if "was unable to place a task" in message]
    assert ["insufficient memory" in told[0], "insufficient CPU" in told[1]] == [True, True]


def test_a_rollback_is_told_in_amazons_words(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration=BREAKER)
    [good] = service(world)["deployments"]
    world.task_definition(memory=100, cpu=100)
    world.pass_time(1)
    bad = update(world, taskDefinition="web:2")["deployments"][0]
    for _ in range(3):
        world.pass_time(1)
        do_as_told(world, machine, failing="web:2")
    told = [message for message in messages(world) if "deployment" in message]
    assert told[-4:] == [
        f"(deployment {bad['id']}) deployment in progress.",
        f"(deployment {bad['id']}) deployment failed: tasks failed to start.",
        f"rolling back to deployment {good['id']}.",
        f"(deployment {good['id']}) deployment completed.",
    ]


def test_an_update_in_the_middle_of_a_rollback_goes_its_own_way(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 50, "maximumPercent": 100})
    for _ in range(2):
        world.task_definition(memory=100, cpu=100)
    update(world, taskDefinition="web:2")
    for _ in range(5):
        do_as_told(world, machine, failing="web:2")
        world.minutes(1)
    assert deployments(world)[0][:2] == ("PRIMARY", "web:1")
    update_service(world.cp, {"service": "web", "taskDefinition": "web:3", "desiredCount": 3})
    world.deliver()
    for _ in range(6):
        do_as_told(world, machine)
        world.minutes(1)
    assert deployments(world) == [("PRIMARY", "web:3", 3, 0, "COMPLETED")]


def test_a_return_that_fails_itself_has_failed_until_somebody_deploys(world: World, machine: str) -> None:
    create(world, machine, desired=1, deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 0})
    world.task_definition(memory=100, cpu=100)
    update(world, taskDefinition="web:2")
    for _ in range(12):
        do_as_told(world, machine, failing=deployments(world)[0][1])
        world.minutes(1)
    assert deployments(world)[0] == ("PRIMARY", "web:1", 0, 0, "FAILED")
    update(world, forceNewDeployment=True)
    do_as_told(world, machine)
    assert deployments(world) == [("PRIMARY", "web:1", 1, 0, "COMPLETED")]
