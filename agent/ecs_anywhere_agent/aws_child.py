"""Calls AWS with the credentials that it is given, for an agent that keeps neither the library for it nor the values.

Run as a file by `python -I`, once for what one container needs: botocore takes 56 MiB, which are free again when this
ends. Its order comes over stdin and its answers go over stdout, both JSON, so that no credentials and no value stand
in an argument, an environment or a file.

    order    {"credentials": {...}, "calls": [{"service", "operation", "region", "parameters"}]}
    answers  [{"answer": {...}} or {"error": {"code", "message"}}], in the order of the calls

A call that meets a fault of the network, a throttle or a server's error is tried again, with growing gaps, five times
in all. https://docs.aws.amazon.com/boto3/latest/guide/retries.html
"""

import base64
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_ATTEMPTS = 5
_CONNECT_SECONDS, _READ_SECONDS = 5, 15
_AT_ONCE = 8
_MOST_BYTES = 1024 * 1024 + 1
"""Of an object of S3: one more than is taken (environment_file.py)."""


def main() -> None:
    order = json.load(sys.stdin)
    import botocore.config  # noqa: PLC0415 - takes long, and what is wrong with the order shows without it
    import botocore.session  # noqa: PLC0415

    session = botocore.session.Session()
    own_endpoint = any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_AT_ONCE,
        # An emulator has no host name for each bucket.
        s3={"addressing_style": "path"} if own_endpoint else None,
    )
    calls = order["calls"]
    clients = {
        each: _client(session, *each, config=config, **order["credentials"])
        for each in {(call["service"], call["region"]) for call in calls}
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda call: _answered(clients[call["service"], call["region"]], call), calls))
    json.dump(answers, sys.stdout, default=_encoded)


def _client(session: Any, service: str, region: str, **members: Any) -> Any:
    """Or why there is none: a region that cannot be one comes from a task definition."""
    import botocore.exceptions  # noqa: PLC0415

    try:
        return session.create_client(service, region_name=region, **members)
    except botocore.exceptions.BotoCoreError as error:
        return _failed(error)


def _answered(client: Any, call: Mapping[str, Any]) -> dict[str, Any]:
    import botocore.exceptions  # noqa: PLC0415

    if isinstance(client, dict):
        return client
    try:
        answer: dict[str, Any] = getattr(client, call["operation"])(**call["parameters"])
        if "Body" in answer:
            answer["Body"] = answer["Body"].read(_MOST_BYTES)
    except botocore.exceptions.ClientError as error:
        told = error.response.get("Error", {})
        return {"error": {"code": told.get("Code", "Unknown"), "message": told.get("Message", "")}}
    except botocore.exceptions.BotoCoreError as error:
        return _failed(error)
    answer.pop("ResponseMetadata", None)
    return {"answer": answer}


def _failed(error: Exception) -> dict[str, Any]:
    return {"error": {"code": type(error).__name__, "message": str(error)}}


def _encoded(value: Any) -> str:
    """Of what JSON has no form for: bytes and times."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value.isoformat())


if __name__ == "__main__":
    main()
