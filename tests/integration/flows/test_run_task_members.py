"""What RunTask and StartTask are told of their tasks, to the machine and back in DescribeTasks."""

from datetime import timedelta
from typing import Any

import pytest

from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.task_definitions import register_task_definition
from control_plane.flows.tasks import describe_tasks
from control_plane.store import tasks
from ecs_anywhere_agent.container_spec import ContainerSpec, container_specs
from ecs_protocol.messages import ContainerReport, NetworkBinding, TaskCommands
from ecs_protocol.statuses import HealthStatus, StopCode
from ecs_protocol.statuses import TaskStatus as S
from world import EVERY_CAPABILITY, START, World

ROLE = "arn:aws:iam::123456789012:role/role"
MAIN = {"name": "main", "image": "busybox", "memory": 64, "cpu": 10, "command": ["sleep", "9"]}
TASK_LIMITS = "ecs.capability.task-cpu-mem-limit"
"""That the containers of a task have a limit together."""
SIDE = {"name": "side", "image": "busybox", "memory": 32, "environment": [{"name": "A", "value": "1"}]}


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    register_task_definition(world.cp, {"family": "web", "containerDefinitions": [MAIN, SIDE]})
    return world.machine(
        cpu=1024,
        memory=1024,
        capabilities=[*EVERY_CAPABILITY, TASK_LIMITS],
        attributes={"ecs.cpu-architecture": "arm64"},
    )


def of_main(**members: Any) -> dict[str, Any]:
    return {"containerOverrides": [{"name": "main", **members}]}


def made_by_the_agent(world: World, machine: str) -> dict[str, ContainerSpec]:
    """The containers that the agent makes of the one command that it was sent, by name."""
    world.deliver()
    [command] = [each for each in world.agents.take(machine) if isinstance(each, TaskCommands)]
    [task] = command.tasks
    specs = container_specs(
        command.task_definitions[task.task_definition],
        task.overrides,
        container_instance_arn="instance",
        cluster="default",
        task_arn=task.task_id,
    )
    return {spec.name: spec for spec in specs}


@pytest.mark.parametrize("operation", [run_task, start_task])
def test_overrides_reach_the_machine_and_are_echoed(world: World, machine: str, operation: Any) -> None:
    overrides = {
        "containerOverrides": [
            {
                "name": "side",
                "command": ["true"],
                "environment": [{"name": "B", "value": "2"}],
                "cpu": 100,
                "memory": 128,
                "memoryReservation": 96,
            }
        ],
        "cpu": "512",
        "memory": "256",
        "executionRoleArn": ROLE,
    }
    where = {"containerInstances": [machine]} if operation is start_task else {}
    [task] = operation(world.cp, {"taskDefinition": "web", "overrides": overrides, **where})["tasks"]
    assert task["overrides"] == {
        **overrides,
        "containerOverrides": [*overrides["containerOverrides"], {"name": "main"}],
        "inferenceAcceleratorOverrides": [],
    }
    assert (task["cpu"], task["memory"]) == ("512", "256")
    assert (world.instance(machine).cpu, world.instance(machine).memory) == (512, 768)
    made = made_by_the_agent(world, machine)
    assert (made["main"].command, made["main"].environment) == (("sleep", "9"), ())
    side = made["side"]
    assert (side.command, dict(side.environment)) == (("true",), {"A": "1", "B": "2"})
    assert (side.cpu_shares, side.memory_limit, side.memory_reservation) == (100, 128, 96)
    assert side.task_limits == (512, 256)


@pytest.mark.parametrize(
    ("overrides", "lacking"),
    [
        pytest.param(
            of_main(resourceRequirements=[{"type": "GPU", "value": "1"}]), "ecs-anywhere.capability.gpu", id="gpu"
        ),
    ],
)
@pytest.mark.parametrize("operation", [run_task, start_task])
def test_what_a_machine_cannot_honour_is_not_placed_on_it(
    world: World, machine: str, operation: Any, overrides: dict[str, Any], lacking: str
) -> None:
    def run(on: str) -> dict[str, Any]:
        where = {"containerInstances": [on]} if operation is start_task else {}
        answer: dict[str, Any] = operation(world.cp, {"taskDefinition": "web", "overrides": overrides, **where})
        return answer

    answer = run(machine)
    assert (answer["tasks"], [each["reason"] for each in answer["failures"]]) == ([], ["ATTRIBUTE"])
    able = world.machine(gpus=["GPU-0"], capabilities=[*EVERY_CAPABILITY, TASK_LIMITS, lacking])
    world.pass_time(6)
    answer = run(able)
    assert answer["failures"] == []
    assert [each["containerInstanceArn"] for each in answer["tasks"]] == [
        world.cp.arns.container_instance("default", able)
    ]


def test_a_reference_id_is_kept(world: World, machine: str) -> None:
    del machine
    [task] = run_task(world.cp, {"taskDefinition": "web", "referenceId": "order-7"})["tasks"]
    kept = tasks.load(world.table, "default", task["taskArn"].rsplit("/", 1)[1])
    assert kept is not None
    assert kept.reference_id == "order-7"


def test_a_task_in_full(world: World, machine: str) -> None:
    world.connects(machine)
    world.pass_time(60)
    [told] = run_task(world.cp, {"taskDefinition": "web", "tags": [{"key": "team", "value": "a"}]})["tasks"]
    task_id = told["taskArn"].rsplit("/", 1)[1]
    world.pass_time(5)
    reports = (
        ContainerReport(
            name="main",
            last_status=S.RUNNING,
            runtime_id="c1",
            image_digest="sha256:1",
            health_status=HealthStatus.HEALTHY,
            network_bindings=(NetworkBinding(bind_ip="0.0.0.0", container_port=80, host_port=32768),),
        ),
        ContainerReport(name="side", last_status=S.RUNNING, runtime_id="c2"),
    )
    at = {"pull_started_at": START + timedelta(seconds=61), "pull_stopped_at": START + timedelta(seconds=62)}
    started = {**at, "started_at": START + timedelta(seconds=63), "epoch": world.instance(machine).epoch}
    world.report(world.report_of(task_id, S.RUNNING, 1, containers=reports, **started), instance_id=machine)
    [task] = describe_tasks(world.cp, {"tasks": [task_id], "include": ["TAGS"]})["tasks"]
    arn = "arn:aws:ecs:eu-west-1:123456789012"
    made = {"taskArn": f"{arn}:task/default/{task_id}", "image": "busybox", "lastStatus": "RUNNING"}
    assert task == {
        "taskArn": f"{arn}:task/default/{task_id}",
        "clusterArn": f"{arn}:cluster/default",
        "taskDefinitionArn": f"{arn}:task-definition/web:1",
        "containerInstanceArn": f"{arn}:container-instance/default/{machine}",
        "group": "family:web",
        "launchType": "EXTERNAL",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "connectivity": "CONNECTED",
        "connectivityAt": START + timedelta(seconds=60),
        "healthStatus": "UNKNOWN",
        "cpu": "10",
        "memory": "96",
        "containers": [
            {
                **made,
                "name": "main",
                "containerArn": f"{arn}:container/default/{task_id}/main",
                "imageDigest": "sha256:1",
                "runtimeId": "c1",
                "networkBindings": [{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}],
                "networkInterfaces": [],
                "healthStatus": "HEALTHY",
                "cpu": "10",
                "memory": "64",
            },
            {
                **made,
                "name": "side",
                "containerArn": f"{arn}:container/default/{task_id}/side",
                "runtimeId": "c2",
                "networkBindings": [],
                "networkInterfaces": [],
                "healthStatus": "UNKNOWN",
                "cpu": "0",
                "memory": "32",
            },
        ],
        "overrides": {
            "containerOverrides": [{"name": "main"}, {"name": "side"}],
            "inferenceAcceleratorOverrides": [],
        },
        "attachments": [],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "arm64"}],
        "enableExecuteCommand": False,
        "tags": [{"key": "team", "value": "a"}],
        "version": 2,
        "createdAt": START + timedelta(seconds=60),
        "pullStartedAt": START + timedelta(seconds=61),
        "pullStoppedAt": START + timedelta(seconds=62),
        "startedAt": START + timedelta(seconds=63),
    }


def test_a_task_connects_when_its_machine_does(world: World, machine: str) -> None:
    world.connects(machine)
    task_id = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"].rsplit("/", 1)[1]

    def connectivity() -> tuple[Any, Any]:
        [task] = describe_tasks(world.cp, {"tasks": [task_id]})["tasks"]
        return task.get("connectivity"), task.get("connectivityAt")

    assert connectivity() == ("CONNECTED", START)
    world.disconnects(machine)
    world.minutes(5)
    assert connectivity() == ("DISCONNECTED", None)
    world.connects(machine)
    assert connectivity() == ("CONNECTED", world.now)
    end = world.report_of(task_id, S.STOPPED, 1, epoch=world.instance(machine).epoch)
    world.report(end, instance_id=machine)
    assert connectivity() == (None, None)


def test_a_stopped_task_says_why_and_when(world: World, machine: str) -> None:
    task_id = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    ended = ContainerReport(name="main", last_status=S.STOPPED, exit_code=1, reason="OutOfMemoryError")
    times = {"execution_stopped_at": START + timedelta(seconds=1), "stopped_at": START + timedelta(seconds=2)}
    why = {"stop_code": StopCode.ESSENTIAL_CONTAINER_EXITED, "stopped_reason": "Essential container in task exited"}
    world.report(world.report_of(task_id, S.STOPPED, 1, containers=(ended,), **times, **why), instance_id=machine)
    [task] = describe_tasks(world.cp, {"tasks": [task_id]})["tasks"]
    said = ("stopCode", "stoppedReason", "executionStoppedAt", "stoppedAt", "stoppingAt")
    assert {member: task[member] for member in said} == {
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "executionStoppedAt": START + timedelta(seconds=1),
        "stoppedAt": START + timedelta(seconds=2),
        "stoppingAt": START,
    }
    main = task["containers"][0]
    assert (main["lastStatus"], main["exitCode"], main["reason"]) == ("STOPPED", 1, "OutOfMemoryError")
