"""boto3 clients."""

from typing import Any

import boto3
from botocore.config import Config


def ecs_client(endpoint: str, region: str, access_key_id: str, secret_access_key: str) -> Any:
    """A client of our ECS API; nothing of the caller's AWS settings goes in."""
    return boto3.session.Session(
        aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key, region_name=region
    ).client("ecs", endpoint_url=endpoint, config=_config(endpoint))


def _config(endpoint: str) -> Config:
    """Loopback is never behind a proxy."""
    local = endpoint.startswith("http://127.0.0.1")
    return Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=5,
        read_timeout=35,
        **({"proxies": {"http": "", "https": ""}} if local else {}),
    )
