"""`ecs-anywhere why`: the answer of the control plane."""

from typing import Any

import pytest

from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.flows.run_task_event import run_task_for_event
from control_plane.flows.services import create_service
from control_plane.store import keys
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import StopCode, TaskStatus
from world import World


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=1000, cpu=1000, attributes={"site": "oslo"})


def ask(world: World, name: str, cluster: str = "default") -> dict[str, Any]:
    return operate(world.cp, {"operation": "Why", "name": name, "cluster": cluster})


def serve(world: World, **members: Any) -> None:
    request = {"serviceName": "api", "taskDefinition": "web", "desiredCount": 1, **members}
    create_service(world.cp, {name: value for name, value in request.items() if value is not None})
    world.deliver()


def test_a_service_that_no_instance_can_take(world: World, machine: str) -> None:
    small = world.machine(memory=50, cpu=2000, attributes={"site": "bergen"})
    world.disconnects(small)
    serve(world, placementConstraints=[{"type": "memberOf", "expression": "attribute:site == bergen"}])
    answer = ask(world, "api")
    assert answer["kind"] == "service"
    assert answer["service"]["waitingSince"] == "2026-01-01T00:00:00+00:00"
    assert answer["placement"] == {
        "placeable": False,
        "instances": 2,
        "refusals": [
            {"reason": "AGENT", "count": 1, "containerInstances": [small]},
            {"reason": "MemberOf placement constraint unsatisfied.", "count": 1, "containerInstances": [machine]},
            {"reason": "RESOURCE:MEMORY", "count": 1, "containerInstances": [small]},
        ],
        "closest": {
            "containerInstance": small,
            "reasons": ["AGENT", "RESOURCE:MEMORY"],
            "lacks": ["its agent is not connected", "memory: wants 100 MiB, has 50 left"],
        },
    }
    assert any("was unable to place a task" in event["message"] for event in answer["events"])


@pytest.mark.parametrize(
    ("definition", "lacks"),
    [
        pytest.param({"memory": 1200}, ["memory: wants 1200 MiB, has 1000 left"], id="memory"),
        pytest.param({"cpu": 1100}, ["CPU: wants 1100 units, has 1000 left"], id="cpu"),
        pytest.param(
            {"portMappings": [{"containerPort": 80, "hostPort": 80}]}, ["host ports in use: 80/tcp"], id="a-port"
        ),
        pytest.param(
            {"versionConsistency": "enabled"},
            ["attributes: ecs-anywhere.capability.version-consistency"],
            id="an-attribute",
        ),
    ],
)
def test_what_the_closest_instance_lacks(
    world: World, machine: str, definition: dict[str, Any], lacks: list[str]
) -> None:
    world.register(machine, memory=1000, cpu=1000, ports=[80])
    world.task_definition("large", **{"memory": 100, "cpu": 100, **definition})
    serve(world, taskDefinition="large")
    assert ask(world, "api")["placement"]["closest"]["lacks"] == lacks


def test_one_that_may_not_share_an_instance_with_itself(world: World, machine: str) -> None:
    serve(world, desiredCount=2, placementConstraints=[{"type": "distinctInstance"}])
    assert ask(world, "api")["placement"]["closest"]["lacks"] == ["holds a task of the group already"]


@pytest.mark.parametrize(
    ("members", "reason", "lacks"),
    [
        pytest.param({"status": "DRAINING"}, "DRAINING", "its status is DRAINING", id="it-drains"),
        pytest.param(
            {"duplicateFoundAt": "2026-01-01T00:00:00+00:00"},
            "AGENT",
            "two machines use its identity: see ecs-anywhere duplicates list",
            id="two-use-its-identity",
        ),
    ],
)
def test_what_keeps_tasks_from_a_machine(
    world: World, machine: str, members: dict[str, Any], reason: str, lacks: str
) -> None:
    key = keys.instance("default", machine)
    world.table.put_many({key: {**(world.table.get(key) or {}), **members}})
    serve(world)
    assert ask(world, "api")["placement"]["closest"] == {
        "containerInstance": machine,
        "reasons": [reason],
        "lacks": [lacks],
    }


def test_a_service_that_waits_for_the_task_of_a_daemon(world: World, machine: str) -> None:
    serve(world, serviceName="agent", schedulingStrategy="DAEMON", desiredCount=None)
    joined = world.machine(memory=1000, cpu=1000, attributes={"site": "oslo", "rack": "r1"})
    rack = {"type": "memberOf", "expression": "attribute:rack == r1"}
    create_service(
        world.cp,
        {"serviceName": "api", "taskDefinition": "web", "desiredCount": 1, "placementConstraints": [rack]},
    )
    closest = ask(world, "api")["placement"]["closest"]
    assert closest["containerInstance"] == joined
    assert closest["lacks"] == ["tasks of DAEMON services go first, for a minute at most: agent"]
    world.deliver()
    assert ask(world, "api")["placement"] == {"placeable": True, "containerInstance": joined}


def test_a_service_that_lacks_nothing(world: World, machine: str) -> None:
    serve(world)
    assert ask(world, world.cp.arns.service("default", "api"))["placement"] == {
        "placeable": True,
        "containerInstance": machine,
    }


def test_a_cluster_without_instances(world: World) -> None:
    world.cluster()
    world.task_definition()
    serve(world)
    assert ask(world, "api")["placement"] == {"placeable": False, "instances": 0, "refusals": [], "closest": None}


def test_it_decides_without_carrying_out(world: World, machine: str) -> None:
    serve(world)
    before = world.instance(machine)
    ask(world, "api")
    assert (world.instance(machine), world.table.stream) == (before, [])


def test_a_task_that_has_stopped(world: World, machine: str) -> None:
    arn = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"]
    container = ContainerReport(name="main", last_status=TaskStatus.STOPPED, exit_code=137)
    report = world.report_of(
        arn.rpartition("/")[2],
        TaskStatus.STOPPED,
        1,
        containers=(container,),
        stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED,
        stopped_reason="Essential container in task exited",
    )
    world.report(report, instance_id=machine)
    answer = ask(world, arn)
    assert answer["kind"] == "task"
    assert answer["task"]["containerInstanceArn"].endswith(machine)
    assert answer["task"]["stopCode"] == "EssentialContainerExited"
    assert answer["task"]["containers"][0]["exitCode"] == 137


def test_a_task_on_a_machine_that_is_away(world: World, machine: str) -> None:
    arn = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"]
    world.disconnects(machine)
    assert ask(world, arn.rpartition("/")[2])["task"]["connectivity"] == "DISCONNECTED"


def test_an_event_that_waits(world: World, machine: str) -> None:
    detail = {"taskDefinition": "web", "count": 10, "waitForCapacitySeconds": 60, "overrides": {"memory": "200"}}
    world.allow("events/my.app", "ecs:RunTask")
    event = {"id": "event-1", "source": "my.app", "time": "2026-01-01T00:00:00Z", "detail": detail}
    run_task_for_event(world.cp, event)
    answer = ask(world, "event-1")
    assert answer["event"] == {
        "requestId": "event-1",
        "waitingSince": "2026-01-01T00:00:00+00:00",
        "waitsUntil": "2026-01-01T00:01:00+00:00",
        "placedCount": 5,
    }
    assert answer["placement"]["closest"]["lacks"] == ["memory: wants 200 MiB, has 0 left"]


@pytest.mark.parametrize("name", ["none", "0" * 32])
def test_nothing_of_that_name(world: World, machine: str, name: str) -> None:
    assert ask(world, name) == {
        "error": "InvalidParameterException",
        "message": f"There is no task, service or waiting Run Task event {name} in cluster default.",
    }
