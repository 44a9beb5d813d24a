"""Unmodified boto3 clients whose requests are handed to a function instead of the network."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

REGION = "eu-west-1"
KEY_ID = "AKIAADMINISTRATOR"
SECRET = "abc/+=def secret 'with' \"punctuation\" é"
ENDPOINT = "https://ec5a0001.execute-api.eu-west-1.amazonaws.com"

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class _Raw(io.BytesIO):
    def stream(self, **_options: Any) -> Iterator[bytes]:
        yield self.read()


def http_api_event(request: AWSPreparedRequest) -> dict[str, Any]:
    """As API Gateway's HTTP APIs bring it (payload 2.0), and MiniStack: without what precedes the stage's own path.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    url = urlsplit(request.url)
    given: Any = request.body or b""
    body: bytes = given.encode() if isinstance(given, str) else given
    text = {name.lower(): _text(value) for name, value in request.headers.items()}
    return {
        "version": "2.0",
        "routeKey": "POST /",
        "rawPath": "/",
        "rawQueryString": url.query,
        "headers": {"host": url.netloc, "content-length": str(len(body)), **text},
        "requestContext": {"http": {"method": request.method, "path": "/"}, "requestId": "request-1"},
        "isBase64Encoded": True,
        "body": base64.b64encode(body).decode(),
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def ecs_client(
    answer: Answer,
    *,
    key_id: str = KEY_ID,
    secret: str = SECRET,
    token: str | None = None,
    endpoint: str = ENDPOINT,
    region: str = REGION,
) -> Any:
    """A client of Amazon ECS; `answer` gets what a function behind an HTTP API gets, and answers as one."""
    client = boto3.client(
        "ecs",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0}),
    )

    def send(request: AWSPreparedRequest, **_context: Any) -> AWSResponse:
        answered = answer(http_api_event(request))
        raw: Any = _Raw(answered["body"].encode())
        return AWSResponse(request.url, answered["statusCode"], answered["headers"], raw)

    events: Any = client.meta.events  # its stub wants handlers that answer nothing
    events.register_first("before-send.ecs.*", send)
    return client


def captured(**options: Any) -> dict[str, Any]:
    """The event of one signed ListClusters request."""
    events: list[dict[str, Any]] = []

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        events.append(event)
        return {"statusCode": 200, "headers": {}, "body": "{}"}

    ecs_client(answer, **options).list_clusters(maxResults=7)
    return events[0]
