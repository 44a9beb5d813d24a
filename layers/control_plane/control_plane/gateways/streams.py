"""Streams between an operator and a machine, through AWS IoT Core: who may join one, and where.

An operator has no certificate. It gets an address for MQTT over WebSocket that is signed with credentials of the
stack's role for streams, narrowed to one stream: its client id, its two topics, a quarter of an hour to connect.
Nothing is made for it at run time.

https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html#mqtt-ws
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ecs_protocol.names import stream_client_id, stream_topic, thing_name, topics
from ecs_protocol.streams import Stream

SERVICE = "iotdevicegateway"
CREDENTIALS_SECONDS = 900
"""The shortest that STS gives."""


class StreamAddress(NamedTuple):
    """`url` is a secret: whoever has it may join the stream until its credentials end."""

    url: str
    stream: Stream


class Streams:
    """`client` is a boto3 sts client; `endpoint` gives the address of IoT Core's WebSockets, as wss://host."""

    def __init__(self, client: Any, role_arn: str, *, prefix: str, iot_arn: str, endpoint: Callable[[], str]) -> None:
        """`iot_arn`: `arn:<partition>:iot:<region>:<account>`."""
        self._client = client
        self._role_arn = role_arn
        self._prefix = prefix
        self._iot_arn = iot_arn
        self._endpoint = endpoint

    def address(self, instance_id: str, session_id: str) -> StreamAddress:
        """Raises botocore's ClientError or BotoCoreError."""
        stream = Stream(
            session_id=session_id,
            client_id=stream_client_id(self._prefix, session_id),
            topic=stream_topic(topics(self._prefix, thing_name(self._prefix, instance_id)).commands, session_id),
        )
        given = self._client.assume_role(
            RoleArn=self._role_arn,
            RoleSessionName=f"stream-{session_id}",
            DurationSeconds=CREDENTIALS_SECONDS,
            Policy=json.dumps(self._policy(stream), separators=(",", ":")),
        )["Credentials"]
        signer = Credentials(given["AccessKeyId"], given["SecretAccessKey"])
        return StreamAddress(self._signed(signer, given["SessionToken"]), stream)

    def _policy(self, stream: Stream) -> dict[str, Any]:
        """What is left of the role's rights: this stream."""
        allowed = {
            "iot:Connect": f"client/{stream.client_id}",
            "iot:Publish": f"topic/{stream.topic}/in",
            "iot:Subscribe": f"topicfilter/{stream.topic}/out",
            "iot:Receive": f"topic/{stream.topic}/out",
        }
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": action, "Resource": f"{self._iot_arn}:{resource}"}
                for action, resource in allowed.items()
            ],
        }

    def _signed(self, credentials: Credentials, token: str) -> str:
        """IoT Core wants the session token beside what is signed, not in it."""
        scheme, _, host = self._endpoint().partition("://")
        region = self._iot_arn.split(":")[3]
        request = AWSRequest("GET", f"{scheme.replace('ws', 'http')}://{host}/mqtt")
        SigV4QueryAuth(credentials, SERVICE, region, expires=CREDENTIALS_SECONDS).add_auth(request)
        query = str(request.url).partition("?")[2]
        return f"{scheme}://{host}/mqtt?{query}&X-Amz-Security-Token={quote(token, safe='')}"
