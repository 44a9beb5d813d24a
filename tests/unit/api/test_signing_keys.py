"""The signing key is read from Secrets Manager now and then; the one before it is known too."""

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from control_plane.domain.access_key import signing_key_of
from control_plane.gateways.signing_keys import LOOK_AGAIN, SigningKeys
from world import START, FakeSecrets

FIRST, SECOND, THIRD = (signing_key_of(text) for text in ("the first signing key", "second", "third"))


def test_a_replaced_key_is_known_until_the_next_one() -> None:
    now = [START]
    secrets = FakeSecrets()
    keys = SigningKeys(secrets, "signing", lambda: now[0])
    assert (keys.newest(), keys.find(FIRST.key_id), keys.find(SECOND.key_id)) == (FIRST, FIRST, None)
    secrets.versions["signing"].append({"signingKey": "second"})
    assert keys.find(SECOND.key_id) is None, "it was looked for a moment ago"
    now[0] += LOOK_AGAIN
    assert (keys.find(SECOND.key_id), keys.find(FIRST.key_id), keys.newest()) == (SECOND, FIRST, SECOND)
    secrets.versions["signing"].append({"signingKey": "third"})
    assert keys.newest() == THIRD
    assert (keys.find(SECOND.key_id), keys.find(FIRST.key_id)) == (SECOND, None)


def test_a_known_key_is_not_read_at_each_request() -> None:
    secrets = FakeSecrets()
    keys = SigningKeys(secrets, "signing", lambda: START)
    assert [keys.find(FIRST.key_id) for _ in range(10)] == [FIRST] * 10
    assert secrets.reads == 2


def test_without_a_current_key_nothing_is_guessed() -> None:
    keys = SigningKeys(FakeSecrets(versions={"signing": []}), "signing", lambda: START)
    with pytest.raises(ClientError):
        keys.newest()


def test_the_key_before_it_is_found_when_it_becomes_the_previous_one() -> None:
    secrets = FakeSecrets()
    secrets.versions["signing"].append({"signingKey": "second"})
    keys = SigningKeys(secrets, "signing", lambda: START + timedelta(days=1))
    assert [keys.find(each.key_id) for each in (FIRST, SECOND, THIRD)] == [FIRST, SECOND, None]
