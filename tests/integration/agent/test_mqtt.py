"""The MQTT link against a real listener with mutual TLS."""

import base64
import json
import queue
import time
from collections.abc import Callable
from typing import Any

import pytest

from ecs_anywhere_agent.core.events import (
    Connected,
    ContactProved,
    Disconnected,
    Event,
    MessageReceived,
    ReportAcknowledged,
)
from ecs_anywhere_agent.identity import IdentityFiles
from ecs_anywhere_agent.mqtt import MqttLink, tls_context
from ecs_protocol.messages import Identity, Probe, Reconcile, RegisterContainerInstance, TaskReport, TaskStateChanges
from ecs_protocol.statuses import TaskStatus
from integration.agent.conftest import THING, Broker

Events = queue.Queue[Event]


def describe() -> RegisterContainerInstance:
    return RegisterContainerInstance(request_id="-", digest="d", agent_version="1", cpu=1, memory=1)


def make_link(identity: Identity, files: IdentityFiles, events: Events, keep_alive_seconds: int = 60) -> MqttLink:
    return MqttLink(
        identity,
        tls_context(files, identity),
        keep_alive_seconds=keep_alive_seconds,
        describe=describe,
        emit=events.put,
        elapsed=time.monotonic,
    )


def connect(files: IdentityFiles) -> tuple[MqttLink, Events]:
    identity, events = files.load(), Events()
    link = MqttLink(
        identity,
        tls_context(files, identity),
        keep_alive_seconds=60,
        describe=describe,
        emit=events.put,
        elapsed=time.monotonic,
    )
    link.start()
    return link, events


def test_commands_come_and_reports_are_acknowledged(
    broker: Broker, files: IdentityFiles, inbox: Callable[[int], list[Any]]
) -> None:
    link, events = connect(files)
    connected = events.get(timeout=20)
    assert isinstance(connected, Connected)

    broker.client("iot-data").publish(topic=files.load().topics.commands, qos=1, payload=Probe().to_json())
    assert events.get(timeout=10) == MessageReceived(Probe())

    broker.client("iot-data").publish(topic=files.load().topics.commands, qos=1, payload="not JSON")
    report = TaskReport(task_id="a" * 32, epoch=1, number=1, last_status=TaskStatus.RUNNING)
    link.report(7, TaskStateChanges(reports=(report,)))
    assert events.get(timeout=10) == ReportAcknowledged(7)
    link.request(Reconcile(request_id="r1", digest="d"))

    received: list[Any] = []
    while len(received) < 2:
        received += inbox(5)
    bodies = [json.loads(message["Body"]) for message in received]
    assert {body["clientId"] for body in bodies} == {THING}
    assert {json.loads(base64.b64decode(body["payload"]))["type"] for body in bodies} == {
        "TaskStateChanges",
        "Reconcile",
    }

    link.close()
    assert events.get(timeout=10) == Disconnected()


def test_an_answered_ping_is_contact(files: IdentityFiles) -> None:
    identity, events = files.load(), Events()
    link = make_link(identity, files, events, keep_alive_seconds=1)
    link.start()
    assert isinstance(events.get(timeout=20), Connected)
    before = time.monotonic()
    contact = events.get(timeout=20)
    assert isinstance(contact, ContactProved)
    assert before <= contact.began <= time.monotonic()
    link.close()


def test_a_connection_that_is_taken_over_comes_back_as_a_new_session(files: IdentityFiles) -> None:
    first, events = connect(files)
    one = events.get(timeout=20)
    second, other_events = connect(files)
    assert isinstance(other_events.get(timeout=20), Connected)
    second.close()
    assert events.get(timeout=20) == Disconnected()
    again = events.get(timeout=30)
    assert isinstance(one, Connected)
    assert isinstance(again, Connected)
    assert one.session != again.session
    first.close()


@pytest.mark.parametrize(
    "endpoint", [pytest.param("127.0.0.2", id="name-not-in-the-certificate"), pytest.param("localhost", id="other-ca")]
)
def test_an_endpoint_that_does_not_verify_gets_nothing(
    files: IdentityFiles, broker: Broker, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    ca = {"mqtt_ca_pem": None} if endpoint == "localhost" else {}
    identity = files.load().model_copy(update={"mqtt_endpoint": f"{endpoint}:{broker.mqtt_port}", **ca})
    events = Events()
    link = MqttLink(
        identity,
        tls_context(files, identity),
        keep_alive_seconds=60,
        describe=describe,
        emit=events.put,
        elapsed=time.monotonic,
    )
    link.start()
    with pytest.raises(queue.Empty):
        events.get(timeout=2)
    link.close()
    assert "certificate verify failed" in caplog.text
