"""Attacks on a whole stack: over HTTP, over MQTT with a stolen or valid identity, with codes and with copied disks.

Each must come to nothing: what machine B runs is what it ran, and what our functions refused is in the audit log. The
local broker evaluates the policy of a certificate; what it lets a client without one do, AWS IoT does not
(tests/contract/test_machine_policy.py).
"""

import concurrent.futures
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import made_secrets
from e2e.conftest import Agent, Stack, command, until
from e2e.hostile import (
    TARGET,
    Field,
    Intruder,
    Signed,
    deletes_everything,
    registering,
    registration,
    stop_command,
    stopped,
    with_one_bit_of_the_signature_changed,
    with_other_body,
)
from e2e.test_offline import on_machine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def field(stack: Stack) -> Iterator[Field]:
    a = stack.agent("hostile")
    own = stack.run("hostile", stack.define("hostile"))
    stack.until_task_is("hostile", own, "RUNNING")
    a.stop()
    stack.ecs.update_container_instances_state(cluster="hostile", containerInstances=[a.arn], status="DRAINING")
    b = stack.agent("hostile")
    task = stack.run("hostile", stack.define("hostile"))
    stack.until_task_is("hostile", task, "RUNNING")
    time.sleep(3)  # reports that share a message
    yield Field(stack, a, b, task, own)
    for agent in (a, b):
        agent.clean_up()


# --- over HTTP


OVER_HTTP: dict[str, tuple[Callable[[Stack], tuple[int, str]], str]] = {
    "unsigned": (lambda stack: deletes_everything(stack).send(Authorization=None), "MissingAuthenticationToken"),
    "signed by a key that nobody has": (
        lambda stack: deletes_everything(stack, key={"accessKeyId": "AKIANOBODY", "secretAccessKey": "x"}).send(),
        "UnrecognizedClient",
    ),
    "signed with another secret": (
        lambda stack: deletes_everything(stack, key={**stack.about, "secretAccessKey": "another"}).send(),
        "InvalidSignature",
    ),
    "one bit of the signature": (
        lambda stack: with_one_bit_of_the_signature_changed(deletes_everything(stack)),
        "InvalidSignature",
    ),
    "expired, as one that is replayed after a quarter of an hour": (
        lambda stack: deletes_everything(stack, late=901).send(),
        "InvalidSignature",
    ),
    "another operation in the same signature": (
        lambda stack: Signed(stack, "ListClusters", {}).send(**{"x-amz-target": f"{TARGET}DeleteCluster"}),
        "InvalidSignature",
    ),
    "another body in the same signature": (
        lambda stack: with_other_body(deletes_everything(stack)),
        "InvalidSignature",
    ),
    "the administrator speaks as an agent": (
        lambda stack: Signed(stack, "RegisterContainerInstance", {"cluster": "hostile"}).send(),
        "AccessDenied",
    ),
}


@pytest.mark.parametrize("attack", OVER_HTTP)
def test_a_request_that_is_not_right_is_refused(field: Field, attack: str) -> None:
    send, error = OVER_HTTP[attack]
    answers: list[tuple[int, str]] = []
    reasons = field.refusals(lambda: answers.append(send(field.stack)))
    [(status, refused)] = answers
    assert (status, refused) == (400, f"{error}Exception")
    assert len(reasons) == 1


def operate_keys(stack: Stack, *arguments: str) -> Any:
    return json.loads(command("ecs-anywhere", *arguments, "--output", "json", "--state-dir", str(stack.state)))


def test_a_key_of_another_cluster_and_a_key_that_was_revoked(field: Field) -> None:
    stack = field.stack
    stack.ecs.create_cluster(clusterName="elsewhere")
    key = operate_keys(stack, "keys", "create", "hostile-ci", "--cluster", "elsewhere")
    command(
        *("ecs-anywhere", "policies", "put", "all", "--principal", "hostile-ci", "--allow", "ecs:*"),
        *("--cluster", "elsewhere", "--state-dir", str(stack.state)),
    )
    answers: list[tuple[int, str]] = []
    stop = {"cluster": "hostile", "task": field.task}
    [(principal, _)] = field.refusals(lambda: answers.append(Signed(stack, "StopTask", stop, key).send()))
    assert (principal, answers) == ("hostile-ci", [(400, "AccessDeniedException")])
    operate_keys(stack, "keys", "revoke", key["accessKeyId"])
    until("it is refused", lambda: "Unrecognized" in Signed(stack, "ListClusters", {}, key).send()[1], seconds=30)


def test_an_event_of_a_source_without_a_policy_runs_nothing(field: Field) -> None:
    stack = field.stack
    queue = stack.client("sqs").get_queue_url(QueueName="ecs-anywhere-run-task")["QueueUrl"]
    detail = {"cluster": "hostile", "taskDefinition": "hostile"}
    event = {"id": "hostile-1", "source": "evil.example", "detail-type": "Run Task", "detail": detail}
    [(principal, reason)] = field.refusals(
        lambda: stack.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(event)) and None
    )
    assert (principal, "no identity-based policy allows" in reason) == ("events/evil.example", True)


# --- over MQTT


OVER_MQTT: dict[str, tuple[Callable[[Intruder, Field], None], str]] = {
    "A reports that B's task has stopped": (
        lambda one, field: one.publish(one.a["topics"]["taskStateChanges"], stopped(field.task)),
        "no task of this container instance",
    ),
    "A forges who it is in the payload": (
        lambda one, field: one.publish(
            one.a["topics"]["taskStateChanges"],
            stopped(field.task, clientId=one.b["clientId"], principal="forged", topic=one.b["topics"]["requests"]),
        ),
        "no task of this container instance",
    ),
    "A sends 120 KB of garbage": (
        lambda one, _field: one.publish(one.a["topics"]["requests"], os.urandom(120 * 1024)),
        "no request of this protocol",
    ),
}


@pytest.mark.parametrize("attack", OVER_MQTT)
def test_a_machine_with_a_valid_certificate_harms_nobody_else(field: Field, attack: str) -> None:
    act, reason = OVER_MQTT[attack]
    intruder = Intruder(field)
    try:
        found = field.refusals(lambda: act(intruder, field))
    finally:
        intruder.leave()
    assert [(who, why.startswith(reason)) for who, why in found] == [(intruder.a["clientId"], True)]


BY_THE_BROKER: dict[str, Callable[[Intruder, Field], None]] = {
    "A reports on B's topic": lambda one, field: one.publish(one.b["topics"]["taskStateChanges"], stopped(field.task)),
    "A registers on B's topic": lambda one, _field: one.publish(one.b["topics"]["requests"], registration()),
    "A commands B": lambda one, field: one.publish(one.b["topics"]["commands"], stop_command(field.task)),
    "A says that B is gone": lambda one, _field: one.publish(
        f"$aws/events/presence/disconnected/{one.b['clientId']}", "{}"
    ),
}


@pytest.mark.parametrize("attack", BY_THE_BROKER)
def test_what_a_machine_publishes_for_another_never_arrives(field: Field, attack: str) -> None:
    """What it says in its own name afterwards does."""

    def attacks() -> None:
        intruder = Intruder(field)
        try:
            BY_THE_BROKER[attack](intruder, field)
        finally:
            intruder.leave()
        marked = Intruder(field)
        try:
            marked.publish(marked.a["topics"]["requests"], "the mark")
        finally:
            marked.leave()

    [(_, reason)] = field.refusals(attacks)
    assert reason.startswith("no request of this protocol")


def test_a_machine_hears_nothing_of_what_another_is_told(field: Field) -> None:
    intruder = Intruder(field)
    heard: list[str] = []
    intruder.client.on_message = lambda _client, _userdata, message: heard.append(message.topic)
    answered: list[bool] = []
    intruder.client.on_subscribe = lambda _client, _userdata, _mid, reasons, _properties: answered.extend(
        reason.is_failure for reason in reasons
    )
    try:
        for topic in (intruder.b["topics"]["commands"], "#", "ecs-anywhere/+/commands"):
            intruder.client.subscribe(topic, qos=1)
        until("all are answered", lambda: len(answered) == 3)
        more = field.stack.run("hostile", "hostile")
        field.stack.until_task_is("hostile", more, "RUNNING")
        field.stack.ecs.stop_task(cluster="hostile", task=more)
        field.stack.until_task_is("hostile", more, "STOPPED")
    finally:
        intruder.leave()
    assert (answered, heard) == ([True] * 3, [])


def test_a_client_without_a_certificate_is_not_believed(field: Field) -> None:
    b = json.loads((field.b.data / "identity/identity.json").read_text())
    intruder = Intruder(field, certificate=False, client_id="nobody")
    try:
        found = field.refusals(lambda: intruder.publish(b["topics"]["taskStateChanges"], stopped(field.task)))
    finally:
        intruder.leave()
    assert [reason for _, reason in found] == ["not from a thing of ours, on a topic of its own"]


def test_old_reports_that_are_replayed_change_nothing(field: Field) -> None:
    """Of its own task: what it said under an earlier epoch counts no more."""
    intruder, before = Intruder(field), field.stack.task("hostile", field.report_of_a)
    try:
        intruder.publish(intruder.a["topics"]["taskStateChanges"], *[stopped(field.report_of_a, epoch=1, number=1)] * 5)
        time.sleep(8)
    finally:
        intruder.leave()
    after = field.stack.task("hostile", field.report_of_a)
    assert (after["lastStatus"], after["version"]) == (before["lastStatus"], before["version"])


def test_a_flood_keeps_nobody_from_being_heard(field: Field) -> None:
    """300 messages that are refused (those of one batch in one line), and B's work goes on meanwhile."""
    intruder = Intruder(field)
    try:
        reasons = field.refusals(
            lambda: intruder.publish(intruder.a["topics"]["taskStateChanges"], *[stopped(field.task)] * 300), count=20
        )
    finally:
        intruder.leave()
    assert {reason for _, reason in reasons} == {"no task of this container instance"}
    field.settles()
    more = field.stack.run("hostile", "hostile")
    field.stack.until_task_is("hostile", more, "RUNNING")
    field.stack.ecs.stop_task(cluster="hostile", task=more)
    field.stack.until_task_is("hostile", more, "STOPPED")


# --- joining


def activation_of(stack: Stack, limit: int) -> dict[str, str]:
    made: dict[str, str] = operate_keys(stack, "activate", "--cluster", "hostile", "--registration-limit", str(limit))
    return made


def test_of_those_who_race_for_the_last_registration_one_gets_it(field: Field) -> None:
    activation = activation_of(field.stack, limit=1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: registering(field.stack, activation), range(4)))
    assert sorted((status, error) for status, error, _ in answers) == [
        (200, ""),
        *[(400, "ActivationLimitReached")] * 3,
    ]
    assert registering(field.stack, activation)[1] == "ActivationLimitReached", "nor is it good for one more later"


@pytest.fixture
def forgiven(field: Field) -> Iterator[None]:
    """The emulator gives all callers one address: whoever registers after this would be refused for ten minutes."""
    yield
    dynamodb = field.stack.client("dynamodb")
    [table] = [name for name in dynamodb.list_tables()["TableNames"] if name.startswith("ecs-anywhere")]
    for item in dynamodb.scan(TableName=table)["Items"]:
        if item["pk"]["S"].startswith("FAILURES#"):
            dynamodb.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})


@pytest.mark.usefixtures("forgiven")
def test_codes_that_are_guessed_are_throttled(field: Field) -> None:
    activation = activation_of(field.stack, limit=1)
    answers = [registering(field.stack, activation, code=f"guess-{number}") for number in range(12)]
    assert {answer[:2] for answer in answers[:10]} == {(403, "InvalidActivation")}
    status, error, retry_after = answers[-1]
    assert (status, error) == (429, "TooManyAttempts")
    assert int(retry_after or 0) > 0
    assert registering(field.stack, activation)[0] == 429, "the right one is not heard either"
    assert field.audit()[-1]["reason"].startswith("TooManyAttempts")


# --- a copied disk


def test_a_copied_data_directory_is_refused_until_an_operator_chooses(field: Field) -> None:
    """Beside the original, so that nothing of the hardware tells them apart."""
    stack, original = field.stack, field.b
    before = field.state()[0]
    copy = Agent(original.data.parent / "copy-of-b", "process", arn=original.arn, cluster="hostile")
    shutil.copytree(original.data, copy.data, ignore=shutil.ignore_patterns("*.sock", "*.lock"), symlinks=True)
    made_secrets.note_key(copy.data / "identity" / "key.pem")
    copy.start()
    try:
        [found] = until("two machines are known", lambda: duplicates(stack), seconds=120)
        assert found["containerInstanceArn"] == original.arn
        until("the copy has left", lambda: "another machine uses this machine's identity" in log_of(copy), seconds=60)
        until("the original is connected", lambda: stack.instance(original)["agentConnected"])
        assert field.state()[0] == before
        refused = stack.ecs.run_task(cluster="hostile", taskDefinition="hostile")["failures"]
        assert "AGENT" in {failure["reason"] for failure in refused}
        shown = on_machine(original)["bootId"]
        assert (found["servedBootId"], found["refusedBootIds"]) == (shown, [on_machine(copy)["bootId"]])
    finally:
        copy.kill()
    operate_keys(stack, "duplicates", "keep", "--cluster", "hostile", original.arn, shown)
    assert duplicates(stack) == []
    more = stack.run("hostile", "hostile")
    stack.until_task_is("hostile", more, "RUNNING")


def duplicates(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operate_keys(stack, "duplicates", "list", "--cluster", "hostile")["duplicates"]
    return found


def log_of(agent: Agent) -> str:
    return Path(agent.data.parent / f"{agent.data.name}.log").read_text()
