"""Answers of the container credentials endpoint, version 2. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from ecs_protocol.messages import RoleCredentials

_PREFIX = "CredentialsV2Request: "


def credentials_response(credentials: RoleCredentials) -> dict[str, str]:
    return {
        "RoleArn": credentials.role_arn,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": _time(credentials.expiration),
    }


def no_id() -> dict[str, Any]:
    return _error("NoIdInRequest", "No Credential ID in the request", HTTPStatus.BAD_REQUEST)


def unknown_id() -> dict[str, Any]:
    """Also for what is not the asker's: whoever asks learns nothing else."""
    return _error("InvalidIdInRequest", "Credentials not found", HTTPStatus.BAD_REQUEST)


def no_role() -> dict[str, Any]:
    return _error("NoCredentialsAssociated", "The task has no task role", HTTPStatus.BAD_REQUEST)


def not_to_be_had(held: RoleCredentials | None, refusal: str | None, cut_off_since: datetime | None) -> dict[str, Any]:
    """None have come, or those that came have expired; `refusal` is why the control plane gives no others.

    SDKs ask again after this status.
    """
    what = (
        "Credentials uninitialized for ID: none have come from the control plane yet"
        if held is None
        else f"Credentials expired at {_time(held.expiration)}"
    )
    if refusal is not None:
        what += f"; the control plane gives no others: {refusal}"
    if cut_off_since is not None:
        what += f"; this machine has been cut off since {_time(cut_off_since)}"
    return _error("CredentialsUninitialized", what, HTTPStatus.SERVICE_UNAVAILABLE)


def _error(code: str, message: str, status: HTTPStatus) -> dict[str, Any]:
    return {"code": code, "message": f"{_PREFIX}{message}", "HTTPErrorCode": int(status)}


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"
