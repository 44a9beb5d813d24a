"""Short-lived keys: what a token says is believed only of who could have made it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.access_key import signing_key_of
from control_plane.domain.session_key import Claims, claims_of, made_with, principal_of, session_secret_of, token_of
from world import START

KEY, OTHER = signing_key_of("one"), signing_key_of("two")
CLAIMS = Claims(
    access_key_id=f"ECSS{'0' * 32}",
    principal="iam/role/Deployer",
    arn="arn:aws:sts::123456789012:assumed-role/Deployer/alice",
    administrator=False,
    expires_at=int((START + timedelta(hours=1)).timestamp()),
    signing_key=KEY.key_id,
)
TOKEN = token_of(KEY, CLAIMS)


def test_a_token_says_who_and_until_when() -> None:
    assert (claims_of(TOKEN), made_with(KEY, TOKEN), made_with(OTHER, TOKEN)) == (CLAIMS, True, False)
    assert session_secret_of(KEY, TOKEN) != session_secret_of(OTHER, TOKEN)
    assert KEY.key.decode() not in TOKEN


def test_a_key_ends() -> None:
    end = START + timedelta(hours=1)
    assert [CLAIMS.expired(at) for at in (START, end - timedelta(seconds=1), end)] == [False, False, True]


@given(position=st.integers(0, len(TOKEN) - 1), character=st.characters(min_codepoint=33, max_codepoint=126))
def test_no_character_of_a_token_can_be_changed(position: int, character: str) -> None:
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    assert made_with(KEY, changed) == (changed == TOKEN)


@given(token=st.text(max_size=60))
def test_whatever_is_no_token_says_nothing(token: str) -> None:
    assert claims_of(token) is None
    assert not made_with(KEY, token)


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        ("arn:aws:iam::123456789012:user/alice", "iam/user/alice"),
        ("arn:aws:iam::123456789012:user/team/alice", "iam/user/team/alice"),
        ("arn:aws:sts::123456789012:assumed-role/Deployer/session", "iam/role/Deployer"),
        ("arn:aws:sts::123456789012:federated-user/bob", "iam/federated-user/bob"),
        ("arn:aws:iam::123456789012:root", "iam/root"),
    ],
)
def test_policies_are_a_users_or_a_roles(arn: str, principal: str) -> None:
    assert principal_of(arn) == principal
