"""The MQTT link against a real listener with mutual TLS."""

import base64
import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from ecs_anywhere_agent.core.events import (
    Connected,
    ContactProved,
    Disconnected,
    Event,
    MessageReceived,
    NotConnected,
    ReportAcknowledged,
)
from ecs_anywhere_agent.identity import IdentityFiles
from ecs_anywhere_agent.mqtt import DUPLICATE, MqttLink, tls_context
from ecs_anywhere_agent.rotating import Rotation
from ecs_anywhere_agent.streams.open_streams import OpenStreams
from ecs_protocol.messages import (
    DUPLICATE_IDENTITY,
    Identity,
    OpenLogs,
    Probe,
    Reconcile,
    Refused,
    RegisterContainerInstance,
    TaskReport,
    TaskStateChanges,
)
from ecs_protocol.names import stream_topic
from ecs_protocol.statuses import TaskStatus
from ecs_protocol.streams import FROM_MACHINE, Attach, Attached, Ended
from integration.agent.conftest import THING, Broker

Events = queue.Queue[Event]


def describe() -> RegisterContainerInstance:
    return RegisterContainerInstance(request_id="-", digest="d", agent_version="1", cpu=1, memory=1)


def make_link(
    identity: Identity,
    files: IdentityFiles,
    events: Events,
    keep_alive_seconds: int = 60,
    wall: Callable[[], float] = time.time,
) -> MqttLink:
    return MqttLink(
        identity,
        Rotation(files, lambda shown: tls_context(files, identity, shown), elapsed=time.monotonic),
        keep_alive_seconds=keep_alive_seconds,
        describe=describe,
        emit=events.put,
        elapsed=time.monotonic,
        streams=OpenStreams(files.certificate.parent, identity.topics.commands, lambda _: None),
        wall=wall,
    )


def connect(files: IdentityFiles) -> tuple[MqttLink, Events]:
    events = Events()
    link = make_link(files.load(), files, events)
    link.start()
    return link, events


@contextmanager
def listening(directory: Path, valid_from: datetime) -> Iterator[tuple[int, str, list[float]]]:
    """A TLS server: its port, its certificate, and when somebody came to it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = directory / "server.pem"
    chain.write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    came: list[float] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                came.append(time.monotonic())
                with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], pem.decode(), came
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_stream_goes_over_topics_of_its_own(broker: Broker, files: IdentityFiles) -> None:
    link, events = connect(files)
    assert isinstance(events.get(timeout=20), Connected)
    assert isinstance(events.get(timeout=20), ContactProved)
    topics = files.load().topics
    wanted = OpenLogs(session_id="5" * 32, task_id="a" * 32, seconds=60)
    stream = stream_topic(topics.commands, wanted.session_id)
    heard: queue.Queue[bytes] = queue.Queue()
    operator = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    operator.tls_set_context(ssl.create_default_context(cadata=broker.ca_pem))
    operator.on_message = lambda _client, _data, message: heard.put(bytes(message.payload))
    subscribed = threading.Event()
    operator.on_subscribe = lambda *_: subscribed.set()
    operator.connect("localhost", broker.mqtt_port)
    operator.loop_start()
    operator.subscribe(f"{stream}/out", qos=1)
    assert subscribed.wait(20)
    try:
        cloud = broker.client("iot-data")
        cloud.publish(topic=topics.commands, qos=1, payload=wanted.to_json())
        assert events.get(timeout=10) == MessageReceived(wanted)
        while heard.empty():  # attached again until it is answered, as operators do
            cloud.publish(topic=f"{stream}/in", qos=1, payload=Attach().to_json())
            time.sleep(0.2)
        assert FROM_MACHINE.validate_json(heard.get()) == Attached()
        said: Any = Attached()
        while said == Attached():
            said = FROM_MACHINE.validate_json(heard.get(timeout=10))
        assert isinstance(said, Ended)
        assert said.reason is not None
        assert said.reason.startswith("nothing of the task is left on its machine")
        assert events.empty(), "neither the stream nor its subscription is anything to the core"
    finally:
        operator.disconnect()
        operator.loop_stop()
        link.close()


def test_commands_come_and_reports_are_acknowledged(
    broker: Broker, files: IdentityFiles, inbox: Callable[[int], list[Any]]
) -> None:
    link, events = connect(files)
    assert isinstance(events.get(timeout=20), Connected)
    assert isinstance(events.get(timeout=20), ContactProved)

    broker.client("iot-data").publish(topic=files.load().topics.commands, qos=1, payload=Probe().to_json())
    assert events.get(timeout=10) == MessageReceived(Probe())

    for payload in ("not JSON", '{"type": "Nonsense"}'):
        broker.client("iot-data").publish(topic=files.load().topics.commands, qos=1, payload=payload)
    report = TaskReport(task_id="a" * 32, epoch=1, number=1, last_status=TaskStatus.RUNNING)
    link.report(7, TaskStateChanges(reports=(report,)))
    assert events.get(timeout=10) == ReportAcknowledged(7)
    link.request(Reconcile(request_id="r1", digest="d"))

    received: list[Any] = []
    while len(received) < 3:
        received += inbox(5)
    bodies = [json.loads(message["Body"]) for message in received]
    assert {body["clientId"] for body in bodies} == {THING}
    said = [json.loads(base64.b64decode(body["payload"])) for body in bodies]
    assert sorted(each["type"] for each in said) == ["MessageRejected", "Reconcile", "TaskStateChanges"]
    assert [each["reason"] for each in said if "reason" in each] == ["it cannot be read: the whole: json_invalid"]

    link.close()
    assert events.get(timeout=10) == Disconnected()


def test_an_answered_subscription_and_an_answered_ping_are_contact(files: IdentityFiles) -> None:
    identity, events = files.load(), Events()
    link = make_link(identity, files, events, keep_alive_seconds=1)
    link.start()
    assert isinstance(events.get(timeout=20), Connected)
    subscribed = events.get(timeout=20)
    before = time.monotonic()
    answered = events.get(timeout=20)
    assert isinstance(subscribed, ContactProved)
    assert isinstance(answered, ContactProved)
    assert subscribed.began < before <= answered.began <= time.monotonic()
    link.close()


def test_a_connection_that_is_taken_over_comes_back_as_a_new_session(files: IdentityFiles) -> None:
    first, events = connect(files)
    one = events.get(timeout=20)
    assert isinstance(events.get(timeout=20), ContactProved)
    second, other_events = connect(files)
    assert isinstance(other_events.get(timeout=20), Connected)
    second.close()
    assert events.get(timeout=20) == Disconnected()
    again = events.get(timeout=30)
    assert isinstance(one, Connected)
    assert isinstance(again, Connected)
    assert one.session != again.session
    first.close()


def test_a_machine_that_is_refused_as_a_duplicate_leaves_the_connection_to_the_other_one(
    files: IdentityFiles, broker: Broker
) -> None:
    """What is said to the other one over the topic that both hear makes neither leave."""
    link, events = connect(files)
    connected = events.get(timeout=20)
    assert isinstance(connected, Connected)
    assert isinstance(events.get(timeout=20), ContactProved)
    for session in ("another", connected.session):
        refused = Refused(request_id=f"{session}-1", error=DUPLICATE_IDENTITY, message="two")
        broker.client("iot-data").publish(topic=files.load().topics.commands, qos=1, payload=refused.to_json())
        assert events.get(timeout=10) == MessageReceived(refused)
    assert events.get(timeout=10) == Disconnected()
    assert events.get(timeout=10) == NotConnected(DUPLICATE)
    with pytest.raises(queue.Empty):
        events.get(timeout=5)
    link.close()


@pytest.mark.parametrize(
    "endpoint", [pytest.param("127.0.0.2", id="name-not-in-the-certificate"), pytest.param("localhost", id="other-ca")]
)
def test_an_endpoint_that_does_not_verify_gets_nothing(
    files: IdentityFiles, broker: Broker, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    ca = {"mqtt_ca_pem": None} if endpoint == "localhost" else {}
    identity = files.load().model_copy(update={"mqtt_endpoint": f"{endpoint}:{broker.mqtt_port}", **ca})
    events = Events()
    link = make_link(identity, files, events)
    link.start()
    failed = events.get(timeout=20)
    link.close()
    assert isinstance(failed, NotConnected)
    assert "certificate verify failed" in failed.reason
    assert not failed.clock_unset
    assert "certificate verify failed" in caplog.text


def test_a_clock_that_is_not_set_yet_is_waited_for(files: IdentityFiles, tmp_path: Path) -> None:
    with listening(tmp_path, datetime.now(UTC) + timedelta(days=1)) as (port, ca, came):
        update = {"mqtt_endpoint": f"localhost:{port}", "mqtt_ca_pem": ca}
        files.save(files.load().model_copy(update=update))
        behind, events = [0.0], Events()
        link = make_link(files.load(), files, events, wall=lambda: time.time() - behind[0])
        link.start()
        for _ in range(3):
            failed = events.get(timeout=20)
            assert isinstance(failed, NotConnected)
            assert failed.clock_unset
            assert "clock" in failed.reason
        behind[0] = -86_400.0
        set_at = time.monotonic()
        assert isinstance(events.get(timeout=20), NotConnected)
        link.close()
    assert came[-1] < set_at + 3, "without the clock's step the fourth try would come later, as a rule"


def test_who_takes_no_session_is_told_as_the_reason(files: IdentityFiles, tmp_path: Path) -> None:
    with listening(tmp_path, datetime.now(UTC) - timedelta(days=1)) as (port, ca, _):
        files.save(files.load().model_copy(update={"mqtt_endpoint": f"localhost:{port}", "mqtt_ca_pem": ca}))
        events = Events()
        link = make_link(files.load(), files, events)
        link.start()
        assert events.get(timeout=20) == NotConnected(f"localhost:{port} closed the connection")
        link.close()
