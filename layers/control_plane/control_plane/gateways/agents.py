"""How a container instance is spoken to. Today there is one transport: MQTT, through AWS IoT Core."""

from typing import Any

from ecs_protocol.messages import ControlPlaneMessage
from ecs_protocol.names import thing_name, topics


class AgentGateway:
    """Publishes to agents. `client` is a boto3 iot-data client."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def send(self, instance_id: str, message: ControlPlaneMessage) -> None:
        """At least once while it is connected, never while it is not: an agent that connects asks for what it missed.

        Raises botocore's ClientError or BotoCoreError.
        """
        topic = topics(self._prefix, thing_name(self._prefix, instance_id)).commands
        self._client.publish(topic=topic, qos=1, payload=message.to_json().encode())
