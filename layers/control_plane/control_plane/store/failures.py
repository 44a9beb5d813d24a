"""Failed registrations, counted for each source and for each activation."""

from datetime import datetime

from control_plane.domain.attempts import WINDOW, Failures, Of
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.table import Table, Write


def load(table: Table, of: Of, name: str) -> Failures | None:
    item = table.get(keys.failures(of, name))
    return None if item is None else Failures.model_validate(item)


def counted(of: Of, name: str, now: datetime) -> Write:
    """One more, in the window that is open."""
    return Write(
        "Update",
        keys.failures(of, name),
        ItemChangedError(name),
        update="ADD #failures :one",
        condition="#until > :now",
        values={":one": 1, ":now": int(now.timestamp())},
    )


def first(of: Of, name: str, now: datetime) -> Write:
    """The first of a new window, where none is open."""
    until = int((now + WINDOW).timestamp())
    return Write(
        "Put",
        keys.failures(of, name),
        ItemChangedError(name),
        item={"failures": 1, "until": until, "expiresAt": until},
        condition="attribute_not_exists(#pk) OR #until <= :now",
        values={":now": int(now.timestamp())},
    )
