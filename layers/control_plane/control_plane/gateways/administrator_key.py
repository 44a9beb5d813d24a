"""The administrator's access key, made at deployment and kept in AWS Secrets Manager."""

import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

KEPT = timedelta(minutes=5)
"""How long a key is remembered, and so how long one that was replaced still works."""
LOOK_AGAIN = timedelta(seconds=10)
"""How often a key id that is not known is looked for: a new key works soon, and a guesser costs little."""


class AdministratorKey:
    """`client` is boto3's secretsmanager; the secret is {"accessKeyId", "secretAccessKey"}."""

    def __init__(self, client: Any, secret_arn: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._secret_arn = secret_arn
        self._clock = clock
        self._read_at: datetime | None = None
        self._key: dict[str, str] = {}

    def secret_of(self, access_key_id: str) -> str | None:
        """None if it is not the administrator's."""
        self._look_if_older_than(KEPT if access_key_id == self._key.get("accessKeyId") else LOOK_AGAIN)
        return self._key["secretAccessKey"] if access_key_id == self._key["accessKeyId"] else None

    def derived(self, purpose: str) -> bytes:
        """A key for one purpose, the same in every function for as long as the administrator's is not replaced."""
        self._look_if_older_than(KEPT)
        return hmac.digest(self._key["secretAccessKey"].encode(), f"ecs-anywhere {purpose}".encode(), "sha256")

    def _look_if_older_than(self, age: timedelta) -> None:
        now = self._clock()
        if self._read_at is None or now - self._read_at >= age:
            answer = self._client.get_secret_value(SecretId=self._secret_arn)
            self._key = json.loads(answer["SecretString"])
            self._read_at = now
