"""The deployment's signing key, kept in AWS Secrets Manager: the newest, and the one before it.

A new version of the secret takes the old one's place, and Secrets Manager keeps that as AWSPREVIOUS: what was made with
it works on until the version after that.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from control_plane.domain.access_key import SigningKey, signing_key_of

KEPT = timedelta(minutes=5)
"""How long the key that a previous version holds is remembered after it was taken away."""
LOOK_AGAIN = timedelta(seconds=10)
"""How often one that is not known is looked for."""
STAGES = ("AWSCURRENT", "AWSPREVIOUS")


class SigningKeys:
    """`client` is boto3's secretsmanager; the secret is {"signingKey"}."""

    def __init__(self, client: Any, secret_arn: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._clock = clock
        self._read_at: datetime | None = None
        self._known: list[SigningKey] = []

    def newest(self) -> SigningKey:
        """What new keys are made with: read now, since making one is rare."""
        self._read()
        return self._known[0]

    def find(self, key_id: str) -> SigningKey | None:
        now = self._clock()
        known = any(key.key_id == key_id for key in self._known)
        if self._read_at is None or now - self._read_at >= (KEPT if known else LOOK_AGAIN):
            self._read()
        return next((key for key in self._known if key.key_id == key_id), None)

    def _read(self) -> None:
        found = [self._of(stage) for stage in STAGES]
        self._known = [key for key in found if key is not None]
        self._read_at = self._clock()

    def _of(self, stage: str) -> SigningKey | None:
        try:
            answer = self._client.get_secret_value(SecretId=self._secret_arn, VersionStage=stage)
        except ClientError as error:
            if stage != STAGES[0] and error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None  # it was never replaced
            raise
        return signing_key_of(json.loads(answer["SecretString"])["signingKey"])
