"""A data directory that was copied to another machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ecs_anywhere_agent.cli import main
from ecs_anywhere_agent.identity import NoIdentityError, identity_files
from ecs_anywhere_agent.same_machine import (
    ASIDE,
    OtherMachineError,
    StoredActivation,
    compared,
    ensure_identity,
    remember,
    set_aside,
    store_activation,
)
from ecs_anywhere_agent.sameness import Marks
from integration.agent.test_registering import Endpoint, invoke

HERE: Marks = {"machine-id": frozenset({"a"}), "board": frozenset({"b"}), "network": frozenset({"c", "d"})}
ELSEWHERE: Marks = {"machine-id": frozenset({"a"}), "board": frozenset({"x"}), "network": frozenset({"y"})}
NEW_CARD: Marks = {**HERE, "network": frozenset({"z"})}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


@pytest.fixture
def data_dir(endpoint: Endpoint, tmp_path: Path) -> Path:
    """Of a machine that was registered here."""
    assert invoke(endpoint, tmp_path).exit_code == 0
    (tmp_path / "identity" / "fingerprint.json").unlink()
    remember(identity_files(tmp_path), HERE)
    (tmp_path / "state.sqlite").write_text("tasks")
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def start(data_dir: Path, marks: Marks, *, same_machine: bool = False) -> None:
    ensure_identity(data_dir, same_machine=same_machine, marks=lambda: marks)


def test_the_same_machine_goes_on(data_dir: Path) -> None:
    before = contents(data_dir)
    start(data_dir, HERE)
    assert contents(data_dir) == before


def test_a_part_that_was_changed_is_remembered(data_dir: Path) -> None:
    start(data_dir, NEW_CARD)
    later = {**NEW_CARD, "board": frozenset({"another"})}
    start(data_dir, later)
    assert compared(identity_files(data_dir), later).differ == ()


def test_a_copy_starts_nothing_and_says_what_to_run(data_dir: Path) -> None:
    before = contents(data_dir)
    for _ in range(2):
        with pytest.raises(OtherMachineError) as error:
            start(data_dir, ELSEWHERE)
        assert contents(data_dir) == before
    assert "board, network differ, machine-id agree. Nothing was started." in str(error.value)
    assert "`ecs-anywhere-agent register`" in str(error.value)
    assert "`ecs-anywhere-agent run --same-machine`" in str(error.value)


def test_after_a_swap_of_its_board_it_is_said_to_be_the_same_once(data_dir: Path) -> None:
    start(data_dir, ELSEWHERE, same_machine=True)
    start(data_dir, ELSEWHERE)
    with pytest.raises(OtherMachineError):
        start(data_dir, HERE)


def test_a_copy_of_an_image_with_an_activation_registers_anew(data_dir: Path, endpoint: Endpoint) -> None:
    store_activation(data_dir, StoredActivation(endpoint.url, "a-2", "secret"))
    old = contents(data_dir / "identity")
    start(data_dir, ELSEWHERE)
    assert [request.activation_id for request in endpoint.requests] == ["a-1", "a-2"]
    assert contents(data_dir / "identity")["key.pem"] != old["key.pem"]
    assert contents(data_dir / ASIDE / "identity") == old
    assert (data_dir / ASIDE / "state.sqlite").read_text() == "tasks"
    assert not (data_dir / "state.sqlite").exists()
    start(data_dir, ELSEWHERE)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("moved", ["nothing", "state.sqlite"])
def test_setting_aside_that_was_cut_short_is_done_again(data_dir: Path, endpoint: Endpoint, moved: str) -> None:
    store_activation(data_dir, StoredActivation(endpoint.url, "a-2", "secret"))
    (data_dir / ASIDE).mkdir()
    if moved != "nothing":
        (data_dir / moved).rename(data_dir / ASIDE / moved)
    start(data_dir, ELSEWHERE)
    assert (data_dir / ASIDE / "state.sqlite").read_text() == "tasks"
    assert len(endpoint.requests) == 2


def test_only_the_newest_is_kept_aside(data_dir: Path, endpoint: Endpoint) -> None:
    set_aside(data_dir)
    assert invoke(endpoint, data_dir).exit_code == 0
    second = contents(data_dir / "identity")["key.pem"]
    set_aside(data_dir)
    assert contents(data_dir / ASIDE / "identity")["key.pem"] == second
    with pytest.raises(NoIdentityError):
        identity_files(data_dir).load()


def test_each_machine_of_an_image_registers_at_its_first_run(tmp_path: Path, endpoint: Endpoint) -> None:
    result: Any = CliRunner().invoke(
        main,
        [
            "register",
            "--at-first-run",
            f"--registration-endpoint={endpoint.url}",
            "--activation-id=a-1",
            "--activation-code=secret",
            f"--data-dir={tmp_path}",
        ],
    )
    assert result.output == f"Stored in {tmp_path}.\n"
    assert (tmp_path / "activation.json").stat().st_mode & 0o777 == 0o600
    assert endpoint.requests == []
    start(tmp_path, HERE)
    start(tmp_path, HERE)
    assert len(endpoint.requests) == 1


def test_registering_a_copy_sets_what_it_copied_aside(data_dir: Path, endpoint: Endpoint) -> None:
    remember(identity_files(data_dir), {"machine-id": frozenset({"a"}), "network": frozenset({"nowhere"})})
    old = contents(data_dir / "identity")["key.pem"]
    result = invoke(endpoint, data_dir, "a-2")
    assert result.exit_code == 0, result.output
    assert len(endpoint.requests) == 2
    assert contents(data_dir / ASIDE / "identity")["key.pem"] == old


def test_an_identity_that_has_run_out_is_kept_though_an_activation_is_stored(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    """The tasks here were started under it, and whether it has run out is a matter of the clock."""
    endpoint.valid_days = -1
    store_activation(tmp_path, StoredActivation(endpoint.url, "a-1", "secret"))
    for _ in range(2):
        start(tmp_path, HERE)
    assert len(endpoint.requests) == 1


def test_without_an_identity_there_is_none_of_another_machine(data_dir: Path) -> None:
    (data_dir / "identity" / "identity.json").unlink()
    start(data_dir, ELSEWHERE)


def test_an_identity_of_a_release_without_fingerprints_gets_one(data_dir: Path) -> None:
    (data_dir / "identity" / "fingerprint.json").unlink()
    start(data_dir, HERE)
    with pytest.raises(OtherMachineError):
        start(data_dir, ELSEWHERE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"marks": 7}'])
def test_a_fingerprint_that_cannot_be_read_is_made_anew(data_dir: Path, text: str) -> None:
    (data_dir / "identity" / "fingerprint.json").write_text(text)
    start(data_dir, HERE)
    with pytest.raises(OtherMachineError):
        start(data_dir, ELSEWHERE)


def test_the_command_says_so_and_ends(data_dir: Path) -> None:
    remember(identity_files(data_dir), dict.fromkeys(("machine-id", "network", "root-disk"), frozenset({"elsewhere"})))
    result = CliRunner().invoke(main, ["run", "--runtime=process", f"--data-dir={data_dir}"])
    assert result.exit_code == 1
    assert "was made on another machine" in result.output
    assert (data_dir / "state.sqlite").read_text() == "tasks"
