"""The connection to the control plane: MQTT 5 over mutual TLS, QoS 1, one fresh session after the other.

Nothing is kept over a connection: what was published and not acknowledged, the core publishes again.
"""

import logging
import math
import random
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
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
from ecs_anywhere_agent.incoming import RefusedMessageError, read_message
from ecs_anywhere_agent.reconnecting import LASTING_SECONDS, BackOff, Outcome
from ecs_anywhere_agent.rotating import Rotation
from ecs_anywhere_agent.streams.open_streams import OpenStreams
from ecs_protocol.messages import (
    DUPLICATE_IDENTITY,
    AgentRequest,
    ControlPlaneMessage,
    Deregistered,
    Identity,
    MessageRejected,
    OpenExec,
    OpenLogs,
    Refused,
    RegisterContainerInstance,
    TaskStateChanges,
)

_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_SECONDS = 20.0
DUPLICATE = (
    "another machine uses this machine's identity: this one stays away until an operator chooses "
    "(ecs-anywhere duplicates), but for a try within the hour"
)
_NOT_YET_VALID = 9
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID."""
_REFUSAL_GAP_SECONDS = 60.0
"""How often the control plane is told that a message was refused: whoever floods a machine makes it flood nobody."""
_CLOCK_LOOK_SECONDS = 1.0
_CLOCK_SET_SECONDS = 60.0
"""A wall clock that goes ahead of the other by more was set."""


def tls_context(files: IdentityFiles, identity: Identity, shown: IdentityFiles | None = None) -> ssl.SSLContext:
    """Verifies the endpoint's certificate and name, and shows ours, or that of `shown`."""
    context = ssl.create_default_context(cafile=str(files.mqtt_ca) if identity.mqtt_ca_pem else None)
    context.sslsocket_class = _HandshakingSocket
    context.load_cert_chain((shown or files).certificate, (shown or files).key)
    host, _, port = identity.mqtt_endpoint.rpartition(":")
    if port == "443" and ".amazonaws.com" in host:
        context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    return context


class _HandshakingSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which paho leaves to the garbage collector, and fails with SSLError."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise ssl.SSLError(f"the TLS handshake failed: {error}") from error


class MqttLink:
    """Keeps one connection open, from `start` to `close`."""

    def __init__(
        self,
        identity: Identity,
        rotation: Rotation,
        *,
        keep_alive_seconds: int,
        describe: Callable[[], RegisterContainerInstance],
        emit: Callable[[Event], None],
        elapsed: Callable[[], float],
        streams: OpenStreams,
        deregistered: Callable[[], None] = lambda: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._rotation = rotation
        self._streams = streams
        self._deregistered = deregistered
        self._elapsed = elapsed
        self._wall = wall
        self._keep_alive = keep_alive_seconds
        self._describe = describe
        self._emit = emit
        self._closing = threading.Event()
        self._refuses_aloud_at = -math.inf
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def request(self, message: AgentRequest) -> None:
        self._publish(self._identity.topics.of(message), message.to_json(), None)

    def report(self, token: int, message: TaskStateChanges) -> None:
        self._publish(self._identity.topics.task_state_changes, message.to_json(), token)

    def publish(self, topic: str, payload: str) -> None:
        """Of a stream; lost without a connection, with which streams end."""
        self._publish(topic, payload, None)

    def subscribe(self, topic: str) -> None:
        with self._lock:
            session = self._session
        if session is not None:
            session.client.subscribe(topic, qos=1)

    def unsubscribe(self, topic: str) -> None:
        with self._lock:
            session = self._session
        if session is not None:
            session.client.unsubscribe(topic)

    def say(self, message: AgentRequest, timeout: float) -> bool:
        """A request that is not answered. Whether the broker has acknowledged it."""
        with self._lock:
            session = self._session
        return session is not None and session.say(self._identity.topics.requests, message.to_json(), timeout)

    def close(self) -> None:
        """Tell the broker goodbye."""
        self._closing.set()
        with self._lock:
            session = self._session
        if session is not None:
            session.client.disconnect()
        self._thread.join(timeout=10)

    def _publish(self, topic: str, payload: str, token: int | None) -> None:
        with self._lock:
            session = self._session
        if session is not None:
            session.publish(topic, payload, token)

    def _run(self) -> None:
        back_off = BackOff()
        while not self._closing.is_set():
            session = _Session(
                self._identity,
                self._rotation,
                describe=self._describe,
                emit=self._emit,
                elapsed=self._elapsed,
                received=self._received,
                deregistered=self._deregistered,
            )
            with self._lock:
                self._session = session
            clock = self._clock_offset()
            outcome = session.live(self._keep_alive, self._closing)
            with self._lock:
                self._session = None
            self._streams.cut("its machine has lost its connection")
            back_off = back_off.after(outcome)
            wait = back_off.wait(outcome, random.uniform)
            if session.clock_unset:
                self._wait_for_the_time(clock, wait)
            else:
                self._closing.wait(wait)

    def _received(self, topic: str, payload: bytes) -> ControlPlaneMessage | None:
        """What comes from the control plane; None: what an operator says, or nothing that can be read."""
        if self._streams.received(topic, payload):
            return None
        try:
            message = read_message(payload, self._identity.container_instance_arn)
        except RefusedMessageError as refusal:
            _log.warning("refused a message of the control plane: %s", refusal)
            if self._elapsed() >= self._refuses_aloud_at:
                self._refuses_aloud_at = self._elapsed() + _REFUSAL_GAP_SECONDS
                self.request(MessageRejected(request_id=secrets.token_hex(8), reason=str(refusal)))
            return None
        if isinstance(message, OpenLogs | OpenExec):
            self._streams.open(message, self)
        return message

    def _wait_for_the_time(self, clock: float, at_most: float) -> None:
        """A clock that was set makes a try worth while at once."""
        until = self._elapsed() + at_most
        while self._elapsed() < until and abs(self._clock_offset() - clock) < _CLOCK_SET_SECONDS:
            if self._closing.wait(_CLOCK_LOOK_SECONDS):
                return

    def _clock_offset(self) -> float:
        return self._wall() - self._elapsed()


class _Session:
    """One connection."""

    def __init__(
        self,
        identity: Identity,
        rotation: Rotation,
        *,
        describe: Callable[[], RegisterContainerInstance],
        emit: Callable[[Event], None],
        elapsed: Callable[[], float],
        received: Callable[[str, bytes], ControlPlaneMessage | None],
        deregistered: Callable[[], None],
    ) -> None:
        self._identity = identity
        self._rotation = rotation
        self._read = received
        self._deregistered = deregistered
        self._describe = describe
        self._emit = emit
        self._elapsed = elapsed
        self.clock_unset = False
        """The broker's certificate begins later than now, as this machine's clock has it."""
        self._refusal: str | None = None
        self._name = secrets.token_hex(8)
        """Ids of requests over this connection begin with it."""
        self._duplicate = False
        self._subscribed_at = 0.0
        self._commands_subscription: int | None = None
        self._pinged_at = 0.0
        self._announced = False
        self._ended = threading.Event()
        self._tokens_lock = threading.Lock()
        self._tokens: dict[int, int] = {}
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=identity.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        self.client.tls_set_context(rotation.context())
        self.client.connect_timeout = _CONNECT_TIMEOUT_SECONDS
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._subscribed
        self.client.on_message = self._received
        self.client.on_publish = self._published
        self.client.on_disconnect = self._disconnected
        self.client.on_log = self._logged

    def live(self, keep_alive_seconds: int, closing: threading.Event) -> Outcome:
        """Until the connection ends."""
        host, _, port = self._identity.mqtt_endpoint.rpartition(":")
        started = time.monotonic()
        try:
            self.client.connect(host, int(port), keep_alive_seconds, clean_start=True)
        except ssl.SSLError as error:
            self.clock_unset = isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == _NOT_YET_VALID
            return self._failed(error, Outcome.UNREACHABLE if self.clock_unset else Outcome.REFUSED)
        except (OSError, ValueError) as error:
            return self._failed(error, Outcome.UNREACHABLE)
        # With a thread of its own paho writes on that alone: an SSL connection is not for two threads at once.
        self.client.loop_start()
        if closing.is_set():
            self.client.disconnect()
        self._ended.wait()
        self.client.loop_stop()
        if self._announced:
            self._emit(Disconnected())
            if self._duplicate:
                self._emit(NotConnected(DUPLICATE))
                return Outcome.DUPLICATE
            return Outcome.LASTED if time.monotonic() - started > LASTING_SECONDS else Outcome.REFUSED
        self._emit(NotConnected(self._refusal or f"{self._identity.mqtt_endpoint} closed the connection"))
        return Outcome.REFUSED

    def _failed(self, error: Exception, outcome: Outcome) -> Outcome:
        reason = f"cannot connect to {self._identity.mqtt_endpoint}: {error}"
        if self.clock_unset:
            reason += "; waiting for this machine's clock to be set"
        _log.warning("%s", reason)
        self._emit(NotConnected(reason, clock_unset=self.clock_unset))
        return outcome

    def _refused(self, reason: str) -> None:
        self._refusal = reason
        _log.warning("%s", reason)

    def publish(self, topic: str, payload: str, token: int | None) -> None:
        with self._tokens_lock:
            sent = self.client.publish(topic, payload, qos=1)
            if token is not None:
                self._tokens[sent.mid] = token

    def say(self, topic: str, payload: str, timeout: float) -> bool:
        sent = self.client.publish(topic, payload, qos=1)
        with suppress(RuntimeError, ValueError):  # there is no connection, or too much waits for one
            sent.wait_for_publish(timeout)
            return sent.is_published()
        return False

    def _rotate(self, received: ControlPlaneMessage | None = None) -> None:
        """After a message, or now and then without one."""
        try:
            request = self._rotation.due() if received is None else self._rotation.heard(received)
        except OSError as error:
            _log.warning("cannot replace the certificate now: %s", error)
            return
        if request is not None:
            self.publish(self._identity.topics.requests, request.to_json(), None)
        if self._rotation.reconnect:
            self.client.disconnect()

    def _connected(self, client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused(f"{self._identity.mqtt_endpoint} refused the connection: {reason}")
            return
        self._subscribed_at = self._elapsed()
        _, self._commands_subscription = client.subscribe(self._identity.topics.commands, qos=1)

    def _subscribed(self, client: paho.Client, _userdata: Any, mid: int, reasons: list[Any], _properties: Any) -> None:
        if mid != self._commands_subscription:  # a stream's: its operator waits in vain, and says so
            return
        if any(reason.is_failure for reason in reasons):
            self._refused(f"may not subscribe to {self._identity.topics.commands}: {reasons[0]}")
            client.disconnect()
            return
        self._announced = True
        self._emit(Connected(session=self._name, registration=self._describe()))
        self._emit(ContactProved(self._subscribed_at))
        self._rotation.connected()
        self._rotate()

    def _disconnected(self, _client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            _log.warning("the connection to %s was lost: %s", self._identity.mqtt_endpoint, reason)
        self._ended.set()

    def _logged(self, _client: paho.Client, _userdata: Any, _level: int, line: str) -> None:
        """Of pings, which cost nothing, paho tells only here. The answer proves that the broker has heard of us."""
        if line == "Sending PINGREQ":
            self._pinged_at = self._elapsed()
        elif line == "Received PINGRESP":
            self._emit(ContactProved(self._pinged_at))
            self._rotate()

    def _received(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        received = self._read(message.topic, bytes(message.payload))
        if received is None:
            return
        self._emit(MessageReceived(received))
        if isinstance(received, Deregistered):
            self._deregistered()
        if self._says_duplicate(received):
            _log.warning("%s", DUPLICATE)
            self._duplicate = True
            self.client.disconnect()
            return
        self._rotate(received)

    def _says_duplicate(self, received: ControlPlaneMessage) -> bool:
        """What is for the other machine with this identity comes here, too, if it has just been connected."""
        return (
            isinstance(received, Refused)
            and received.error == DUPLICATE_IDENTITY
            and received.request_id.startswith(f"{self._name}-")
        )

    def _published(self, _client: paho.Client, _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._tokens_lock:
            token = self._tokens.pop(mid, None)
        if reason.is_failure:
            _log.warning("the broker refused what was published: %s", reason)
        elif token is not None:
            self._emit(ReportAcknowledged(token))
