"""At each start, before anything else: is this the machine that the identity was made on?

most marks agree ──► go on
most differ ──┬──► an activation is stored (a factory image): set the identity aside, register anew
              └──► start nothing, and say what to run
"""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ecs_anywhere_agent.fingerprint import read_marks
from ecs_anywhere_agent.identity import IdentityFiles, NoIdentityError, identity_files, write_private
from ecs_anywhere_agent.registering import register
from ecs_anywhere_agent.sameness import Comparison, Marks, compare, renewed
from ecs_anywhere_agent.store import STATE

_log = logging.getLogger("ecs_anywhere_agent")

ASIDE = "of-another-machine"
"""Where, in the data directory, what another machine left is moved to; the newest only."""
FINGERPRINT, ACTIVATION = "fingerprint.json", "activation.json"


class OtherMachineError(Exception):
    """Nothing was started; the text says what to do."""


@dataclass(frozen=True)
class StoredActivation:
    """With which each machine that is made from an image registers by itself; 0600."""

    registration_endpoint: str
    activation_id: str
    activation_code: str


def ensure_identity(data_dir: Path, *, same_machine: bool, marks: Callable[[], Marks] = read_marks) -> None:
    """This machine's own identity is in its place, if it can be. `same_machine`: whoever starts it says that it is so.

    Raises OtherMachineError, RegistrationError.
    """
    files, now = identity_files(data_dir), marks()
    found = compared(files, now)
    activation = _stored(data_dir)
    if not (found.same_machine or same_machine):
        if activation is None:
            raise OtherMachineError(_what_to_do(data_dir, found))
        _log.warning(
            "the identity here was made on another machine (%s differ): registering anew", ", ".join(found.differ)
        )
        set_aside(data_dir)
    if activation is not None and not _has_identity(files):
        register(
            files,
            activation.registration_endpoint,
            activation.activation_id,
            activation.activation_code,
            tell=lambda text: _log.info("%s", text),
        )
    remember(files, now)


def compared(files: IdentityFiles, now: Marks) -> Comparison:
    """An identity without a fingerprint was made by a release that kept none: it is this machine's."""
    return compare(_kept(files) if files.identity.exists() else {}, now)


def remember(files: IdentityFiles, now: Marks) -> None:
    if not files.identity.exists():
        return
    kept = _kept(files)
    wanted = renewed(kept, now)
    if wanted != kept:
        text = json.dumps({"v": 1, "marks": {kind: sorted(wanted[kind]) for kind in sorted(wanted)}})
        write_private(files.directory / FINGERPRINT, text)


def set_aside(data_dir: Path) -> None:
    """What another machine left: its identity, and what it knew of its tasks.

    The identity, and with it the fingerprint, last: who dies before does all of it again.
    """
    aside = data_dir / ASIDE
    aside.mkdir(mode=0o700, exist_ok=True)
    for name in (*(f"{STATE}{suffix}" for suffix in ("", "-wal", "-shm")), "containers", "identity"):
        if (data_dir / name).exists():
            shutil.rmtree(aside / name, ignore_errors=True)
            (data_dir / name).replace(aside / name)


def store_activation(data_dir: Path, activation: StoredActivation) -> None:
    write_private(data_dir / ACTIVATION, json.dumps(asdict(activation)))


def forget_activation(data_dir: Path) -> None:
    """A machine that was deregistered does not come back by itself."""
    (data_dir / ACTIVATION).unlink(missing_ok=True)


def _has_identity(files: IdentityFiles) -> bool:
    """Of whatever worth: one that has run out is still what the tasks here were started under."""
    try:
        files.load()
    except NoIdentityError:
        return False
    return True


def _stored(data_dir: Path) -> StoredActivation | None:
    try:
        return StoredActivation(**json.loads((data_dir / ACTIVATION).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        _log.warning("cannot read %s: %s", data_dir / ACTIVATION, error)
        return None


def _kept(files: IdentityFiles) -> Marks:
    try:
        marks = json.loads((files.directory / FINGERPRINT).read_bytes())["marks"]
        return {kind: frozenset(values) for kind, values in marks.items()}
    except FileNotFoundError:
        return {}
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        _log.warning("cannot read %s: %s", files.directory / FINGERPRINT, error)
        return {}


def _what_to_do(data_dir: Path, found: Comparison) -> str:
    return (
        f"The identity in {data_dir} was made on another machine: {', '.join(found.differ)} differ"
        + (f", {', '.join(found.agree)} agree" if found.agree else "")
        + ". Nothing was started. If the disk was copied or moved here: `ecs-anywhere-agent register` with an "
        "activation of this machine's own. If this is the same machine with other parts: "
        "`ecs-anywhere-agent run --same-machine`, once"
    )
