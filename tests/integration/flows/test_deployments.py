"""UpdateService: one revision takes the place of another, or does not."""

import json
from typing import Any

import pytest

from control_plane.domain.errors import ClientException, EcsError, InvalidParameterException
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.task_definitions import deregister_task_definition
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from world import World

S = TaskStatus
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
UNKNOWN = HealthStatus.UNKNOWN


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=2000, cpu=2000)


def service(world: World) -> dict[str, Any]:
    answer: dict[str, Any] = describe_services(world.cp, {"services": ["web"]})["services"][0]
    return answer


def create(world: World, machine: str, desired: int = 2, **members: Any) -> None:
    """A service that is steady."""
    request = {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": desired}
    create_service(world.cp, {**request, **members})
    world.deliver()
    do_as_told(world, machine)
    assert service(world)["deployments"][0]["rolloutState"] == "COMPLETED"


def update(world: World, **members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = update_service(world.cp, {"service": "web", **members})["service"]
    world.deliver()
    return answer


def do_as_told(world: World, machine: str, *, failing: str = "", health: HealthStatus = UNKNOWN) -> None:
    """Tasks run, or stop; those of the `failing` definition never run."""
    for task in tasks.of_instance(world.table, "default", machine):
        members: dict[str, Any] = {}
        if task.desired_status is DesiredStatus.STOPPED:
            status = S.STOPPED
        elif task.task_definition == failing and task.started_at is None:
            status, members = S.STOPPED, {"stop_code": StopCode.TASK_FAILED_TO_START, "stopped_reason": "no such image"}
        else:
            status = S.RUNNING
        container = ContainerReport(name="main", last_status=status, health_status=health)
        number = task.report_number + 1
        report = world.report_of(task.task_id, status, number, containers=(container,), **members)
        world.report(report, instance_id=machine)
    world.deliver()


def deployments(world: World) -> list[tuple[str, str, int, int, str]]:
    return [
        (
            each["status"],
            each["taskDefinition"].rpartition("/")[2],
            each["runningCount"],
            each["pendingCount"],
            each["rolloutState"],
        )
        for each in service(world)["deployments"]
    ]


def event_names(world: World) -> list[str]:
    details = [json.loads(entry["Detail"]) for entry in world.events.entries]
    return [detail["eventName"] for detail in details if "eventName" in detail]


def test_new_tasks_start_beside_the_old_ones_and_take_their_place(world: World, machine: str) -> None:
    create(world, machine)
    world.task_definition(memory=100, cpu=100)
    world.events.entries.clear()
    answer = update(world, taskDefinition="web:2")
    assert answer["taskDefinition"].endswith("web:2")
    assert deployments(world) == [
        ("PRIMARY", "web:2", 0, 2, "IN_PROGRESS"),
        ("ACTIVE", "web:1", 2, 0, "COMPLETED"),
    ]
    do_as_told(world, machine)
    assert deployments(world) == [
        ("PRIMARY", "web:2", 2, 0, "IN_PROGRESS"),
        ("ACTIVE", "web:1", 0, 0, "COMPLETED"),
    ]
    do_as_told(world, machine)
    assert deployments(world) == [("PRIMARY", "web:2", 2, 0, "COMPLETED")]
    assert event_names(world) == [
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_STEADY_STATE",
        "SERVICE_DEPLOYMENT_COMPLETED",
    ]
    assert world.instance(machine).tasks == 2


def test_the_same_revision_is_deployed_only_by_force(world: World, machine: str) -> None:
    create(world, machine)
    [before] = service(world)["deployments"]
    assert update(world, taskDefinition="web:1")["deployments"][0]["id"] == before["id"]
    after = update(world, forceNewDeployment=True)["deployments"]
    assert [each["id"] == before["id"] for each in after] == [False, True]


def test_two_updates_at_once_leave_the_newest(world: World, machine: str) -> None:
    create(world, machine)
    for _ in range(2):
        world.task_definition(memory=100, cpu=100)
    update_service(world.cp, {"service": "web", "taskDefinition": "web:2"})
    update(world, taskDefinition="web:3")
    for _ in range(3):
        do_as_told(world, machine)
    assert deployments(world) == [("PRIMARY", "web:3", 2, 0, "COMPLETED")]


def test_within_its_bounds_one_at_a_time(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration={"maximumPercent": 100, "minimumHealthyPercent": 50})
    world.task_definition(memory=100, cpu=100)
    update(world, taskDefinition="web:2")
    seen = [deployments(world)]
    while len(seen[-1]) > 1:
        do_as_told(world, machine)
        seen.append(deployments(world))
    assert [[each[1:4] for each in step] for step in seen] == [
        [("web:2", 0, 0), ("web:1", 1, 0)],
        [("web:2", 0, 1), ("web:1", 1, 0)],
        [("web:2", 1, 0), ("web:1", 0, 0)],
        [("web:2", 1, 1)],
    ]


def test_a_revision_that_does_not_start_is_rolled_back(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration=BREAKER)
    [good] = service(world)["deployments"]
    world.task_definition(memory=100, cpu=100)
    world.events.entries.clear()
    update(world, taskDefinition="web:2")
    for _ in range(3):
        do_as_told(world, machine, failing="web:2")
    assert deployments(world) == [("PRIMARY", "web:1", 2, 0, "COMPLETED")]
    assert service(world)["deployments"][0]["id"] == good["id"], "its tasks have never stopped"
    assert service(world)["taskDefinition"].endswith("web:1")
    assert [name for name in event_names(world) if "DEPLOYMENT" in name] == [
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_DEPLOYMENT_FAILED",
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_DEPLOYMENT_COMPLETED",
    ]


def test_without_a_rollback_it_has_failed_and_the_old_tasks_run_on(world: World, machine: str) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    create(world, machine, deploymentConfiguration=breaker)
    world.task_definition(memory=100, cpu=100)
    update(world, taskDefinition="web:2")
    for _ in range(4):
        do_as_told(world, machine, failing="web:2")
    assert deployments(world) == [
        ("PRIMARY", "web:2", 0, 0, "FAILED"),
        ("ACTIVE", "web:1", 2, 0, "COMPLETED"),
    ]
    assert service(world)["deployments"][0]["rolloutStateReason"] == (
        "ECS deployment circuit breaker: tasks failed to start."
    )
    world.task_definition(memory=100, cpu=100)
    update(world, taskDefinition="web:3")
    for _ in range(2):
        do_as_told(world, machine)
    assert deployments(world) == [("PRIMARY", "web:3", 2, 0, "COMPLETED")]


def test_what_cannot_be_placed_is_a_failure_each_time_that_it_is_tried_by_the_clock(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration=BREAKER)
    world.task_definition(memory=5000, cpu=100)
    update(world, taskDefinition="web:2")
    assert service(world)["deployments"][0]["failedTasks"] == 1
    for _ in range(20):
        do_as_told(world, machine)
    assert service(world)["deployments"][0]["failedTasks"] == 1, "other news of the service are no attempts"
    world.minutes(3, sweeps_each=0.5)
    assert deployments(world) == [("PRIMARY", "web:1", 2, 0, "COMPLETED")]


def test_an_unhealthy_task_is_replaced_and_then_stopped(world: World) -> None:
    world.cluster()
    world.task_definition(healthCheck={"command": ["CMD", "true"]})
    machine = world.machine()
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 1})
    world.deliver()
    do_as_told(world, machine)
    assert deployments(world) == [("PRIMARY", "web:1", 1, 0, "IN_PROGRESS")], "RUNNING is not HEALTHY"
    do_as_told(world, machine, health=HealthStatus.HEALTHY)
    [first] = tasks.of_instance(world.table, "default", machine)
    do_as_told(world, machine, health=HealthStatus.UNHEALTHY)
    assert len(tasks.of_instance(world.table, "default", machine)) == 2
    world.report(
        world.report_of(
            first.task_id,
            S.RUNNING,
            9,
            containers=(ContainerReport(name="main", last_status=S.RUNNING, health_status=HealthStatus.UNHEALTHY),),
        ),
        instance_id=machine,
    )
    [second] = [each for each in tasks.of_instance(world.table, "default", machine) if each.task_id != first.task_id]
    well = ContainerReport(name="main", last_status=S.RUNNING, health_status=HealthStatus.HEALTHY)
    world.report(world.report_of(second.task_id, S.RUNNING, 9, containers=(well,)), instance_id=machine)
    world.deliver()
    stopped = tasks.load(world.table, "default", first.task_id)
    assert stopped is not None
    assert (stopped.desired_status, stopped.stopped_reason) == (
        DesiredStatus.STOPPED,
        "Task failed container health checks",
    )
    assert f"(service web) (task {first.task_id}) failed container health checks." in {
        event["message"] for event in service(world)["events"]
    }


@pytest.mark.parametrize(
    ("members", "error", "words"),
    [
        pytest.param({"taskDefinition": "web:9"}, ClientException, "Unable to describe", id="no-such-definition"),
        pytest.param({"taskDefinition": "old:1"}, ClientException, "TaskDefinition is inactive", id="a-former-one"),
        pytest.param(
            {"deploymentConfiguration": {"maximumPercent": 100}},
            InvalidParameterException,
            "cannot be 100 as this will block deployments",
            id="bounds-that-block",
        ),
        pytest.param(
            {"deploymentConfiguration": {"maximumPercent": 99}},
            InvalidParameterException,
            "maximumPercent should be 100 or more",
            id="fewer-than-wanted",
        ),
        pytest.param(
            {"deploymentConfiguration": {"minimumHealthyPercent": 101}},
            InvalidParameterException,
            "minimumHealthyPercent should be between 0 and 100",
            id="more-than-wanted",
        ),
    ],
)
def test_a_bad_update_changes_nothing(
    world: World, machine: str, members: dict[str, Any], error: type[EcsError], words: str
) -> None:
    world.task_definition("old")
    deregister_task_definition(world.cp, {"taskDefinition": "old:1"})
    create(world, machine)
    before = service(world)
    with pytest.raises(error, match=words):
        update_service(world.cp, {"service": "web", **members})
    assert service(world) == before


def test_the_configuration_is_echoed_and_changed_member_by_member(world: World, machine: str) -> None:
    threshold = {"type": "COUNT", "value": 5}
    breaker = {"enable": True, "rollback": True, "resetOnHealthyTask": False, "thresholdConfiguration": threshold}
    create(
        world, machine, deploymentConfiguration={"deploymentCircuitBreaker": breaker}, healthCheckGracePeriodSeconds=7
    )
    update(world, deploymentConfiguration={"minimumHealthyPercent": 50}, healthCheckGracePeriodSeconds=8)
    assert service(world)["deploymentConfiguration"] == {
        "deploymentCircuitBreaker": breaker,
        "maximumPercent": 200,
        "minimumHealthyPercent": 50,
    }
    assert service(world)["healthCheckGracePeriodSeconds"] == 8
    assert len(service(world)["deployments"]) == 1, "that is no deployment"


# --- deployments that can make no step


def stuck(world: World) -> list[str]:
    return [event["message"] for event in service(world)["events"] if "was unable to start or stop" in event["message"]]


def test_a_host_port_on_the_only_machine(world: World, machine: str) -> None:
    """There is no room for the new task beside the old one, which must not stop first."""
    ports = [{"containerPort": 80, "hostPort": 80}]
    world.task_definition(memory=100, cpu=100, portMappings=ports)
    create(world, machine, desired=1, taskDefinition="web:2")
    update(world, forceNewDeployment=True)
    world.minutes(3)
    [primary, _] = service(world)["deployments"]
    assert stuck(world) == [
        f"(service web) was unable to start or stop a task for (deployment {primary['id']}): no container "
        "instance has room for a new task beside those of the former deployment, and with desiredCount 1 "
        "minimumHealthyPercent 100 lets none of these stop first. Lower minimumHealthyPercent to 0."
    ]
    update(world, deploymentConfiguration={"minimumHealthyPercent": 0})
    for _ in range(2):
        do_as_told(world, machine)
    assert [state for *_, state in deployments(world)] == ["COMPLETED"]


def test_a_host_port_is_free_elsewhere(world: World, machine: str) -> None:
    ports = [{"containerPort": 80, "hostPort": 80}]
    world.task_definition(memory=100, cpu=100, portMappings=ports)
    create(world, machine, desired=1, taskDefinition="web:2")
    world.machine()
    update(world, forceNewDeployment=True)
    assert stuck(world) == []


def test_bounds_that_forbid_both_are_named_with_their_remedies(world: World, machine: str) -> None:
    bounds = {"minimumHealthyPercent": 60, "maximumPercent": 120}
    create(world, machine, desired=2, deploymentConfiguration=bounds)
    update(world, forceNewDeployment=True)
    [message] = stuck(world)
    assert message.endswith(
        "with desiredCount 2, minimumHealthyPercent 60 and maximumPercent 120 allow neither. Lower "
        "minimumHealthyPercent to 50, or raise maximumPercent to 150."
    )


def test_scaling_in_keeps_the_spread(world: World, machine: str) -> None:
    """Six tasks over three sites of two machines each."""
    del machine
    sites = {world.machine(attributes={"site": site, "use": "web"}): site for site in ("oslo", "oslo", "rome", "bern")}
    spread = {"placementStrategy": [{"type": "spread", "field": "attribute:site"}]}
    only = {"placementConstraints": [{"type": "memberOf", "expression": "attribute:use == web"}]}
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 6, **spread, **only})
    world.deliver()
    for each in sites:
        do_as_told(world, each)
    for desired in (5, 4, 3, 2):
        update(world, desiredCount=desired)
        for each in sites:
            do_as_told(world, each)
        held = dict.fromkeys(sites.values(), 0)
        for each, site in sites.items():
            held[site] += len(tasks.of_instance(world.table, "default", each))
        assert sum(held.values()) == desired
        assert max(held.values()) - min(held.values()) <= 1
