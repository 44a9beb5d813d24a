"""Each function's own handler, fed with the samples of events/, over the real flows and store on moto."""

import copy
import importlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from contract.samples import INSTANCE, PRINCIPAL, TASK, bodies, sample
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.inbox import Look, ServiceKey
from control_plane.domain.races import ServiceChangedError
from control_plane.domain.session_key import claims_of
from control_plane.flows.log_in import log_in
from control_plane.flows.run_task import run_task
from control_plane.flows.run_task_event import run_task_for_event
from control_plane.flows.services import create_service
from control_plane.flows.tasks import describe_tasks
from control_plane.gateways.identities import Certificate
from control_plane.gateways.queues import QueueError
from control_plane.runtime import ControlPlane
from control_plane.store import activations, fleet_snapshots, instances, services, tasks
from control_plane.store.table import Write
from ecs_protocol.messages import Identity, Probe, Reconciliation, TaskCommands, TaskCredentials
from ecs_protocol.names import thing_name
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from integration.flows.test_fleet import large
from world import EVERY_CAPABILITY, PREFIX, World

Call = Callable[[str, str], Any]


class Context:
    """What the logger takes from Lambda's context."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "invocation-1"


@pytest.fixture
def call(world: World, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Invoke a function with a sample; its control plane is the test's world."""

    def control_plane() -> ControlPlane:
        return world.cp

    def invoke(function: str, case: str) -> Any:
        app = importlib.import_module(f"functions.{function}.app")
        monkeypatch.setattr(app, "control_plane", control_plane)
        return app.handler(sample(function, case), Context())

    return invoke


@pytest.fixture
def machine(world: World, call: Call) -> str:
    """The samples' machine, registered by its sample."""
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    certificate = Certificate(f"arn:aws:iot:eu-west-1:123456789012:cert/{PRINCIPAL}", "PEM")
    world.registry.attach(certificate, thing_name(PREFIX, INSTANCE), "default")
    assert call("iot_register_container_instance", "register") == {"batchItemFailures": []}
    return INSTANCE


@pytest.fixture
def task(world: World, machine: str) -> str:
    """The samples' task, placed on the samples' machine; its command is still in the stream."""
    new_id, world.cp.new_id = world.cp.new_id, lambda: TASK
    assert not run_task(world.cp, {"taskDefinition": "web"})["failures"]
    world.cp.new_id = new_id
    world.agents.take(machine)
    world.table.stream.clear()
    return TASK


def message_ids(function: str, case: str) -> list[str]:
    return [record["messageId"] for record in sample(function, case)["Records"]]


def failures(answer: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def status(world: World) -> str:
    described = describe_tasks(world.cp, {"tasks": [TASK]})
    found: str = described["tasks"][0]["lastStatus"]
    return found


# --- what agents say


def test_a_machine_registers_and_is_told_what_should_run(world: World, machine: str) -> None:
    [answer] = world.agents.take(machine)
    assert isinstance(answer, Reconciliation)
    assert (answer.request_id, answer.epoch, answer.tasks) == ("f3a1", 1, ())
    assert (world.instance(machine).memory, world.instance(machine).agent_connected) == (7680, True)


def test_a_machine_reconciles(world: World, call: Call, task: str) -> None:
    assert failures(call("iot_register_container_instance", "reconcile")) == []
    [answer] = world.agents.take(INSTANCE)
    assert isinstance(answer, Reconciliation)
    assert (answer.epoch, [line.task_id for line in answer.tasks]) == (2, [task])


def test_a_machine_asks_about_a_task(world: World, call: Call, task: str) -> None:
    assert failures(call("iot_register_container_instance", "describe_tasks")) == []
    [answer] = world.agents.take(INSTANCE)
    assert isinstance(answer, TaskCommands)
    assert [(each.task_id, each.desired_status) for each in answer.tasks] == [(task, DesiredStatus.RUNNING)]
    assert set(answer.task_definitions) == {"web:1"}


@pytest.mark.parametrize("case", ["from_another_certificate", "no_request"])
def test_what_no_machine_of_ours_could_mean_is_dropped(world: World, call: Call, machine: str, case: str) -> None:
    before = world.instance(machine)
    world.agents.take(machine)
    assert failures(call("iot_register_container_instance", case)) == []
    assert (world.instance(machine), world.agents.sent) == (before, [])


@pytest.mark.usefixtures("task")
def test_a_task_runs_and_stops(world: World, call: Call) -> None:
    assert failures(call("iot_task_state_change", "running")) == []
    assert status(world) == "RUNNING"
    assert (world.instance(INSTANCE).memory, world.instance(INSTANCE).tasks) == (7580, 1)
    for _ in range(2):  # SQS may bring it twice
        assert failures(call("iot_task_state_change", "stopped")) == []
        assert status(world) == "STOPPED"
        assert (world.instance(INSTANCE).memory, world.instance(INSTANCE).tasks) == (7680, 0)


def test_a_connection_begins_and_ends(world: World, call: Call, machine: str) -> None:
    world.agents.take(machine)
    assert failures(call("iot_connectivity", "connected")) == []
    assert world.instance(machine).agent_connected
    assert failures(call("iot_connectivity", "disconnected")) == []
    assert not world.instance(machine).agent_connected
    assert world.agents.take(machine) == [Probe()]


def test_a_machine_asks_for_the_credentials_of_its_tasks_role(world: World, call: Call, machine: str) -> None:
    world.task_definition("roled", task_role="app")
    names = (f"com.amazonaws.ecs.capability.{each}" for each in ("task-iam-role", "task-iam-role-network-host"))
    world.registry.attach(Certificate(f"cert/cert-{machine}", "PEM"), thing_name(PREFIX, machine), "default")
    world.register(machine, capabilities=(*EVERY_CAPABILITY, *names))
    world.cp.new_id = lambda: TASK
    assert not run_task(world.cp, {"taskDefinition": "roled"})["failures"]
    world.agents.take(machine)
    assert failures(call("iot_credentials", "get_credentials")) == []
    [answer] = world.agents.take(machine)
    assert isinstance(answer, TaskCredentials)
    assert [(each.task_id, each.role_arn) for each in answer.credentials] == [
        (TASK, "arn:aws:iam::123456789012:role/app")
    ]
    world.sts.failing = "Throttling"
    assert failures(call("iot_credentials", "get_credentials")) == message_ids("iot_credentials", "get_credentials")


def test_a_function_that_starts_tasks_asks_which_roles_it_cannot_assume(world: World, call: Call) -> None:
    assert call("iot_credentials", "check_roles") == {"refused": {}}
    role = "arn:aws:iam::123456789012:role/ecs-anywhere/app"
    world.sts.untrusting.add(role)
    assert call("iot_credentials", "check_roles") == {"refused": {role: "AccessDenied: injected"}}


# --- from the table to agents and to the bus


def test_the_stream_tells_the_machine(world: World, call: Call, task: str) -> None:
    assert call("stream_agent_commands", "new_task") is None
    [command] = world.agents.take(INSTANCE)
    assert isinstance(command, TaskCommands)
    assert [each.task_id for each in command.tasks] == [task]


def test_a_machine_that_cannot_be_told_is_told_by_the_queue(world: World, call: Call, task: str) -> None:
    world.agents.unreachable = True
    assert call("stream_agent_commands", "new_task") is None
    assert world.queues.commands == [json.loads(body) for body in bodies("queue_agent_commands", "one_key")]
    assert failures(call("queue_agent_commands", "one_key")) == message_ids("queue_agent_commands", "one_key")
    world.agents.unreachable = False
    assert failures(call("queue_agent_commands", "one_key")) == []
    [command] = world.agents.take(INSTANCE)
    assert isinstance(command, TaskCommands)
    assert [each.task_id for each in command.tasks] == [task]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("case", "detail_types", "woken"),
    [
        ("new_task", ["ECS Task State Change"], []),
        ("instance_registered", ["ECS Container Instance State Change"], []),
        ("service_created", [], ["web"]),
        ("removed", [], []),
    ],
)
def test_the_stream_becomes_events(
    world: World, call: Call, case: str, detail_types: Sequence[str], woken: Sequence[str]
) -> None:
    assert call("stream_events", case) is None
    assert [entry["DetailType"] for entry in world.events.entries] == detail_types
    assert [key.service for key, _ in world.queues.services] == woken
    if woken:
        [record, *_] = sample("stream_events", case)["Records"]
        assert [change for _, change in world.queues.services] == [record["eventID"]]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "changed",
    [{"lastStatus": "RUNNING"}, {"desiredStatus": "STOPPED"}, {"updatedAt": "2026-01-01T00:00:09.000Z"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_batch_wakes_each_service_once(
    world: World, call: Call, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    """Named after the last change; a task that its scheduler has just made is none."""
    [made] = sample("stream_events", "new_task")["Records"]
    records = [made]
    for number in range(1, 4):
        record = copy.deepcopy(made)
        record["eventID"] = f"change-{number}"
        record["dynamodb"]["NewImage"] |= {name: {"S": value} for name, value in changed.items()}
        records.append(record)
    monkeypatch.setattr(f"{__name__}.sample", lambda *_: {"Records": [*records, made]})
    assert call("stream_events", "several") is None
    assert len(world.events.entries) == 5
    assert world.queues.services == [(ServiceKey("default", "web"), "change-3")]


@pytest.mark.usefixtures("machine")
def test_an_event_that_eventbridge_refuses_waits_in_the_queue(world: World, call: Call) -> None:
    world.events.refuse = True
    assert call("stream_events", "new_task") is None
    [waiting] = world.queues.events
    assert waiting["DetailType"] == "ECS Task State Change"
    assert failures(call("queue_events", "one_event")) == message_ids("queue_events", "one_event")
    world.events.refuse = False
    assert failures(call("queue_events", "one_event")) == []
    assert [entry["DetailType"] for entry in world.events.entries] == ["ECS Task State Change"]


# --- the scheduler's queue is FIFO


def test_a_service_gets_its_task(world: World, call: Call, machine: str) -> None:
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1})
    assert failures(call("queue_service_scheduler", "one_service")) == []
    assert [each.service for each in tasks.of_instance(world.table, "default", machine)] == ["web"]


def test_a_service_that_fails_does_so_with_its_whole_group(
    world: World, call: Call, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else SQS would bring a later message of the group before the one that failed."""
    for name in ("web", "other"):
        create_service(world.cp, {"serviceName": name, "taskDefinition": "web", "desiredCount": 1})
    commit = world.table.commit

    def lose(writes: Sequence[Write]) -> None:
        if any(write.key.pk.startswith("SERVICES#") and write.key.sk == "web" for write in writes):
            raise ServiceChangedError("web")
        commit(writes)

    monkeypatch.setattr(world.table, "commit", lose)
    first, _, last = message_ids("queue_service_scheduler", "two_services")
    assert failures(call("queue_service_scheduler", "two_services")) == [first, last]
    assert [each.service for each in tasks.of_instance(world.table, "default", machine)] == ["other"]


def test_a_snapshot_of_a_large_cluster_is_kept_or_comes_again(
    world: World, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    large(world)
    machine = world.machine()
    with monkeypatch.context() as patched:
        patched.setattr(instances, "of_cluster", broken)
        assert failures(call("queue_service_scheduler", "fleet_snapshot")) == message_ids(
            "queue_service_scheduler", "fleet_snapshot"
        )
    assert failures(call("queue_service_scheduler", "fleet_snapshot")) == []
    kept = fleet_snapshots.load(world.table, "default", world.now, world.now)
    assert kept is not None
    assert [each.instance_id for each in kept[1]] == [machine]


def broken(*_: object, **__: object) -> None:
    raise RuntimeError


# --- rules, schedules, operators, the front doors


@pytest.fixture
def allowed(world: World) -> None:
    """The source of the samples' events may run tasks."""
    world.allow("events/ecs-anywhere.run-task", "ecs:RunTask")


@pytest.mark.usefixtures("allowed")
def test_an_event_runs_a_task_once(world: World, call: Call, machine: str) -> None:
    for _ in range(2):
        assert failures(call("queue_run_task", "one_task")) == []
    assert len(tasks.of_instance(world.table, "default", machine)) == 1
    assert world.events.entries == []


@pytest.mark.usefixtures("allowed")
def test_an_event_that_ecs_refuses_becomes_an_event(world: World, call: Call, machine: str) -> None:
    assert failures(call("queue_run_task", "no_such_task_definition")) == []
    assert tasks.of_instance(world.table, "default", machine) == []
    assert [entry["DetailType"] for entry in world.events.entries] == ["Run Task Failed"]


@pytest.mark.usefixtures("allowed")
def test_an_event_that_waits_for_capacity_comes_again_by_its_id(world: World, call: Call, machine: str) -> None:
    event = json.loads(bodies("queue_run_task", "one_task")[0])
    asked = {**event["detail"], "waitForCapacitySeconds": 600, "overrides": {"memory": "1000000"}}
    assert failures(call("queue_run_task", "waiting")) == []  # nothing waits
    run_task_for_event(world.cp, {**event, "time": world.now.isoformat(), "detail": asked})
    assert failures(call("queue_run_task", "waiting")) == []
    assert tasks.of_instance(world.table, "default", machine) == []
    world.pass_time(600)
    assert failures(call("queue_run_task", "waiting")) == []
    assert [entry["DetailType"] for entry in world.events.entries] == ["Run Task Failed"]
    assert len(world.queues.given_up) == 1


@pytest.mark.usefixtures("task")
def test_each_minute_the_sweeper_hands_on_what_is_due(world: World, call: Call) -> None:
    assert call("cron_sweep", "each_minute") == {"containerInstances": 0, "services": 0, "events": 0}
    world.pass_time(60)
    assert call("cron_sweep", "each_minute") == {"containerInstances": 1, "services": 0, "events": 0}
    assert [(look.instance_id, look.look) for look in world.queues.looks] == [(INSTANCE, Look.COMMANDS)]
    assert call("cron_sweep", "each_minute") == {"containerInstances": 0, "services": 0, "events": 0}


@pytest.mark.usefixtures("task")
def test_a_look_at_an_instance_that_keeps_silent_sends_its_commands_again(world: World, call: Call) -> None:
    world.now = datetime.fromtimestamp(json.loads(bodies("queue_agent_commands", "look")[0])["at"], UTC)
    world.agents.sent.clear()
    assert failures(call("queue_agent_commands", "look")) == []
    [(instance_id, commands), (_, probe)] = world.agents.sent
    assert (instance_id, isinstance(commands, TaskCommands), probe) == (INSTANCE, True, Probe())


def test_the_sweeper_wakes_a_service_that_could_not_place_its_tasks(world: World, call: Call) -> None:
    world.cluster()
    world.task_definition()
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1})
    assert failures(call("queue_service_scheduler", "one_service")) == []
    world.pass_time(60)
    assert call("cron_sweep", "each_minute") == {"containerInstances": 0, "services": 1, "events": 0}
    assert [key for key, _ in world.queues.services] == [ServiceKey("default", "web")]
    found = services.load(world.table, "default", "web")
    assert found
    assert found.short


def test_a_service_is_woken_by_the_second_that_it_waits_for(
    world: World, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_the_sweeper_wakes_a_service_that_could_not_place_its_tasks(world, call)
    [(_, change)] = world.queues.services
    world.queues.services.clear()
    assert failures(call("queue_agent_commands", "service")) == []
    assert world.queues.services == [(ServiceKey("default", "web"), change)]

    def out(_keys: Any) -> None:
        raise QueueError("out")

    monkeypatch.setattr(world.queues, "wake_services", out)
    assert failures(call("queue_agent_commands", "service")) == message_ids("queue_agent_commands", "service")


def test_an_operator_makes_an_activation_that_a_machine_uses(
    world: World, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cluster()
    request = json.loads(sample("api_registration", "activation")["body"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda _bytes: request["activationCode"])
    monkeypatch.setattr(world.cp, "new_id", iter([request["activationId"], INSTANCE]).__next__)
    made = call("api_operator", "create_activation")
    assert made["activationCode"] == request["activationCode"]
    stored = activations.load(world.table, request["activationId"])
    assert stored
    assert stored.code_digest != made["activationCode"]

    for _ in range(2):  # the answer may get lost
        answer = call("api_registration", "activation")
        assert answer["statusCode"] == 200
        identity = Identity.from_json(answer["body"])
        assert (identity.container_instance_id, identity.client_id) == (INSTANCE, thing_name(PREFIX, INSTANCE))
        assert [(each.name, each.value) for each in identity.attributes] == [("site", "basement")]
    assert world.registry.made == 1


def test_operators_replay_and_are_refused_by_name(call: Call) -> None:
    assert call("api_operator", "replay_dead_letters") == {"replayed": 0}
    assert call("api_operator", "unknown_operation")["error"] == "InvalidParameterException"


def test_an_operator_makes_a_key(world: World, call: Call) -> None:
    world.cluster()
    made = call("api_operator", "create_key")
    assert (made["principal"], made["clusters"], made["status"]) == ("ci", ["default"], "ACTIVE")
    assert made["secretAccessKey"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [("role", ("iam/role/Deployer", False, 900)), ("administrator", ("iam/user/team/bob", True, 3600))],
)
def test_an_iam_identity_logs_in(world: World, call: Call, case: str, expected: tuple[str, bool, int]) -> None:
    answer = call("api_credentials", case)
    key = json.loads(answer["body"])
    claims = claims_of(key["SessionToken"])
    assert claims is not None
    lasts = claims.expires_at - int(world.now.timestamp())
    assert (claims.principal, claims.administrator, lasts) == expected
    assert (answer["statusCode"], key["Version"], key["AccessKeyId"]) == (200, 1, claims.access_key_id)
    assert datetime.fromisoformat(key["Expiration"]).timestamp() == claims.expires_at


def test_nobody_logs_in_whom_iam_has_not_proven(call: Call) -> None:
    assert call("api_credentials", "no_identity")["statusCode"] == 403


@pytest.mark.parametrize("duration", ["899", "43201", "", "-900", "1e3", "9" * 30])
def test_a_session_is_of_15_minutes_to_12_hours(world: World, duration: str) -> None:
    with pytest.raises(InvalidParameterException):
        log_in(world.cp, "arn:aws:iam::123456789012:user/alice", duration, administrator=True)


def test_nobody_registers_without_an_activation(world: World, call: Call) -> None:
    answer = call("api_registration", "activation")
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (403, "InvalidActivation")
    answer = call("api_registration", "no_activation_request")
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (400, "InvalidRequest")
    assert world.registry.made == 0


def test_who_tries_too_often_is_told_when_to_come_back(call: Call) -> None:
    for _ in range(10):
        assert "retry-after" not in call("api_registration", "activation")["headers"]
    answer = call("api_registration", "activation")
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (429, "600")


def test_the_api_refuses_what_is_not_signed(call: Call) -> None:
    answer = call("api_ecs", "unsigned")
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["__type"] == "MissingAuthenticationTokenException"


# --- one message must not take the others with it

AFTER_POISON: dict[str, Callable[[World], bool]] = {
    "iot_connectivity": lambda world: world.instance(INSTANCE).session is not None,
    "iot_credentials": lambda world: len(world.agents.sent) == 1,
    "iot_register_container_instance": lambda world: bool(world.instance(INSTANCE).epoch == 2),
    "iot_task_state_change": lambda world: status(world) == TaskStatus.RUNNING,
    "queue_agent_commands": lambda world: len(world.agents.sent) == 1,
    "queue_events": lambda world: len(world.events.entries) == 1,
    "queue_run_task": lambda world: len(tasks.of_instance(world.table, "default", INSTANCE)) == 2,
}
"""By function: whether the sound message of two was handled."""


@pytest.mark.usefixtures("task", "allowed")
@pytest.mark.parametrize("function", AFTER_POISON)
def test_a_poison_message_fails_alone(world: World, call: Call, function: str) -> None:
    assert not AFTER_POISON[function](world)
    poison, _ = message_ids(function, "one_of_two_is_poison")
    assert failures(call(function, "one_of_two_is_poison")) == [poison]
    assert AFTER_POISON[function](world)
