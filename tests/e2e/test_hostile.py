"""Attacks on a whole stack: over HTTP, over MQTT with a stolen or valid identity, with codes and with copied disks.

Each must come to nothing: what machine B runs is what it ran, and what our functions refused is in the audit log. The
local broker evaluates the policy of a certificate; what it lets a client without one do, AWS IoT does not
(tests/contract/test_machine_policy.py).
"""

import concurrent.futures
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion

from e2e import made_secrets
from e2e.conftest import Agent, Stack, command, pid_of, until
from e2e.test_offline import on_machine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

AUDITED = (
    "api-ecs",
    "api-registration",
    "queue-run-task",
    "iot-register-container-instance",
    "iot-task-state-change",
)
"""The functions that refuse something here."""
TARGET = "AmazonEC2ContainerServiceV20141113."


@dataclass
class Field:
    """A hostile machine A, whose agent does not run, and a machine B with a task."""

    stack: Stack
    a: Agent
    b: Agent
    task: str
    report_of_a: str

    def state(self) -> tuple[Any, ...]:
        """Of B: what is to stay as it is."""
        task = self.stack.task("hostile", self.task)
        kept = ("lastStatus", "desiredStatus", "version", "containers", "startedAt")
        instance = self.stack.instance(self.b)
        of_instance = ("status", "agentConnected", "remainingResources", "registeredResources", "attributes", "version")
        return (
            tuple(task[name] for name in kept),
            tuple(instance[name] for name in of_instance),
            sorted(self.stack.ecs.list_tasks(cluster="hostile")["taskArns"]),
        )

    def audit(self) -> list[dict[str, Any]]:
        """What was refused so far, in the order of its time."""
        found = [
            json.loads(line)
            for function in AUDITED
            for line in self.stack.function_log(function)
            if '"message":"Audit"' in line
        ]
        return sorted((each for each in found if each["outcome"] == "refused"), key=lambda each: each["timestamp"])

    def refusals(self, attack: Callable[[], None], count: int = 1) -> list[tuple[Any, ...]]:
        """The reasons of the refusals that an attack has led to, once B is found to be as it was."""
        before, known = self.state(), len(self.audit())
        attack()
        until("it is in the audit log", lambda: len(self.audit()) >= known + count)
        assert self.state() == before
        os.kill(pid_of(self.stack.task("hostile", self.task)), 0)
        return [(line.get("principal"), line["reason"]) for line in self.audit()[known:]]

    def settles(self) -> None:
        """Until nothing more is refused: what one attack has left in the queues is not taken for the next one's."""
        known = -1
        while known != len(self.audit()):
            known = len(self.audit())
            time.sleep(4)


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


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, str | None]:
    """Status, name of the error, and Retry-After."""
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, "", None
    except urllib.error.HTTPError as error:
        text = json.loads(error.read() or b"{}")
        return error.code, str(text.get("__type") or text.get("error")), error.headers.get("retry-after")


class Signed:
    """A request of the administrator's, or of another key, as it goes over the wire."""

    def __init__(
        self, stack: Stack, operation: str, body: dict[str, Any], key: dict[str, str] | None = None, late: float = 0
    ) -> None:
        key = key or stack.about
        self.url, self.body = stack.about["ecsEndpoint"], json.dumps(body).encode()
        headers = {"x-amz-target": f"{TARGET}{operation}", "content-type": "application/x-amz-json-1.1"}
        request = AWSRequest("POST", self.url, headers=headers, data=self.body)
        signer = SigV4Auth(Credentials(key["accessKeyId"], key["secretAccessKey"]), "ecs", stack.about["region"])
        at = datetime.now(UTC) - timedelta(seconds=late)
        request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
        request.headers["X-Amz-Date"] = request.context["timestamp"]
        text = signer.string_to_sign(request, signer.canonical_request(request))
        names = signer.signed_headers(signer.headers_to_sign(request))
        self.headers = {
            **dict(request.headers.items()),
            "Authorization": f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, "
            f"Signature={signer.signature(text, request)}",
        }

    def send(self, **headers: str | None) -> tuple[int, str]:
        kept = {**self.headers, **headers}
        status, error, _ = post(self.url, self.body, {name: value for name, value in kept.items() if value is not None})
        return status, error


def deletes_everything(stack: Stack, late: float = 0, key: dict[str, str] | None = None) -> Signed:
    return Signed(stack, "DeregisterContainerInstance", {"cluster": "hostile", "force": True}, key, late)


def with_other_body(signed: Signed) -> tuple[int, str]:
    signed.body = signed.body.replace(b"hostile", b"default")
    return signed.send()


def with_one_bit_of_the_signature_changed(signed: Signed) -> tuple[int, str]:
    authorization = signed.headers["Authorization"]
    return signed.send(Authorization=authorization[:-1] + ("0" if authorization[-1] != "0" else "1"))


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


class Intruder:
    """A client of the broker with A's certificate, or none."""

    def __init__(self, field: Field, *, certificate: bool = True, client_id: str | None = None) -> None:
        self.a, self.b = (
            json.loads((agent.data / "identity/identity.json").read_text()) for agent in (field.a, field.b)
        )
        folder = field.a.data / "identity"
        host, port = self.a["mqttEndpoint"].rsplit(":", 1)
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or self.a["clientId"], protocol=mqtt.MQTTv5
        )
        if certificate:
            self.client.tls_set(str(folder / "mqtt-ca.pem"), str(folder / "certificate.pem"), str(folder / "key.pem"))
        else:
            self.client.tls_set(str(folder / "mqtt-ca.pem"), cert_reqs=ssl.CERT_REQUIRED)
        self.client.connect(host, int(port))
        self.client.loop_start()

    def publish(self, topic: str, *payloads: bytes | str) -> None:
        for payload in payloads:
            self.client.publish(topic, payload, qos=1).wait_for_publish(10)

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def stopped(task: str, *, epoch: int = 99, number: int = 99, **forged: str) -> str:
    report = {"taskId": task.rsplit("/", 1)[1], "epoch": epoch, "number": number, "lastStatus": "STOPPED"}
    return json.dumps({"v": 1, "type": "TaskStateChanges", "reports": [report], **forged})


def registration(**forged: str) -> str:
    machine = {"requestId": "r", "digest": "forged", "agentVersion": "1", "cpu": 1, "memory": 1}
    return json.dumps({"v": 1, "type": "RegisterContainerInstance", **machine, **forged})


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


def stop_command(task: str) -> str:
    command = {"taskId": task.rsplit("/", 1)[1], "desiredStatus": "STOPPED"}
    return json.dumps({"v": 1, "type": "TaskCommands", "version": 10**6, "tasks": [command]})


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


def registering(stack: Stack, activation: dict[str, str], code: str | None = None) -> tuple[int, str, str | None]:
    """By a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "B")])
    csr = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
    body = {
        "activationId": activation["activationId"],
        "activationCode": code or activation["activationCode"],
        "csr": csr.public_bytes(serialization.Encoding.PEM).decode(),
    }
    endpoint = activation["registrationEndpoint"]
    return post(endpoint, json.dumps(body).encode(), {"content-type": "application/json"})


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


def test_codes_that_are_guessed_are_throttled(field: Field) -> None:
    """Last of those that register: the address is this machine's own, and is refused for a while after it."""
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
