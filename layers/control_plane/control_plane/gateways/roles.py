"""AWS STS: the roles of tasks are assumed here and nowhere else.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

LONGEST = 3600
"""Seconds: all that STS gives to who is itself a role that was assumed, as a function is."""
SHORTEST = 900

_REFUSALS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "MalformedPolicyDocument",
        "NoSuchEntity",
        "PackedPolicyTooLarge",
        "RegionDisabledException",
        "ValidationError",
    }
)
"""What STS says of the role or of the request. All else it says of us, or of itself, and may not the next time."""


class RoleRefusedError(Exception):
    """Asking again soon will not help. `code` and the text are Amazon's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class AssumedRole:
    """Never logged."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime


class Roles:
    """`client` is a boto3 sts client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def assume(self, role_arn: str, session: str, tags: Mapping[str, str], seconds: int = LONGEST) -> AssumedRole:
        """Raises RoleRefusedError; ClientError or BotoCoreError if STS cannot say now."""
        try:
            answer = self._client.assume_role(
                RoleArn=role_arn,
                RoleSessionName=session,
                DurationSeconds=seconds,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code in _REFUSALS:
                raise RoleRefusedError(code, message) from error
            raise
        given = answer["Credentials"]
        return AssumedRole(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], given["Expiration"])
