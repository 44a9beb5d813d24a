"""How a container instance is spoken to. Today there is one transport: MQTT, through AWS IoT Core."""

from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from ecs_protocol.messages import ControlPlaneMessage
from ecs_protocol.names import thing_name, topics

logger = Logger(child=True)


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

    def end_session(self, instance_id: str) -> None:
        """Now, where there is DeleteConnection; else AWS IoT ends it within minutes of the certificate's revocation.

        The boto3 of an older Lambda runtime does not know it, nor does the emulator.
        https://docs.aws.amazon.com/iot/latest/apireference/API_iotdata_DeleteConnection.html
        """
        thing = thing_name(self._prefix, instance_id)
        if not hasattr(self._client, "delete_connection"):
            return
        try:
            self._client.delete_connection(clientId=thing, cleanSession=True)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code != "ResourceNotFoundException":  # it is not connected
                logger.info("Its session ends by itself", extra={"instance": instance_id, "error": code})
