"""The life of a task through the real flows and store: what a user asks, what a machine is told, what it reports."""

import json
from typing import Any

import pytest

from control_plane.domain.errors import (
    ClusterNotFoundException,
    ConflictException,
    EcsError,
    InvalidParameterException,
)
from control_plane.flows.container_instances import deregister_container_instance, describe_container_instances
from control_plane.flows.list_tasks import list_tasks
from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.stop_task import stop_task
from control_plane.flows.tasks import describe_tasks
from ecs_protocol.messages import (
    ContainerReport,
    Deregistered,
    DescribeTasks,
    NetworkBinding,
    Reconcile,
    Reconciliation,
    Refused,
    RegistrationRequired,
    TaskCommands,
)
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from world import World

S = TaskStatus


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=1000, cpu=1000)


def run(world: World, **members: Any) -> str:
    answer = run_task(world.cp, {"taskDefinition": "web", **members})
    assert answer["failures"] == []
    task_id: str = answer["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    return task_id


def described(world: World, task_id: str) -> dict[str, Any]:
    answer = describe_tasks(world.cp, {"tasks": [task_id]})
    task: dict[str, Any] = answer["tasks"][0]
    return task


def test_from_run_task_to_stopped(world: World, machine: str) -> None:
    world.agents.take(machine)
    task_id = run(world, startedBy="me")
    world.deliver()
    [command] = world.agents.take(machine)
    assert isinstance(command, TaskCommands)
    assert [(task.task_id, task.desired_status) for task in command.tasks] == [(task_id, DesiredStatus.RUNNING)]
    assert command.task_definitions["web:1"]["containerDefinitions"][0]["image"] == "busybox"
    assert (world.instance(machine).memory, world.instance(machine).tasks) == (900, 1)

    binding = NetworkBinding(bind_ip="0.0.0.0", container_port=80, host_port=32768)
    container = ContainerReport(name="main", last_status=S.RUNNING, runtime_id="c1", network_bindings=(binding,))
    world.report(world.report_of(task_id, S.RUNNING, 1, containers=(container,)), instance_id=machine)
    task = described(world, task_id)
    assert (task["lastStatus"], task["startedBy"], task["connectivity"]) == ("RUNNING", "me", "CONNECTED")
    assert task["containers"][0]["networkBindings"] == [
        {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}
    ]

    stop_task(world.cp, {"task": task_id, "reason": "enough"})
    world.deliver()
    [command] = world.agents.take(machine)
    assert isinstance(command, TaskCommands)
    assert [task.desired_status for task in command.tasks] == [DesiredStatus.STOPPED]

    ended = ContainerReport(name="main", last_status=S.STOPPED, exit_code=143)
    world.report(world.report_of(task_id, S.STOPPED, 2, containers=(ended,)), instance_id=machine)
    task = described(world, task_id)
    assert (task["lastStatus"], task["stopCode"], task["stoppedReason"]) == ("STOPPED", "UserInitiated", "enough")
    assert task["containers"][0]["exitCode"] == 143
    assert (world.instance(machine).memory, world.instance(machine).tasks) == (1000, 0)
    world.deliver()
    details = [
        json.loads(entry["Detail"]) for entry in world.events.entries if entry["DetailType"] == "ECS Task State Change"
    ]
    assert [(detail["version"], detail["lastStatus"], detail["desiredStatus"]) for detail in details] == [
        (1, "PENDING", "RUNNING"),
        (2, "RUNNING", "RUNNING"),
        (3, "RUNNING", "STOPPED"),
        (4, "STOPPED", "STOPPED"),
    ]


def test_the_same_last_report_twice_releases_once(world: World, machine: str) -> None:
    task_id = run(world)
    last = world.report_of(task_id, S.STOPPED, 1, stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED)
    assert world.report(last, instance_id=machine) == set()
    assert world.report(last, instance_id=machine) == set()
    assert (world.instance(machine).memory, world.instance(machine).tasks) == (1000, 0)


def test_a_report_of_another_machines_task_is_dropped(world: World, machine: str) -> None:
    other = world.machine()
    task_id = start_task(world.cp, {"taskDefinition": "web", "containerInstances": [machine]})["tasks"][0]["taskArn"]
    task_id = task_id.rsplit("/", 1)[1]
    world.report(world.report_of(task_id, S.STOPPED, 1), instance_id=other)
    assert described(world, task_id)["lastStatus"] == "PENDING"


def test_a_message_under_another_certificate_is_refused(world: World, machine: str) -> None:
    world.agents.take(machine)
    world.say(machine, Reconcile(request_id="r", digest="d"), principal="cert-of-somebody-else")
    assert world.agents.take(machine) == []


def test_a_lost_answer_to_run_task_is_given_again(world: World, machine: str) -> None:
    request = {"taskDefinition": "web", "count": 10, "clientToken": "t"}
    first = run_task(world.cp, request)
    assert len(first["tasks"]) == 10  # and the machine is full now
    again = run_task(world.function(), request)
    assert [task["taskArn"] for task in again["tasks"]] == [task["taskArn"] for task in first["tasks"]]


def test_a_token_for_another_request_is_a_conflict(world: World, machine: str) -> None:
    run(world, clientToken="t")
    with pytest.raises(ConflictException):
        run_task(world.cp, {"taskDefinition": "web", "clientToken": "t", "startedBy": "somebody else"})


def test_what_does_not_fit_is_a_failure_with_its_reason(world: World, machine: str) -> None:
    world.task_definition("large", memory=1001, cpu=1)
    answer = run_task(world.cp, {"taskDefinition": "large"})
    arn = world.cp.arns.container_instance("default", machine)
    assert answer == {
        "tasks": [],
        "failures": [
            {
                "arn": arn,
                "reason": "RESOURCE:MEMORY",
                "detail": "RESOURCE:MEMORY (memory: wants 1001 MiB, has 1000 left)",
            }
        ],
    }


def test_some_may_fit(world: World, machine: str) -> None:
    world.task_definition("half", memory=400, cpu=1)
    answer = run_task(world.cp, {"taskDefinition": "half", "count": 3})
    assert (len(answer["tasks"]), [failure["reason"] for failure in answer["failures"]]) == (2, ["RESOURCE:MEMORY"])


@pytest.mark.parametrize(
    ("request_members", "error"),
    [
        pytest.param({"cluster": "nowhere"}, ClusterNotFoundException, id="no-such-cluster"),
        pytest.param({"taskDefinition": "nothing"}, EcsError, id="no-such-task-definition"),
        pytest.param({"taskDefinition": "web:7"}, EcsError, id="no-such-revision"),
    ],
)
def test_refusals(world: World, machine: str, request_members: dict[str, Any], error: type[EcsError]) -> None:
    with pytest.raises(error):
        run_task(world.cp, {"taskDefinition": "web", **request_members})


def test_a_cluster_without_instances(world: World) -> None:
    world.cluster()
    world.task_definition()
    with pytest.raises(InvalidParameterException, match="No Container Instances were found in your cluster"):
        run_task(world.cp, {"taskDefinition": "web"})


def test_reconciling_lists_what_should_run_and_raises_the_epoch(world: World, machine: str) -> None:
    task_id = run(world)
    world.report(world.report_of(task_id, S.RUNNING, 7), instance_id=machine)
    world.agents.take(machine)
    registration = world.instance(machine)
    world.register(machine, memory=1000, cpu=1000)
    [answer] = world.agents.take(machine)
    assert isinstance(answer, Reconciliation)
    assert answer.epoch == registration.epoch + 1
    [line] = answer.tasks
    assert (line.task_id, line.desired_status, line.report_epoch, line.report_number) == (
        task_id,
        DesiredStatus.RUNNING,
        1,
        7,
    )


def test_an_unknown_digest_asks_for_a_registration(world: World, machine: str) -> None:
    world.agents.take(machine)
    world.say(machine, Reconcile(request_id="r", digest="another"))
    assert world.agents.take(machine) == [RegistrationRequired(request_id="r")]


def test_registering_with_less_keeps_what_is_held(world: World, machine: str) -> None:
    task_id = run(world, count=1)
    world.register(machine, memory=50, cpu=1000)
    assert world.instance(machine).memory == -50
    world.report(world.report_of(task_id, S.STOPPED, 1), instance_id=machine)
    assert world.instance(machine).memory == 50


def test_asking_by_name(world: World, machine: str) -> None:
    mine, ended, unknown = run(world), run(world), "f" * 32
    world.report(world.report_of(ended, S.STOPPED, 1), instance_id=machine)
    world.agents.take(machine)
    world.say(machine, DescribeTasks(request_id="r", task_ids=(mine, ended, unknown)))
    [answer] = world.agents.take(machine)
    assert isinstance(answer, TaskCommands)
    assert {task.task_id: str(task.desired_status) for task in answer.tasks} == {mine: "RUNNING", ended: "STOPPED"}
    assert answer.unknown_tasks == (unknown,)


def test_definitions_go_only_to_who_runs_them(world: World, machine: str) -> None:
    run(world)
    world.task_definition("secret")
    world.agents.take(machine)
    world.say(machine, DescribeTasks(request_id="r", task_definitions=("web:1", "secret:1")))
    [answer] = world.agents.take(machine)
    assert isinstance(answer, TaskCommands)
    assert list(answer.task_definitions) == ["web:1"]


def test_an_agent_that_cannot_be_reached_is_told_later(world: World, machine: str) -> None:
    world.agents.take(machine)
    task_id = run(world)
    world.agents.unreachable = True
    world.deliver()
    assert [key["taskId"] for key in world.queues.commands] == [task_id]


def test_deregistering(world: World, machine: str) -> None:
    task_id = run(world)
    with pytest.raises(InvalidParameterException, match="Found running tasks on the instance"):
        deregister_container_instance(world.cp, {"containerInstance": machine})
    answer = deregister_container_instance(world.cp, {"containerInstance": machine, "force": True})
    assert answer["containerInstance"]["status"] == "INACTIVE"
    assert described(world, task_id)["lastStatus"] == "STOPPED"
    assert world.registry.retired == set()
    assert Deregistered() in world.agents.take(machine)
    world.register(machine, memory=1000, cpu=1000)
    again, refused = world.agents.take(machine)
    assert again == Deregistered()
    assert isinstance(refused, Refused)
    assert refused.error == "InactiveInstance"
    found = describe_container_instances(world.cp, {"containerInstances": [machine]})
    assert found["containerInstances"][0]["status"] == "INACTIVE"


def test_a_report_after_the_instance_is_gone_still_stops_the_task(world: World, machine: str) -> None:
    task_id = run(world)
    instance = world.table.get  # the item itself is taken away, as a restored backup might lack it
    from control_plane.store import keys  # noqa: PLC0415

    key = keys.instance("default", machine)
    assert instance(key) is not None
    world.table._client.delete_item(TableName=world.table.name, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}})
    assert world.report(world.report_of(task_id, S.STOPPED, 1), instance_id=machine) == set()
    assert described(world, task_id)["lastStatus"] == "STOPPED"
    assert world.instance(machine) is None


def test_list_tasks(world: World, machine: str) -> None:
    running, ended = run(world, startedBy="a"), run(world, startedBy="b")
    world.report(world.report_of(ended, S.STOPPED, 1), instance_id=machine)
    arn = world.cp.arns.task
    assert list_tasks(world.cp, {})["taskArns"] == [arn("default", running)]
    assert list_tasks(world.cp, {"desiredStatus": "STOPPED"})["taskArns"] == [arn("default", ended)]
    assert list_tasks(world.cp, {"startedBy": "b"})["taskArns"] == []
    assert list_tasks(world.cp, {"family": "web", "containerInstance": machine})["taskArns"] == [
        arn("default", running)
    ]
    assert list_tasks(world.cp, {"startedBy": "b", "desiredStatus": "STOPPED"})["taskArns"] == [arn("default", ended)]
    world.pass_time(3601)
    assert list_tasks(world.cp, {"desiredStatus": "STOPPED"})["taskArns"] == []
    assert describe_tasks(world.cp, {"tasks": [ended]})["failures"][0]["reason"] == "MISSING"


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "other", [{"family": "web"}, {"serviceName": "web"}, {"containerInstance": "0" * 32}, {"launchType": "EXTERNAL"}]
)
def test_who_started_tasks_is_not_asked_with_any_other_filter(world: World, other: dict[str, str]) -> None:
    with pytest.raises(InvalidParameterException, match="cannot specify startedBy with other arguments"):
        list_tasks(world.cp, {"startedBy": "a", **other})


@pytest.mark.usefixtures("machine")
def test_an_arn_of_another_cluster_is_refused_in_amazons_words(world: World) -> None:
    world.cluster("other")
    arn = world.cp.arns.task("default", "0" * 32)
    with pytest.raises(InvalidParameterException) as refused:
        describe_tasks(world.cp, {"cluster": "other", "tasks": [arn]})
    assert str(refused.value) == "Invalid identifier: Identifier is for cluster default. Your cluster is other"
