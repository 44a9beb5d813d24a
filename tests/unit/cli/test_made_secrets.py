"""The end-to-end run's search for secrets in logs finds one that is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import made_secrets


@pytest.fixture(autouse=True)
def nothing_made() -> Iterator[None]:
    before = dict(made_secrets.made)
    made_secrets.made.clear()
    yield
    made_secrets.made.clear()
    made_secrets.made.update(before)


def test_a_secret_in_a_log_is_told_by_its_place_and_never_shown(tmp_path: Path) -> None:
    made_secrets.note_in('{"keys": [{"accessKeyId": "AKIAEXAMPLE123", "secretAccessKey": "s3cr3t+of/the=key"}]}')
    made_secrets.note_in("not JSON, and no secret")
    log, clean = tmp_path / "emulator.log", tmp_path / "agent.log"
    log.write_text('{"message": "fine"}\n{"message": "AKIAEXAMPLE123 signs with s3cr3t+of/the=key"}\n')
    clean.write_text("AKIAEXAMPLE123\n")
    assert made_secrets.shown([log, clean]) == ["emulator.log:2: secretAccessKey"]


@pytest.mark.parametrize(
    "printed",
    [
        '{"activationCode": "long enough to be one"}',
        '{"AWS_SECRET_ACCESS_KEY": "long enough to be one"}',
        '{"SessionToken": "long enough to be one"}',
        '{"credentials": [{"sessionToken": "long enough to be one"}]}',
        '{"signingKey": "long enough to be one"}',
    ],
)
def test_what_is_a_secret_is_told_by_its_name(printed: str) -> None:
    made_secrets.note_in(printed)
    assert list(made_secrets.made) == ["long enough to be one"]


def test_a_private_key_is_found_by_any_of_its_lines(tmp_path: Path) -> None:
    pem = tmp_path / "agent-1" / "identity" / "key.pem"
    pem.parent.mkdir(parents=True)
    pem.write_text(f"-----BEGIN PRIVATE KEY-----\n{'a' * 64}\n{'b' * 64}\n{'c' * 24}\n-----END PRIVATE KEY-----\n")
    made_secrets.note_key(pem)
    log = tmp_path / "agent.log"
    log.write_text(f"{'a' * 64}\n{'b' * 64}\n{'c' * 24}\n")
    assert made_secrets.shown([log]) == [f"agent.log:{line}: agent-1's private key" for line in (2, 3)]


def test_a_log_that_is_begun_anew_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "emulator.log"
    for text in ("one", "two"):
        log.write_text(text)
        made_secrets.keep(log, tmp_path / "kept")
    assert sorted(kept.read_text() for kept in (tmp_path / "kept").iterdir()) == ["one", "two"]
