"""What an attacker of the end-to-end tests has: requests of its own making, clients of the broker, new keys."""

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion

from e2e.conftest import Agent, Stack, pid_of, until

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


def stop_command(task: str) -> str:
    command = {"taskId": task.rsplit("/", 1)[1], "desiredStatus": "STOPPED"}
    return json.dumps({"v": 1, "type": "TaskCommands", "version": 10**6, "tasks": [command]})


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
