"""The administrator's key is read from Secrets Manager now and then, not at each request."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from control_plane.gateways.administrator_key import KEPT, LOOK_AGAIN, AdministratorKey


class Secrets:
    """Stands for boto3's secretsmanager client."""

    def __init__(self) -> None:
        self.reads = 0
        self.key_id, self.secret = "AKIA1", "first"

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        assert request == {"SecretId": "arn"}
        self.reads += 1
        return {"SecretString": json.dumps({"accessKeyId": self.key_id, "secretAccessKey": self.secret})}


def test_a_key_is_remembered_for_a_while() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    secrets = Secrets()
    key = AdministratorKey(secrets, "arn", lambda: now[0])
    assert (key.secret_of("AKIA1"), key.secret_of("AKIA2"), key.secret_of("")) == ("first", None, None)
    secrets.secret = "second"
    now[0] += KEPT - timedelta(seconds=1)
    assert (key.secret_of("AKIA1"), secrets.reads) == ("first", 1)
    now[0] += timedelta(seconds=1)
    assert (key.secret_of("AKIA1"), secrets.reads) == ("second", 2)


def test_a_key_id_that_is_not_known_is_looked_for_now_and_then() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    secrets = Secrets()
    key = AdministratorKey(secrets, "arn", lambda: now[0])
    assert key.secret_of("AKIA1") == "first"
    secrets.key_id, secrets.secret = "AKIA2", "second"
    now[0] += LOOK_AGAIN - timedelta(seconds=1)
    assert ([key.secret_of("AKIA2") for _ in range(3)], secrets.reads) == ([None] * 3, 1)
    now[0] += timedelta(seconds=1)
    assert ([key.secret_of(each) for each in ("AKIA2", "AKIA1", "AKIA3")], secrets.reads) == (["second", None, None], 2)


def test_what_is_derived_changes_with_the_key_and_the_purpose() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    secrets = Secrets()
    key = AdministratorKey(secrets, "arn", lambda: now[0])
    first = key.derived("nextToken")
    assert (len(first), first == key.derived("nextToken"), first == key.derived("other")) == (32, True, False)
    assert first == AdministratorKey(secrets, "arn", lambda: now[0]).derived("nextToken"), "in every function"
    secrets.secret = "second"
    now[0] += KEPT - timedelta(seconds=1)
    assert key.derived("nextToken") == first
    now[0] += timedelta(seconds=1)
    assert key.derived("nextToken") != first
