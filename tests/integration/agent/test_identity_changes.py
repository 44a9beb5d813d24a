"""A certificate that is replaced, and an instance that is deregistered: the real agent, over MQTT with mutual TLS."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ecs_anywhere_agent.identity import IdentityFiles
from ecs_anywhere_agent.same_machine import ACTIVATION, StoredActivation, store_activation
from ecs_protocol.messages import (
    AGENT_REQUEST,
    CertificateIssued,
    Deregistered,
    DeregistrationNoted,
    RotateCertificate,
    RotationRequired,
)
from ecs_protocol.statuses import TaskStatus
from integration.agent.conftest import THING, Broker
from integration.agent.test_agent import AgentProcess, ControlPlane, end_all
from unit.agent.world import task_id

pytestmark = pytest.mark.timeout(120)


class Registry(ControlPlane):
    """Issues certificates as the control plane does, active or not."""

    def __init__(self, broker: Broker, topic: str, inbox: Callable[[int], list[Any]]) -> None:
        super().__init__(broker, topic, inbox)
        self.iot = broker.client("iot")
        self.issue_active = True
        self.issued: list[str] = []
        self.noted: list[DeregistrationNoted] = []

    def _take(self, payload: bytes) -> None:
        if json.loads(payload)["type"] == "TaskStateChanges":
            super()._take(payload)
            return
        match AGENT_REQUEST.validate_json(payload):
            case RotateCertificate() as request:
                self._issue(request)
            case DeregistrationNoted() as noted:
                self.noted.append(noted)
            case _:
                super()._take(payload)

    def _issue(self, request: RotateCertificate) -> None:
        made = self.iot.create_certificate_from_csr(
            certificateSigningRequest=request.csr, setAsActive=self.issue_active
        )
        self.iot.attach_policy(policyName="agent", target=made["certificateArn"])
        self.iot.attach_thing_principal(thingName=THING, principal=made["certificateArn"])
        self.issued.append(made["certificateId"])
        self.send(CertificateIssued(request_id=request.request_id, certificate_pem=made["certificatePem"]))


@pytest.fixture
def registry(broker: Broker, files: IdentityFiles, inbox: Callable[[int], list[Any]]) -> Registry:
    return Registry(broker, files.load().topics.commands, inbox)


@pytest.fixture
def start(tmp_path: Path, registry: Registry) -> Iterator[Callable[..., AgentProcess]]:
    agents = []

    def start_agent(*options: str) -> AgentProcess:
        agents.append(AgentProcess(tmp_path, *options))
        reconciled = registry.cloud.epoch
        registry.until(lambda: registry.cloud.epoch > reconciled)
        return agents[-1]

    yield start_agent
    end_all(agents, tmp_path)


def certificate_of(files: IdentityFiles) -> str:
    """Its id, as AWS IoT computes it, if the key beside it is its own."""
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    key = load_pem_private_key(files.key.read_bytes(), None)
    assert key.public_key() == certificate.public_key()
    return certificate.fingerprint(hashes.SHA256()).hex()


def test_a_certificate_is_replaced_while_tasks_run(
    start: Callable[..., AgentProcess], registry: Registry, files: IdentityFiles
) -> None:
    old, key = certificate_of(files), files.key.read_text()
    agent = start()
    registry.run(1, "sleep 1000")
    registry.until_status(1, TaskStatus.RUNNING)
    registry.send(RotationRequired())
    registry.until(lambda: not files.next.request.exists() and certificate_of(files) != old, seconds=40)
    assert registry.issued == [certificate_of(files)]
    assert files.key.read_text() != key
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert not files.next.key.exists()

    registry.iot.update_certificate(certificateId=old, newStatus="REVOKED")
    agent.end(signal.SIGKILL)
    start()
    registry.stop(1)
    registry.until_status(1, TaskStatus.STOPPED)


def test_a_new_certificate_that_is_refused_leaves_the_old_one_in_use(
    start: Callable[..., AgentProcess], registry: Registry, files: IdentityFiles
) -> None:
    old = certificate_of(files)
    registry.issue_active = False
    start()
    registry.run(1, "sleep 1000")
    registry.until_status(1, TaskStatus.RUNNING)
    registry.send(RotationRequired())
    registry.until(lambda: bool(registry.issued))
    reconciled = registry.cloud.epoch
    registry.until(lambda: registry.cloud.epoch > reconciled, seconds=40)
    assert certificate_of(files) == old
    registry.stop(1)
    registry.until_status(1, TaskStatus.STOPPED)


@pytest.mark.parametrize(
    ("options", "kept"),
    [pytest.param((), 0, id="its tasks are stopped"), pytest.param(("--keep-tasks",), 1, id="or run on, if so wanted")],
)
def test_a_deregistered_machine_says_so_and_deletes_its_key(
    start: Callable[..., AgentProcess],
    registry: Registry,
    files: IdentityFiles,
    options: tuple[str, ...],
    kept: int,
) -> None:
    store_activation(files.directory.parent, StoredActivation("https://example.com", "a-1", "secret"))
    agent = start(*options)
    registry.run(1, "sleep 1000")
    registry.until_status(1, TaskStatus.RUNNING)
    for _ in range(2):
        registry.send(Deregistered())
    registry.until(lambda: agent.process.poll() is not None, seconds=40)
    assert agent.end(signal.SIGTERM) == 0
    registry.until(lambda: bool(registry.noted))
    assert [noted.tasks_kept for noted in registry.noted] == [kept]
    assert not any(path.is_file() for path in files.directory.rglob("*.pem") if path != files.mqtt_ca)
    assert not files.identity.exists()
    assert not (files.directory.parent / ACTIVATION).exists(), "it does not come back by itself"
    ended = (files.directory.parent / "containers" / task_id(1) / "main" / "exit.json").exists()
    assert ended == (not kept)
    assert "to use it again: `ecs-anywhere-agent register`" in agent.log.read_text()


def test_messages_of_the_past_change_no_key(
    start: Callable[..., AgentProcess], registry: Registry, files: IdentityFiles
) -> None:
    start()
    before = {path.name: path.read_text() for path in files.directory.iterdir() if path.is_file()}
    registry.send(CertificateIssued(request_id="0" * 32, certificate_pem="somebody else's"))
    registry.run(1, "exit 0")
    registry.until_status(1, TaskStatus.STOPPED)
    assert {path.name: path.read_text() for path in files.directory.iterdir() if path.is_file()} == before
