"""GetCredentials: who gets credentials of which role, and what RunTask and services make of a role without trust."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from control_plane.domain.errors import ClientException
from control_plane.domain.session_tags import session_tags
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.get_credentials import NOT_YOURS, STALE, STOPPED, NotAnsweredError, get_credentials
from control_plane.flows.run_task import run_task
from control_plane.flows.run_task_event import run_task_for_event
from control_plane.flows.services import create_service, describe_services
from control_plane.flows.stop_task import stop_task
from control_plane.flows.task_definitions import register_task_definition
from control_plane.flows.tasks import describe_tasks
from control_plane.flows.why import why
from control_plane.gateways.role_broker import REMEMBERED, SILENT
from control_plane.gateways.roles import Roles
from control_plane.store import tasks
from ecs_protocol.messages import (
    MAX_CREDENTIALS_WANTED,
    MAX_MESSAGE_BYTES,
    ContainerReport,
    CredentialsRefused,
    CredentialsWanted,
    Deregistered,
    GetCredentials,
    RoleCredentials,
    RoleKind,
    TaskCredentials,
)
from ecs_protocol.names import thing_name
from ecs_protocol.statuses import TaskStatus
from world import EVERY_CAPABILITY, PREFIX, START, World

ROLE = "arn:aws:iam::123456789012:role/ecs-anywhere/app"
PULL = "arn:aws:iam::123456789012:role/ecs-anywhere/pull"
CAPABILITIES = (*EVERY_CAPABILITY, "com.amazonaws.ecs.capability.task-iam-role")
UNABLE = (
    f"ECS was unable to assume the role '{ROLE}' that was provided for this task. Please verify that the role being "
    "passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this "
    f"role. See what it lacks: ecs-anywhere trust {ROLE}"
)


def define(world: World, family: str = "app", **members: Any) -> None:
    container = {"name": "main", "image": "busybox", "memory": 6, "cpu": 4}
    request = {"family": family, "networkMode": "bridge", "containerDefinitions": [container], **members}
    register_task_definition(world.cp, {**request, "requiresCompatibilities": ["EXTERNAL"]})


def run(world: World, family: str = "app", **members: Any) -> str:
    answer = run_task(world.cp, {"taskDefinition": family, **members})
    assert answer["failures"] == []
    return str(answer["tasks"][0]["taskArn"].rsplit("/", 1)[1])


def ask(world: World, machine: str, *wanted: tuple[str, RoleKind], **envelope: Any) -> list[TaskCredentials]:
    """What the machine is answered; nobody else is told anything."""
    request = GetCredentials(
        request_id="r", wanted=tuple(CredentialsWanted(task_id=task, role=role) for task, role in wanted)
    )
    world.agents.sent.clear()
    get_credentials(world.cp, replace(world.envelope(machine, request), **envelope))
    assert {to for to, _ in world.agents.sent} <= {machine}
    return [message for message in world.agents.take(machine) if isinstance(message, TaskCredentials)]


def refusals(answers: list[TaskCredentials]) -> list[str]:
    assert not any(answer.credentials for answer in answers)
    return [each.reason for answer in answers for each in answer.refused]


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    define(world, taskRoleArn=ROLE, executionRoleArn=PULL)
    return world.machine(capabilities=CAPABILITIES)


def test_a_machine_gets_credentials_of_both_roles_of_its_task(world: World, machine: str) -> None:
    task = run(world)
    world.sts.calls.clear()
    [answer] = ask(world, machine, (task, "task"), (task, "execution"), (task, "task"))
    assert answer.refused == ()
    assert sorted((each.role, each.role_arn) for each in answer.credentials) == [("execution", PULL), ("task", ROLE)]
    of_task = next(each for each in answer.credentials if each.role == "task")
    number = of_task.access_key_id.removeprefix("ASIA")
    assert of_task == RoleCredentials(
        task_id=task,
        role="task",
        role_arn=ROLE,
        access_key_id=f"ASIA{number}",
        secret_access_key=f"secret-{number}",
        session_token=f"token-{number}",
        expiration=START + timedelta(hours=1),
    )
    call = next(each for each in world.sts.calls if each["RoleArn"] == ROLE)
    assert call == {
        "RoleArn": ROLE,
        "RoleSessionName": task,
        "DurationSeconds": 3600,
        "Tags": [
            {"Key": "ecs-anywhere-deployment", "Value": PREFIX},
            {"Key": "ecs-cluster-name", "Value": "default"},
            {"Key": "ecs-task-id", "Value": task},
            {"Key": "ecs-container-instance-id", "Value": machine},
        ],
    }


def test_roles_of_the_request_take_the_place_of_the_definitions_and_need_no_arn(world: World, machine: str) -> None:
    task = run(world, overrides={"taskRoleArn": "other"})
    [answer] = ask(world, machine, (task, "task"))
    assert [each.role_arn for each in answer.credentials] == ["arn:aws:iam::123456789012:role/other"]


def test_a_stopping_task_still_has_its_roles_and_a_stopped_one_has_none(world: World, machine: str) -> None:
    task = run(world)
    world.report(world.report_of(task, TaskStatus.RUNNING, 1), instance_id=machine)
    stop_task(world.cp, {"task": task})
    [answer] = ask(world, machine, (task, "task"))
    assert len(answer.credentials) == 1
    world.report(world.report_of(task, TaskStatus.STOPPED, 2), instance_id=machine)
    assert refusals(ask(world, machine, (task, "task"))) == [STOPPED]


def test_what_it_has_no_business_with_it_does_not_get(world: World, machine: str) -> None:
    other = world.machine(cpu=1, memory=1)
    define(world, "plain")
    task, plain = run(world), run(world, "plain")
    called = len(world.sts.calls)
    assert refusals(ask(world, other, (task, "task"), ("f" * 32, "execution"))) == [NOT_YOURS, NOT_YOURS]
    placed = tasks.load(world.table, "default", plain)
    assert placed is not None
    assert refusals(ask(world, placed.instance_id, (plain, "task"))) == ["The task has no task role."]
    assert len(world.sts.calls) == called


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda a, b: {"client_id": thing_name(PREFIX, b)}, id="another-things-name"),
        pytest.param(lambda a, b: {"principal": f"cert-{b}"}, id="another-things-certificate"),
        pytest.param(
            lambda a, b: {"topic": f"{PREFIX}/{thing_name(PREFIX, b)}/credentials"}, id="on-another-things-topic"
        ),
        pytest.param(lambda a, b: {"client_id": thing_name("other", a)}, id="a-thing-of-another-deployment"),
        pytest.param(lambda a, b: {"principal": "revoked"}, id="a-certificate-that-is-nobodys"),
        pytest.param(lambda a, b: {"payload": b"[" * 60_000}, id="brackets-that-nest"),
        pytest.param(lambda a, b: {"payload": b'{"type": "GetCredentials", "wanted": []}'}, id="nothing-wanted"),
    ],
)
def test_who_is_not_who_it_says_gets_no_answer(world: World, machine: str, forged: Any) -> None:
    other = world.machine(cpu=1, memory=1)
    task = run(world)
    called = len(world.sts.calls)
    assert ask(world, machine, (task, "task"), **forged(machine, other)) == []
    assert (world.agents.sent, len(world.sts.calls)) == ([], called)


def test_a_machine_that_names_another_ones_task_as_that_one_is_not_heard(world: World, machine: str) -> None:
    """B has a certificate; it speaks with A's name, of A's task, on A's topic."""
    other = world.machine(cpu=1, memory=1)
    task = run(world)
    assert ask(world, machine, (task, "task"), principal=f"cert-{other}") == []


def test_more_than_a_request_may_name_is_not_answered(world: World, machine: str) -> None:
    wanted = [{"taskId": f"{number:032x}", "role": "task"} for number in range(MAX_CREDENTIALS_WANTED + 1)]
    payload = json.dumps({"type": "GetCredentials", "requestId": "r", "wanted": wanted}).encode()
    assert ask(world, machine, ("f" * 32, "task"), payload=payload) == []


def test_a_machine_that_is_deregistered_gets_none(world: World, machine: str) -> None:
    task = run(world)
    deregister_container_instance(world.cp, {"containerInstance": machine, "force": True})
    called = len(world.sts.calls)
    world.agents.sent.clear()
    request = GetCredentials(request_id="r", wanted=(CredentialsWanted(task_id=task, role="task"),))
    get_credentials(world.cp, world.envelope(machine, request))
    assert world.agents.take(machine) == [Deregistered()]
    assert len(world.sts.calls) == called


def test_a_request_that_lay_in_the_queue_for_too_long_is_not_answered(world: World, machine: str) -> None:
    task = run(world)
    assert ask(world, machine, (task, "task"), received_at=world.now - STALE) == []
    assert len(ask(world, machine, (task, "task"), received_at=world.now - STALE + timedelta(seconds=1))) == 1


def test_the_same_request_twice_makes_credentials_twice(world: World, machine: str) -> None:
    task = run(world)
    [first], [second] = ask(world, machine, (task, "task")), ask(world, machine, (task, "task"))
    assert first.credentials[0].access_key_id != second.credentials[0].access_key_id


def test_what_sts_refuses_is_said_with_what_to_do(world: World, machine: str) -> None:
    task = run(world)
    world.sts.untrusting.add(ROLE)
    [answer] = ask(world, machine, (task, "task"), (task, "execution"))
    reason = f"AccessDenied: injected See what it lacks: ecs-anywhere trust {ROLE}"
    assert answer.refused == (CredentialsRefused(task_id=task, role="task", reason=reason),)
    assert [each.role for each in answer.credentials] == ["execution"]


@pytest.mark.parametrize("error", ["Throttling", "ServiceUnavailable", "InternalFailure", "ExpiredToken"])
def test_what_sts_cannot_say_now_is_not_refused_but_comes_again(world: World, machine: str, error: str) -> None:
    task = run(world)
    world.sts.failing = error
    with pytest.raises(NotAnsweredError):
        ask(world, machine, (task, "task"), ("f" * 32, "task"))
    [answer] = world.agents.take(machine)
    assert isinstance(answer, TaskCredentials)
    assert [each.task_id for each in answer.refused] == ["f" * 32]
    world.sts.failing = None
    assert len(ask(world, machine, (task, "task"))[0].credentials) == 1


def test_the_answer_comes_in_messages_that_iot_core_takes(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session token with tags is about a kilobyte."""
    task = run(world)
    given = world.cp.roles.assume(ROLE, task, {})
    monkeypatch.setattr(world.cp.roles, "assume", lambda *_: replace(given, session_token="t" * 1500))
    for _ in range(20):
        run_task(world.cp, {"taskDefinition": "app", "count": 10})
    mine = [each.task_id for each in tasks.of_instance(world.table, "default", machine)][:100]
    answers = ask(world, machine, *((each, kind) for each in mine for kind in ("task", "execution")))
    assert len(answers) > 1
    assert all(len(answer.to_json()) <= MAX_MESSAGE_BYTES for answer in answers)
    assert sum(len(answer.credentials) for answer in answers) == 200


def test_nothing_of_it_is_logged(world: World, machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = run(world)
    [answer] = ask(world, machine, (task, "task"))
    text = "".join(capsys.readouterr())
    assert answer.credentials[0].secret_access_key not in text
    assert "secret-" not in repr(answer)
    assert "token-" not in repr(world.cp.roles.assume(ROLE, task, {}))


def test_a_request_on_the_topic_of_all_requests_is_handed_on(world: World, machine: str) -> None:
    """By an agent whose identity is older than the topic of its own."""
    task = run(world)
    request = GetCredentials(request_id="r", wanted=(CredentialsWanted(task_id=task, role="task"),))
    world.say(machine, request)
    [handed] = world.queues.credentials
    assert handed == world.envelope(machine, request)
    world.agents.sent.clear()
    get_credentials(world.cp, handed)
    assert len(world.agents.sent) == 1


def test_sts_itself_takes_what_it_is_asked(world: World, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's, which checks the shapes of requests, and gives credentials that name the role's session."""
    with mock_aws():
        sts = boto3.client("sts", region_name="eu-west-1")
        task = run(world)
        monkeypatch.setattr(world.cp, "roles", Roles(sts))
        [answer] = ask(world, machine, (task, "task"))
        [given] = answer.credentials
        session = boto3.Session(given.access_key_id, given.secret_access_key, given.session_token, "eu-west-1")
        arn = session.client("sts").get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::123456789012:assumed-role/app/{task}"


def test_session_tags_are_what_iam_takes() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    for key, value in session_tags(PREFIX, "c" * 255, "f" * 32, "e" * 32).items():
        assert len(key) <= 128
        assert len(value) <= 256


def test_for_what_a_task_waits_is_described(world: World, machine: str) -> None:
    task = run(world)
    waits = ContainerReport(name="main", last_status=TaskStatus.PENDING, reason="Waiting for credentials of the role")
    world.report(world.report_of(task, TaskStatus.PENDING, 1, containers=(waits,)), instance_id=machine)
    [described] = describe_tasks(world.cp, {"tasks": [task]})["tasks"]
    [container] = described["containers"]
    assert (described["lastStatus"], container["reason"]) == ("PENDING", "Waiting for credentials of the role")
    runs = ContainerReport(name="main", last_status=TaskStatus.RUNNING)
    world.report(world.report_of(task, TaskStatus.RUNNING, 2, containers=(runs,)), instance_id=machine)
    [described] = describe_tasks(world.cp, {"tasks": [task]})["tasks"]
    assert "reason" not in described["containers"][0]


# --- before a task is started


def test_run_task_says_which_role_lacks_trust_and_changes_nothing(world: World, machine: str) -> None:
    world.sts.untrusting.add(ROLE)
    with pytest.raises(ClientException) as refused:
        run_task(world.cp, {"taskDefinition": "app"})
    assert refused.value.message == UNABLE
    assert tasks.of_instance(world.table, "default", machine) == []
    world.sts.untrusting.clear()
    run(world)


def test_a_role_that_nothing_of_the_task_uses_is_not_asked_about(world: World, machine: str) -> None:
    world.sts.untrusting.add(PULL)
    run(world)
    assert {call["RoleArn"] for call in world.sts.calls} == {ROLE}


def test_success_is_remembered_for_minutes_and_a_refusal_is_not(world: World, machine: str) -> None:
    run(world)
    run(world)
    assert world.lambdas.invoked == 1
    world.now += REMEMBERED
    world.sts.untrusting.add(ROLE)
    for _ in range(2):
        with pytest.raises(ClientException):
            run_task(world.cp, {"taskDefinition": "app"})
    assert world.lambdas.invoked == 3


def test_a_task_without_roles_asks_nobody(world: World, machine: str) -> None:
    define(world, "plain")
    world.lambdas.error = "TooManyRequestsException"
    run(world, "plain")
    assert world.lambdas.invoked == 0


def test_a_broker_that_does_not_answer_keeps_no_task_from_starting(world: World, machine: str) -> None:
    """It waits for its credentials on its machine, which says so."""
    world.lambdas.error = "TooManyRequestsException"
    run(world)
    run(world)
    assert world.lambdas.invoked == 1
    world.now += SILENT
    run(world)
    assert world.lambdas.invoked == 2


def test_the_first_answer_is_given_again_though_the_role_has_lost_its_trust_meanwhile(
    world: World, machine: str
) -> None:
    first = run(world, clientToken="t")
    world.now += REMEMBERED
    world.sts.untrusting.add(ROLE)
    assert run(world, clientToken="t") == first


def test_an_event_that_asks_for_such_a_task_fails_with_that_reason(world: World, machine: str) -> None:
    world.allow("events/ecs-anywhere.run-task", "ecs:RunTask", "iam:PassRole")
    world.sts.untrusting.add(ROLE)
    run_task_for_event(
        world.cp, {"id": "event-1", "source": "ecs-anywhere.run-task", "detail": {"taskDefinition": "app"}}
    )
    [entry] = world.events.entries
    assert entry["DetailType"] == "Run Task Failed"
    assert json.loads(entry["Detail"])["message"] == UNABLE


def test_a_service_says_it_once_starts_nothing_and_goes_on_once_there_is_trust(world: World, machine: str) -> None:
    world.sts.untrusting.add(ROLE)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "app", "desiredCount": 1})
    world.deliver()
    world.minutes(5)
    [service] = describe_services(world.cp, {"services": ["web"]})["services"]
    said = [event["message"] for event in service["events"]]
    assert [each for each in said if "in progress" not in each] == [
        f"(service web) failed to launch a task with (error {UNABLE})"
    ]
    assert tasks.of_instance(world.table, "default", machine) == []
    assert why(world.cp, "default", "web")["service"]["refusal"] == UNABLE
    world.sts.untrusting.clear()
    world.minutes(20)
    assert len(tasks.of_instance(world.table, "default", machine)) == 1
