"""A stream's connection: MQTT over WebSocket, at an address that was signed for it."""

import queue
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError

from ecs_anywhere.console import Problem
from ecs_anywhere.stream_player import Disconnected
from ecs_protocol.streams import FROM_MACHINE, FromMachine, Stop, Stream, ToMachine

_CONNECT_SECONDS = 20.0
_KEEP_ALIVE_SECONDS = 30
_SAID_SECONDS = 5.0


class StreamLink:
    """From `open` to `close`. What the machine says is in `heard`; `wake` is called, on another thread, when there is
    some."""

    def __init__(self, url: str, stream: Stream, wake: Callable[[], None]) -> None:
        self.heard: queue.SimpleQueue[FromMachine | Disconnected] = queue.SimpleQueue()
        self._address = urlsplit(url)
        self._topic = stream.topic
        self._wake = wake
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=stream.client_id,
            protocol=paho.MQTTv5,
            transport="websockets",
            reconnect_on_failure=False,
        )
        path = f"{self._address.path}?{self._address.query}"
        self._client.ws_set_options(path, {"Host": self._address.netloc})  # which is signed
        self._client.connect_timeout = _CONNECT_SECONDS
        if self._address.scheme == "wss":
            self._client.tls_set_context(ssl.create_default_context())
        # Should this process or its network die, the machine hears so at once.
        self._client.will_set(f"{self._topic}/in", Stop().to_json(), qos=1)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._received
        self._client.on_disconnect = self._disconnected

    def open(self) -> None:
        """Connect, and hear. Raises Problem."""
        host = self._address.hostname or ""
        port = self._address.port or (443 if self._address.scheme == "wss" else 80)
        try:
            self._client.connect(_found(host), port, _KEEP_ALIVE_SECONDS, clean_start=True)
        except (OSError, ValueError) as error:
            raise Problem(f"Cannot reach {host}: {error}") from error
        self._client.loop_start()
        try:
            refusal = self._ready.get(timeout=_CONNECT_SECONDS)
        except queue.Empty:
            refusal = f"{host} does not answer"
        if refusal is not None:
            self.close()
            raise Problem(f"Cannot join the stream: {refusal}")

    def say(self, message: ToMachine) -> None:
        self._client.publish(f"{self._topic}/in", message.to_json(), qos=1)

    def close(self) -> None:
        """After what was said; with a goodbye, so that the last will is not done."""
        if self._client.is_connected():
            last = self._client.publish(f"{self._topic}/in", Stop().to_json(), qos=1)
            with suppress(RuntimeError, ValueError):  # the connection is lost this moment
                last.wait_for_publish(_SAID_SECONDS)
            self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._ready.put(str(reason))
        else:
            client.subscribe(f"{self._topic}/out", qos=1)

    def _subscribed(
        self, _client: paho.Client, _userdata: Any, _mid: int, reasons: list[Any], _properties: Any
    ) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        self._ready.put(str(refused[0]) if refused else None)

    def _received(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            self.heard.put(FROM_MACHINE.validate_json(message.payload))
        except ValidationError:
            return  # of a later release
        self._wake()

    def _disconnected(self, _client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._ready.put(f"the connection was closed ({reason})")
        self.heard.put(Disconnected(f"The connection to the stream was lost: {reason}"))
        self._wake()


def _found(host: str) -> str:
    """Names below localhost are this machine, whether or not its resolver knows: RFC 6761, section 6.3."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return "127.0.0.1" if host.endswith(".localhost") else host
    return host
