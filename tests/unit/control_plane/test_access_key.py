"""Keys whose secrets are computed, not kept."""

import pytest

from control_plane.domain.access_key import (
    AccessKey,
    looks_like_an_access_key_id,
    new_access_key_id,
    secret_of,
    signing_key_of,
)
from world import START

KEY = signing_key_of("one")
ID = new_access_key_id("0123456789abcdef" * 2)


def test_a_secret_is_of_one_key_and_one_signing_key() -> None:
    secrets = {secret_of(KEY, ID), secret_of(KEY, f"{ID[:-1]}0"), secret_of(signing_key_of("two"), ID)}
    assert len(secrets) == 3
    # Keys outlive releases: this is what it has always been.
    assert secret_of(KEY, ID) == "8tLHfLvxNhnf_jhInIUyBzUGdSpsUXr4Q82z7lSONTs"


def test_what_is_stored_holds_no_secret() -> None:
    key = AccessKey(access_key_id=ID, principal="ci", signing_key=KEY.key_id, created_at=START)
    stored = key.model_dump_json()
    assert secret_of(KEY, ID) not in stored
    assert KEY.key.decode() not in KEY.key_id


@pytest.mark.parametrize("text", ["", "ADMINISTRATOR", "AKIA0123456789ABCDEF", ID.lower(), f"{ID}0", f"{ID}\n"])
def test_other_ids_are_not_looked_for(text: str) -> None:
    assert looks_like_an_access_key_id(ID)
    assert not looks_like_an_access_key_id(text)
