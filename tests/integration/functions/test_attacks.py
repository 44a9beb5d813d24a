"""What a machine with a valid certificate may try against others, and what each attempt must come to: nothing.

The messages come as the IoT rules put them into the queues. Where the broker would refuse one before, our own check is
shown to hold alone.
"""

import base64
import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.run_task import run_task
from control_plane.runtime import ControlPlane
from control_plane.store import identities, tasks
from ecs_protocol.messages import (
    CredentialsWanted,
    DescribeTasks,
    GetCredentials,
    HostPort,
    Message,
    OrphanReport,
    Reconcile,
    RegisterContainerInstance,
    ReportOrphans,
    TaskCredentials,
    TaskReport,
    TaskStateChanges,
)
from ecs_protocol.names import thing_name, topics
from ecs_protocol.statuses import TaskStatus
from world import EVERY_CAPABILITY, PREFIX, World

REQUESTS, REPORTS, PRESENCE, CREDENTIALS = (
    "iot_register_container_instance",
    "iot_task_state_change",
    "iot_connectivity",
    "iot_credentials",
)
ROLES = ("com.amazonaws.ecs.capability.task-iam-role", "com.amazonaws.ecs.capability.task-iam-role-network-host")
S = TaskStatus


class Context:
    """Of a Lambda invocation."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "invocation-1"


class Net:
    """A cluster with a hostile machine A and a machine B, each with a task that runs."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self._monkeypatch = monkeypatch
        world.cluster()
        world.task_definition(task_role="app")
        self.a, self.b = (world.machine(capabilities=(*EVERY_CAPABILITY, *ROLES)) for _ in range(2))
        apart = {"type": "spread", "field": "instanceId"}
        ran = run_task(
            world.cp,
            {"taskDefinition": "web", "count": 2, "placementStrategy": [apart]},
        )
        for task in ran["tasks"]:
            task_id = task["taskArn"].rsplit("/", 1)[1]
            machine = task["containerInstanceArn"].rsplit("/", 1)[1]
            world.report(world.report_of(task_id, S.RUNNING, 1), instance_id=machine)
        [self.task_a] = [task.task_id for task in tasks.of_instance(world.table, "default", self.a)]
        [self.task_b] = [task.task_id for task in tasks.of_instance(world.table, "default", self.b)]
        world.deliver()
        world.agents.sent.clear()
        world.sts.calls.clear()

    def invoke(self, function: str, body: Mapping[str, Any]) -> None:
        """As SQS brings it. It is done with: nothing comes again."""
        app = importlib.import_module(f"functions.{function}.app")

        def control_plane() -> ControlPlane:
            return self.world.cp

        self._monkeypatch.setattr(app, "control_plane", control_plane)
        text = json.dumps(body)
        record = {"messageId": "1", "body": text, "md5OfBody": hashlib.md5(text.encode()).hexdigest()}
        assert app.handler({"Records": [record]}, Context()) == {"batchItemFailures": []}

    def send(
        self,
        payload: Message | bytes,
        *,
        function: str = REQUESTS,
        as_client: str | None = None,
        certificate: str | None = None,
        on_topic_of: str | None = None,
    ) -> None:
        """A's message, as the rule hands it on: with what IoT Core knows of the connection."""
        client = as_client or thing_name(PREFIX, self.a)
        of = topics(PREFIX, on_topic_of or client)
        topic = {REPORTS: of.task_state_changes, CREDENTIALS: of.credentials or ""}.get(function, of.requests)
        raw = payload.to_json().encode() if isinstance(payload, Message) else payload
        self.invoke(
            function,
            {
                "principal": certificate or f"cert-{self.a}",
                "clientId": client,
                "topic": topic.split("/", 3)[3],
                "receivedAt": int(self.world.now.timestamp() * 1000),
                "payload": base64.b64encode(raw).decode(),
            },
        )

    def report(self, task_id: str, status: TaskStatus, *, epoch: int = 1, number: int = 2, **options: Any) -> None:
        report = TaskReport(task_id=task_id, epoch=epoch, number=number, last_status=status)
        self.send(TaskStateChanges(reports=(report,)), function=REPORTS, **options)

    def ask(self, task_id: str, **options: Any) -> None:
        wanted = (CredentialsWanted(task_id=task_id, role="task"),)
        self.send(GetCredentials(request_id="r", wanted=wanted), function=CREDENTIALS, **options)

    def table(self) -> list[Any]:
        items = self.world.table._client.scan(TableName=self.world.table.name)["Items"]
        return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


@pytest.fixture
def net(world: World, monkeypatch: pytest.MonkeyPatch) -> Net:
    return Net(world, monkeypatch)


def registration(**members: Any) -> RegisterContainerInstance:
    return RegisterContainerInstance(
        **{"request_id": "r", "digest": "d", "agent_version": "1", "cpu": 1, "memory": 1, **members}
    )


def forged(message: Message, **members: str) -> bytes:
    return json.dumps({**members, **json.loads(message.to_json())}).encode()


STOPPED = b'{"taskId":"%b","epoch":1,"number":9,"lastStatus":"STOPPED"}'

ATTACKS: dict[str, Callable[[Net], None]] = {
    # --- another machine's tasks
    "it reports that B's task has stopped": lambda net: net.report(net.task_b, S.STOPPED),
    "it reports that B's task runs, under a later epoch": lambda net: net.report(net.task_b, S.RUNNING, epoch=99),
    "it reports a task that nobody started": lambda net: net.report("f" * 32, S.RUNNING),
    "it reports that a task of nobody's has stopped": lambda net: net.report("f" * 32, S.STOPPED),
    "it asks for the credentials of B's task": lambda net: net.ask(net.task_b),
    "it asks for the credentials of a task that nobody started": lambda net: net.ask("f" * 32),
    # --- another machine's name
    "it asks for them as B": lambda net: net.ask(net.task_b, as_client=thing_name(PREFIX, net.b)),
    "it asks for them on B's topic": lambda net: net.ask(net.task_b, on_topic_of=thing_name(PREFIX, net.b)),
    "it asks for them with B's certificate": lambda net: net.ask(net.task_b, certificate=f"cert-{net.b}"),
    "it asks for them as B, with a certificate of nobody's": lambda net: net.ask(
        net.task_b, as_client=thing_name(PREFIX, net.b), certificate="000000000000"
    ),
    "it connects as B": lambda net: net.report(net.task_b, S.STOPPED, as_client=thing_name(PREFIX, net.b)),
    "it publishes on B's topic": lambda net: net.report(net.task_b, S.STOPPED, on_topic_of=thing_name(PREFIX, net.b)),
    "it connects as B, but publishes on its own topic": lambda net: net.report(
        net.task_b, S.STOPPED, as_client=thing_name(PREFIX, net.b), on_topic_of=thing_name(PREFIX, net.a)
    ),
    "it registers as B": lambda net: net.send(registration(), as_client=thing_name(PREFIX, net.b)),
    "it reconciles as B": lambda net: net.send(
        Reconcile(request_id="r", digest="d"), as_client=thing_name(PREFIX, net.b)
    ),
    "it registers a machine that nobody has activated": lambda net: net.send(
        registration(), as_client=thing_name(PREFIX, "0" * 32)
    ),
    "it connects as a thing of another deployment": lambda net: net.send(
        registration(), as_client=thing_name("other", net.a)
    ),
    "it hides another thing's name in its own": lambda net: net.send(
        registration(), as_client=f"{thing_name(PREFIX, net.b)}/{thing_name(PREFIX, net.a)}"
    ),
    # --- no certificate of ours
    "a client without a certificate speaks as A": lambda net: net.send(registration(), certificate="000000000000"),
    "B's certificate speaks as A": lambda net: net.report(net.task_a, S.STOPPED, certificate=f"cert-{net.b}"),
    # --- what is in the payload
    "it names B in its report": lambda net: net.send(
        forged(
            TaskStateChanges(reports=(TaskReport(task_id=net.task_b, epoch=1, number=2, last_status=S.STOPPED),)),
            principal=f"cert-{net.b}",
            clientId=thing_name(PREFIX, net.b),
            topic=topics(PREFIX, thing_name(PREFIX, net.b)).task_state_changes,
            instanceId=net.b,
        ),
        function=REPORTS,
    ),
    "128 KB of garbage": lambda net: net.send(os.urandom(128 * 1024)),
    "128 KB of garbage as reports": lambda net: net.send(os.urandom(128 * 1024), function=REPORTS),
    "brackets that nest 60,000 deep": lambda net: net.send(b"[" * 60_000 + b"]" * 60_000),
    "brackets that nest, as reports": lambda net: net.send(b'{"reports":' * 10_000, function=REPORTS),
    "a number that no integer holds": lambda net: net.send(
        b'{"type":"RegisterContainerInstance","requestId":"r","digest":"d","agentVersion":"1","memory":1,"cpu":1e999}'
    ),
    "nothing": lambda net: net.send(b""),
    "a message that only the control plane sends": lambda net: net.send(
        b'{"type":"TaskCommands","version":9,"tasks":[]}'
    ),
    "a registration of less than nothing": lambda net: net.send(
        b'{"type":"RegisterContainerInstance","requestId":"r","digest":"d","agentVersion":"1","memory":1,"cpu":-1}'
    ),
    "more reports than a message may hold": lambda net: net.send(
        b'{"reports":[' + b",".join([STOPPED % net.task_a.encode()] * 500) + b"]}", function=REPORTS
    ),
    # --- the past
    "it replays an old report of its own": lambda net: net.report(net.task_a, S.STOPPED, number=1),
    "it goes back to an earlier status": lambda net: net.report(net.task_a, S.PENDING, number=1),
    # --- presence
    "another certificate connects as B": lambda net: net.invoke(
        PRESENCE,
        {
            "clientId": thing_name(PREFIX, net.b),
            "eventType": "disconnected",
            "sessionIdentifier": "s",
            "versionNumber": 99,
            "timestamp": 1767225600001,
            "principalIdentifier": f"cert-{net.a}",
        },
    ),
    # --- what others run
    "it says that B's task is an orphan here": lambda net: net.send(
        ReportOrphans(request_id="r", orphans=(OrphanReport(task_id=net.task_b, task_definition="web:1"),))
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_comes_of_it(net: Net, attack: str) -> None:
    before = net.table()
    ATTACKS[attack](net)
    assert net.table() == before
    assert {to for to, _ in net.world.agents.sent} <= {net.a}, "nobody else is told anything"
    assert net.world.sts.calls == [], "no role is assumed"


def test_what_it_registers_is_its_own_machine_whatever_it_calls_itself(net: Net) -> None:
    before = net.world.instance(net.b)
    ports = (HostPort(port=1),)
    net.send(forged(registration(ports_in_use=ports), instanceId=net.b, containerInstanceId=net.b, cluster="other"))
    assert net.world.instance(net.b) == before
    assert net.world.instance(net.a).reserved_ports == {"1/tcp"}


def test_it_cannot_take_another_machines_definitions(net: Net) -> None:
    net.world.task_definition("secret")
    net.send(DescribeTasks(request_id="r", task_ids=(net.task_b,), task_definitions=("secret:1",)))
    [(to, answer)] = net.world.agents.sent
    assert to == net.a
    assert json.loads(answer.to_json())["tasks"] == [
        {
            "taskId": net.task_b,
            "desiredStatus": "STOPPED",
            "taskArn": "",
            "clusterArn": "",
            "taskDefinition": "",
            "overrides": {},
            "launchType": "EXTERNAL",
            "tags": {},
        }
    ]
    assert "secret" not in answer.to_json()


def test_a_task_that_has_stopped_does_not_run_again(net: Net) -> None:
    net.report(net.task_a, S.STOPPED)
    before = net.table()
    for number in (1, 2, 3, 99):
        net.report(net.task_a, S.RUNNING, number=number)
        net.report(net.task_a, S.STOPPED, number=number)
    assert net.table() == before


def test_it_gets_the_credentials_of_its_own_task(net: Net) -> None:
    """So that the attempts above are not refused for another reason."""
    net.ask(net.task_a)
    [(to, answer)] = net.world.agents.sent
    assert isinstance(answer, TaskCredentials)
    assert (to, [each.task_id for each in answer.credentials]) == (net.a, [net.task_a])


# --- a machine that is deregistered


@pytest.fixture
def gone(net: Net) -> Net:
    """A is deregistered by force; its messages still come."""
    deregister_container_instance(net.world.cp, {"containerInstance": net.a, "force": True})
    net.world.deliver()
    net.world.agents.sent.clear()
    return net


AFTER: dict[str, Callable[[Net], None]] = {
    "its task runs again": lambda net: net.report(net.task_a, S.RUNNING, epoch=9),
    "a task of nobody's runs": lambda net: net.report("f" * 32, S.RUNNING, epoch=9),
    "it registers again": lambda net: net.send(registration(cpu=9)),
    "it reconciles": lambda net: net.send(Reconcile(request_id="r", digest="d")),
    "it asks for credentials": lambda net: net.ask(net.task_a),
    "it asks what to run": lambda net: net.send(DescribeTasks(request_id="r", task_ids=(net.task_b,))),
    "it has orphans": lambda net: net.send(
        ReportOrphans(request_id="r", orphans=(OrphanReport(task_id="f" * 32, task_definition="web:1"),))
    ),
}


@pytest.mark.parametrize("attempt", AFTER)
def test_from_that_moment_it_is_not_believed(gone: Net, attempt: str) -> None:
    before = gone.table()
    AFTER[attempt](gone)
    assert gone.table() == before
    assert gone.world.sts.calls == []
    assert not any("web" in message.to_json() for _, message in gone.world.agents.sent)


def test_what_a_warm_function_remembers_makes_no_difference(net: Net) -> None:
    """Another function deregisters it, between two messages that this one hears."""
    net.send(Reconcile(request_id="r", digest="d"))
    deregister_container_instance(net.world.function(), {"containerInstance": net.a, "force": True})
    before = net.table()
    net.report(net.task_a, S.RUNNING, epoch=9)
    net.send(registration(cpu=9))
    assert net.table() == before


def test_nor_does_a_certificate_that_was_replaced(net: Net) -> None:
    known = identities.load(net.world.table, net.a)
    assert known
    net.world.cp.table.commit([identities.written(known, known.model_copy(update={"principal": "newer"}))])
    net.world.registry.retire(f"cert-{net.a}", thing_name(PREFIX, net.a))
    before = net.table()
    net.report(net.task_a, S.STOPPED)
    net.send(registration())
    assert net.table() == before
