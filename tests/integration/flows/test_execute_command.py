"""ExecuteCommand and the logs of tasks: who is let, what the machine is told, and what an auditor sees."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.validate import ParamValidator
from functions.api_ecs.app import carry_out

from control_plane.domain.authorization import Caller
from control_plane.domain.errors import (
    AccessDeniedException,
    ClusterNotFoundException,
    EcsError,
    InvalidParameterException,
    ServerException,
    TargetNotConnectedException,
)
from control_plane.flows.execute_command import NO_PLUGIN, NOT_CONNECTED, NOT_ENABLED, execute_command
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.stop_task import stop_task
from control_plane.flows.tasks import describe_tasks
from control_plane.gateways.ecs_model import service_model
from ecs_protocol.messages import ContainerReport, OpenExec, OpenLogs, TaskCommands
from ecs_protocol.statuses import TaskStatus
from ecs_protocol.streams import STREAM_SECONDS, Stream
from world import EVERY_CAPABILITY, PREFIX, STREAM_ROLE, World

OPERATOR = Caller(principal="operator", access_key_id="AKIDOPERATOR", source="192.0.2.1")
ECS = "arn:aws:ecs:eu-west-1:123456789012"
NOBODY = "0" * 32


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition("web")
    return world.machine()


def running(world: World, machine: str, *, enabled: bool = True) -> str:
    """The id of a task that runs."""
    [task] = run_task(world.cp, {"taskDefinition": "web", "enableExecuteCommand": enabled})["tasks"]
    task_id = str(task["taskArn"].rsplit("/", 1)[1])
    main = ContainerReport(name="main", last_status=TaskStatus.RUNNING)
    report = world.report_of(task_id, TaskStatus.RUNNING, 1, containers=(main,), started_at=world.now)
    world.report(report, instance_id=machine)
    world.deliver()
    world.agents.take(machine)
    world.events.entries.clear()
    return task_id


def ask(world: World, task: str, *, caller: Caller = OPERATOR, plays: bool = True, **members: Any) -> dict[str, Any]:
    request = {"task": task, "command": "sh", "interactive": True, **members}
    body = json.dumps(request).encode()
    answer: dict[str, Any] = json.loads(carry_out(world.cp, "ExecuteCommand", body, caller=caller, plays_streams=plays))
    return answer


def allow(world: World, *, resource: str = f"{ECS}:task/default/*", action: str = "ecs:ExecuteCommand") -> None:
    statement = {"Effect": "Allow", "Action": [action], "Resource": [resource]}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    put = {"operation": "PutPolicy", "principal": "operator", "name": "exec", "document": document}
    assert "error" not in operate(world.cp, put)
    world.pass_time(60)


def refused(world: World, task: str, **members: Any) -> EcsError:
    """And nothing was told to anybody."""
    with pytest.raises(EcsError) as raised:
        ask(world, task, **members)
    assert [each for _, each in world.agents.sent if isinstance(each, OpenExec)] == []
    assert world.sts.calls == []
    return raised.value


def test_a_stream_is_opened_for_who_may_and_an_auditor_sees_it(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world)
    answer = ask(world, task_id, command="sh -c 'date'")
    [told] = world.agents.take(machine)
    assert told == OpenExec(
        session_id=answer["session"]["sessionId"],
        task_id=task_id,
        container="main",
        command="sh -c 'date'",
        seconds=STREAM_SECONDS,
    )
    session = answer.pop("session")
    arn = f"{ECS}:task/default/{task_id}"
    assert answer == {
        "clusterArn": f"{ECS}:cluster/default",
        "containerArn": f"{ECS}:container/default/{task_id}/main",
        "containerName": "main",
        "interactive": True,
        "taskArn": arn,
    }
    topic = f"{PREFIX}/{PREFIX}-{machine}/streams/{session['sessionId']}"
    assert Stream.from_json(session["tokenValue"]) == Stream(
        session_id=session["sessionId"], client_id=f"{PREFIX}_stream_{session['sessionId']}", topic=topic
    )
    [entry] = world.events.entries
    assert (entry["Source"], entry["DetailType"], entry["Resources"]) == (
        "ecs.anywhere",
        "ECS Anywhere Audit",
        [arn, f"{ECS}:container-instance/default/{machine}"],
    )
    assert json.loads(entry["Detail"]) == {
        "eventSource": "ecs.anywhere",
        "eventName": "ExecuteCommand",
        "eventTime": world.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "userIdentity": {
            "arn": "arn:aws:iam::123456789012:user/ecs-anywhere/operator",
            "principalId": "operator",
            "accessKeyId": "AKIDOPERATOR",
        },
        "requestParameters": {
            "cluster": f"{ECS}:cluster/default",
            "task": arn,
            "container": "main",
            "command": "sh -c 'date'",
            "interactive": True,
        },
        "responseElements": {"sessionId": session["sessionId"]},
    }


def test_an_address_is_good_for_one_stream_and_a_quarter_of_an_hour(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world)
    session = ask(world, task_id)["session"]
    stream = Stream.from_json(session["tokenValue"])
    [call] = world.sts.calls
    assert (call["RoleArn"], call["DurationSeconds"]) == (STREAM_ROLE, 900)
    iot = "arn:aws:iot:eu-west-1:123456789012"
    assert {each["Action"]: each["Resource"] for each in json.loads(call["Policy"])["Statement"]} == {
        "iot:Connect": f"{iot}:client/{stream.client_id}",
        "iot:Publish": f"{iot}:topic/{stream.topic}/in",
        "iot:Subscribe": f"{iot}:topicfilter/{stream.topic}/out",
        "iot:Receive": f"{iot}:topic/{stream.topic}/out",
    }
    assert len(call["Policy"]) < 2048
    url = urlsplit(session["streamUrl"])
    assert (url.scheme, url.netloc, url.path) == ("wss", "mqtt.example.com", "/mqtt")
    query = parse_qs(url.query)
    assert query["X-Amz-Credential"][0].startswith("ASIA1/")
    assert query["X-Amz-Credential"][0].endswith("/eu-west-1/iotdevicegateway/aws4_request")
    assert url.query.endswith("&X-Amz-Security-Token=token-1")
    assert "secret-1" not in session["streamUrl"]


def test_no_two_streams_have_one_id(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world)
    assert len({ask(world, task_id)["session"]["sessionId"] for _ in range(10)}) == 10


def test_the_answer_is_of_amazons_shape(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world)
    shape: Any = service_model().operation_model("ExecuteCommand").output_shape
    assert not ParamValidator().validate(ask(world, task_id), shape).has_errors()


# --- who is refused, and what


def test_who_has_no_policy_for_it_opens_nothing(world: World, machine: str) -> None:
    task_id = running(world, machine)
    denied = refused(world, task_id)
    assert isinstance(denied, AccessDeniedException)
    assert "is not authorized to perform: ecs:ExecuteCommand" in denied.message
    assert world.events.entries == []


@pytest.mark.parametrize(
    ("resource", "action"),
    [
        (f"{ECS}:task/default/{'f' * 32}", "ecs:ExecuteCommand"),
        (f"{ECS}:task/prod/*", "ecs:ExecuteCommand"),
        (f"{ECS}:cluster/prod", "ecs:ExecuteCommand"),
        ("*", "ecs:DescribeTasks"),
    ],
    ids=["another-task", "tasks-of-another-cluster", "another-cluster", "another-action"],
)
def test_nor_who_has_one_for_something_else(world: World, machine: str, resource: str, action: str) -> None:
    task_id = running(world, machine)
    allow(world, resource=resource, action=action)
    assert isinstance(refused(world, task_id), AccessDeniedException)


def test_a_policy_for_the_cluster_is_one_for_its_tasks(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world, resource=f"{ECS}:cluster/default")
    assert ask(world, task_id)["containerName"] == "main"


def test_a_key_of_other_clusters_opens_nothing(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world)
    scoped = OPERATOR.model_copy(update={"clusters": ("prod",)})
    assert isinstance(refused(world, task_id, caller=scoped), AccessDeniedException)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param({"interactive": False}, "Interactive is the only mode supported currently.", id="batch"),
        pytest.param({"task": "x"}, "task length should be one of [32,36]", id="no-id"),
        pytest.param({"task": NOBODY}, "The referenced task was not found.", id="no-such-task"),
        pytest.param({"task": "x" * 36}, "The referenced task was not found.", id="an-id-of-old"),
        pytest.param({"container": "side"}, "The task has no container side. It has: main.", id="no-such-container"),
        pytest.param({"command": " "}, "command can not be blank.", id="no-command"),
        pytest.param({"command": "x" * 8193}, "command can have at most 8192 characters.", id="too-long"),
        pytest.param({"plays": False}, NO_PLUGIN, id="amazons-plugin"),
    ],
)
def test_what_makes_no_sense_is_refused(world: World, machine: str, members: dict[str, Any], message: str) -> None:
    task_id = running(world, machine)
    allow(world)
    refusal = refused(world, **{"task": task_id, **members})
    assert (type(refusal), refusal.message) == (InvalidParameterException, message)


def test_nor_in_a_cluster_that_is_not_there(world: World) -> None:
    with pytest.raises(ClusterNotFoundException):
        execute_command(world.cp, {"cluster": "x", "task": NOBODY, "command": "sh", "interactive": True})


def test_a_task_that_was_started_without_it_has_none(world: World, machine: str) -> None:
    task_id = running(world, machine, enabled=False)
    allow(world)
    assert refused(world, task_id).message == NOT_ENABLED


def test_nor_has_one_that_starts_or_ends(world: World, machine: str) -> None:
    [task] = run_task(world.cp, {"taskDefinition": "web", "enableExecuteCommand": True})["tasks"]
    allow(world)
    assert refused(world, task["taskArn"]).message == NOT_ENABLED
    ending = running(world, machine)
    stop_task(world.cp, {"task": ending})
    assert refused(world, ending).message == NOT_ENABLED


def test_a_machine_that_is_away_is_said_to_be(world: World, machine: str) -> None:
    world.connects(machine)
    task_id = running(world, machine)
    allow(world)
    world.disconnects(machine)
    world.minutes(5)
    world.agents.sent.clear()
    refusal = refused(world, task_id)
    assert (type(refusal), refusal.message) == (TargetNotConnectedException, NOT_CONNECTED)


def test_what_cannot_be_told_to_auditors_is_not_done(world: World, machine: str) -> None:
    task_id = running(world, machine)
    allow(world)
    world.events.refuse = True
    assert isinstance(refused(world, task_id), ServerException)


# --- enableExecuteCommand


def agents_of(world: World, task_id: str) -> tuple[bool, list[Any]]:
    [task] = describe_tasks(world.cp, {"tasks": [task_id]})["tasks"]
    return task["enableExecuteCommand"], [each.get("managedAgents") for each in task["containers"]]


def test_describe_tasks_shows_what_runs_commands(world: World, machine: str) -> None:
    [task] = run_task(world.cp, {"taskDefinition": "web", "enableExecuteCommand": True})["tasks"]
    pending = {"name": "ExecuteCommandAgent", "lastStatus": "PENDING"}
    assert agents_of(world, task["taskArn"].rsplit("/", 1)[1]) == (True, [[pending]])
    up = {"name": "ExecuteCommandAgent", "lastStatus": "RUNNING", "lastStartedAt": world.now}
    assert agents_of(world, running(world, machine)) == (True, [[up]])
    assert agents_of(world, running(world, machine, enabled=False)) == (False, [None])


def commanded(world: World, machine: str) -> list[bool | None]:
    """What the machine is told of it, for each new task."""
    world.deliver()
    told = [each for each in world.agents.take(machine) if isinstance(each, TaskCommands)]
    return [task.enable_execute_command for each in told for task in each.tasks]


def test_the_machine_is_told(world: World, machine: str) -> None:
    for enabled in (True, False):
        run_task(world.cp, {"taskDefinition": "web", "enableExecuteCommand": enabled})
        assert commanded(world, machine) == [enabled or None]


def test_tasks_of_a_service_have_it_as_the_service_says_when_they_start(world: World, machine: str) -> None:
    service = create_service(
        world.cp,
        {"serviceName": "svc", "taskDefinition": "web", "desiredCount": 1, "enableExecuteCommand": True},
    )["service"]
    assert service["enableExecuteCommand"] is True
    assert commanded(world, machine) == [True]
    deployments = describe_services(world.cp, {"services": ["svc"]})["services"][0]["deployments"]
    update_service(world.cp, {"service": "svc", "enableExecuteCommand": False, "desiredCount": 2})
    [after] = describe_services(world.cp, {"services": ["svc"]})["services"]
    assert after["enableExecuteCommand"] is False
    assert [each["id"] for each in after["deployments"]] == [each["id"] for each in deployments]
    assert commanded(world, machine) == [None]


def test_a_machine_whose_agent_runs_no_commands_gets_no_such_task(world: World) -> None:
    world.cluster()
    world.task_definition("web")
    older = world.machine(capabilities=[each for each in EVERY_CAPABILITY if "execute-command" not in each])
    answer = run_task(world.cp, {"taskDefinition": "web", "enableExecuteCommand": True})
    arn = f"{ECS}:container-instance/default/{older}"
    assert [(each["arn"], each["reason"]) for each in answer["failures"]] == [(arn, "ATTRIBUTE")]
    assert run_task(world.cp, {"taskDefinition": "web"})["failures"] == []


# --- logs


def read_logs(world: World, task: str, **members: Any) -> dict[str, Any]:
    return operate(world.cp, {"operation": "StreamLogs", "task": task, **members})


def test_logs_are_read_of_any_task_that_has_a_machine(world: World, machine: str) -> None:
    task_id = running(world, machine, enabled=False)
    answer = read_logs(world, task_id, container="main", follow=True, tail=10, sinceSeconds=600)
    [told] = world.agents.take(machine)
    assert told == OpenLogs(
        session_id=answer["session"]["sessionId"],
        task_id=task_id,
        container="main",
        seconds=STREAM_SECONDS,
        follow=True,
        tail=10,
        since_seconds=600,
    )
    assert Stream.from_json(answer["session"]["tokenValue"]).session_id == told.session_id


def test_logs_of_what_is_not_there_or_away_are_refused(world: World, machine: str) -> None:
    world.connects(machine)
    task_id = running(world, machine)
    assert read_logs(world, NOBODY)["error"] == "InvalidParameterException"
    assert read_logs(world, task_id, tail=-1)["error"] == "InvalidParameterException"
    world.disconnects(machine)
    world.minutes(5)
    assert read_logs(world, task_id)["error"] == "TargetNotConnectedException"
    assert world.sts.calls == []
