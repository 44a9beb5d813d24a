"""What is sealed opens for this machine's identity only, whichever private key that has by then."""

import json
from pathlib import Path

import pytest

from ecs_anywhere_agent.identity import IdentityFiles, identity_files, write_private
from ecs_anywhere_agent.registering import new_key
from ecs_anywhere_agent.sealing import CannotUnsealError, Sealing, replace_identity


@pytest.fixture
def files(tmp_path: Path) -> IdentityFiles:
    return with_key(tmp_path)


def with_key(data_dir: Path) -> IdentityFiles:
    made = identity_files(data_dir)
    made.prepare()
    write_private(made.key, new_key()[0])
    write_private(made.certificate, "the first")
    return made


def next_key(files: IdentityFiles) -> None:
    files.next.prepare()
    write_private(files.next.key, new_key()[0])
    write_private(files.next.certificate, "the next")


def kept(files: IdentityFiles) -> str:
    return (files.directory / "sealing.json").read_text()


def test_what_was_sealed_opens_again_also_for_the_next_agent(files: IdentityFiles) -> None:
    sealed = Sealing(files).seal("hunter2", "task/main")
    assert "hunter2" not in sealed
    assert Sealing(files).unseal(sealed, "task/main") == "hunter2"


def test_the_same_text_is_sealed_differently_each_time(files: IdentityFiles) -> None:
    sealing = Sealing(files)
    assert sealing.seal("hunter2", "task/main") != sealing.seal("hunter2", "task/main")


def test_it_opens_only_for_whom_it_was_sealed(files: IdentityFiles) -> None:
    sealing = Sealing(files)
    sealed = sealing.seal("hunter2", "task/main")
    with pytest.raises(CannotUnsealError):
        sealing.unseal(sealed, "task/other")
    with pytest.raises(CannotUnsealError):
        sealing.unseal(sealed[:-5] + "AAAA=", "task/main")


def test_another_machine_opens_nothing_that_was_copied_to_it(files: IdentityFiles, tmp_path: Path) -> None:
    sealed = Sealing(files).seal("hunter2", "task/main")
    other = with_key(tmp_path / "other")
    write_private(other.directory / "sealing.json", kept(files))
    with pytest.raises(CannotUnsealError, match="sealed for another identity"):
        Sealing(other).unseal(sealed, "task/main")
    assert Sealing(other).unseal(Sealing(other).seal("its own", "x"), "x") == "its own"


def test_it_opens_after_the_private_key_was_replaced_and_with_the_new_one_only(
    files: IdentityFiles, tmp_path: Path
) -> None:
    sealed = Sealing(files).seal("hunter2", "task/main")
    old_key = files.key.read_text()
    next_key(files)
    replace_identity(files)
    assert (files.certificate.read_text(), files.key.read_text() == old_key) == ("the next", False)
    assert Sealing(files).unseal(sealed, "task/main") == "hunter2"
    stolen = with_key(tmp_path / "stolen")
    write_private(stolen.key, old_key)
    write_private(stolen.directory / "sealing.json", kept(files))
    with pytest.raises(CannotUnsealError):
        Sealing(stolen).unseal(sealed, "task/main")


class DiedError(Exception):
    pass


@pytest.mark.parametrize("replaced", [False, True], ids=["before the key is replaced", "after it"])
def test_it_opens_wherever_the_agent_died_while_it_replaced_the_key(
    files: IdentityFiles, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    sealed = Sealing(files).seal("hunter2", "task/main")
    next_key(files)
    replace = IdentityFiles.replace

    def die(files: IdentityFiles) -> None:
        if replaced:
            replace(files)
        raise DiedError

    monkeypatch.setattr(IdentityFiles, "replace", die)
    with pytest.raises(DiedError):
        replace_identity(files)
    assert len(json.loads(kept(files))["dataKeys"]) == 2
    assert Sealing(files).unseal(sealed, "task/main") == "hunter2"


def test_where_nothing_was_sealed_a_replacement_keeps_nothing(files: IdentityFiles) -> None:
    next_key(files)
    replace_identity(files)
    assert not (files.directory / "sealing.json").exists()


def test_without_a_private_key_nothing_is_sealed(tmp_path: Path) -> None:
    files = with_key(tmp_path)
    write_private(files.key, "no key\n")
    with pytest.raises(OSError, match="holds no private key"):
        Sealing(files).seal("hunter2", "x")
