"""Task definitions. But for its tags, what a revision says never changes: whoever has read one may keep it.

Its status does change, forwards only: ACTIVE, INACTIVE, DELETE_IN_PROGRESS. It stands next to the definition in the
item, and whoever decides on it reads it then. No item is ever removed: which tasks and services refer to a revision
could only be told by reading all of them, of every cluster, and one placed meanwhile would have no definition. So a
deleted revision stays DELETE_IN_PROGRESS, a few kilobytes, and what runs is never broken.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from control_plane.domain.pages import Asked, Place
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import Item
from control_plane.store.pages import Part, merge
from control_plane.store.table import Table, Write

_STATUS_MEMBERS = ("status", "deregisteredAt", "deleteRequestedAt")


def next_revision(table: Table, family: str) -> int:
    """A number that nobody else gets.

    A function that dies before it saves the definition leaves a gap, and nothing else: the number is not given again.
    """
    key = keys.family(family)
    changed = ItemChangedError(family)
    item = table.update(Write("Update", key, changed, update="ADD #revision :one", values={":one": 1}))
    revision: int = item["revision"]
    return revision


def save(table: Table, family: str, revision: int, definition: Mapping[str, Any]) -> None:
    key = keys.task_definition(family, revision)
    changed = ItemChangedError(f"{family}:{revision}")
    item = {"definition": definition}
    table.commit([Write("Put", key, changed, item=item, condition="attribute_not_exists(#pk)")])


def tagged(definition: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> Write:
    """Other tags, if they are those still that were read: of a revision nothing else ever changes."""
    return Write(
        "Update",
        keys.task_definition(definition["family"], definition["revision"]),
        ItemChangedError(f"{definition['family']}:{definition['revision']}"),
        update="SET #definition.#tags = :after",
        condition="#definition.#tags = :before",
        values={":before": definition["tags"], ":after": tags},
    )


def load(table: Table, family: str, revision: int) -> Item | None:
    item = table.get(keys.task_definition(family, revision))
    return None if item is None else definition_in(item)


def newest_active(table: Table, family: str) -> Item | None:
    """The ACTIVE definition with the greatest revision number."""
    return next((each for each in _newest_first(table, family) if each["status"] == "ACTIVE"), None)


def statuses_of_families(table: Table, newest: Mapping[str, int]) -> dict[str, str | None]:
    """ACTIVE if a revision is, else INACTIVE; None if the family has no revision, as its only number was not used.

    `newest`: the greatest number of each that was given. That revision alone is looked at where it is ACTIVE.
    """
    places = {keys.task_definition(family, revision): family for family, revision in newest.items()}
    found = table.get_many(list(places), consistent=False)
    active = {places[key] for key, item in found.items() if definition_in(item)["status"] == "ACTIVE"}
    return {family: "ACTIVE" if family in active else _status_of_family(table, family) for family in newest}


def _status_of_family(table: Table, family: str) -> str | None:
    status = None
    for each in _newest_first(table, family, consistent=False):
        if each["status"] == "ACTIVE":
            return "ACTIVE"
        status = "INACTIVE"
    return status


def _newest_first(table: Table, family: str, *, consistent: bool = True) -> Iterator[Item]:
    """The newest by itself, since most often no other is asked for, and then all of them."""
    for limit in (1, 0):
        for item in table.query(
            keys.task_definition(family, 0).pk, newest_first=True, limit=limit, consistent=consistent
        ):
            yield definition_in(item)


def deregister(table: Table, family: str, revision: int, now: datetime) -> Item:
    """The definition as it is then. Raises ItemChangedError unless it was ACTIVE."""
    return _mark(
        table,
        family,
        revision,
        update="SET #status = :status, #deregisteredAt = :now",
        condition="attribute_exists(#pk) AND attribute_not_exists(#status)",
        values={":status": "INACTIVE", ":now": now},
    )


def request_deletion(table: Table, family: str, revision: int, now: datetime) -> Item:
    """The definition as it is then. Raises ItemChangedError unless it was INACTIVE."""
    return _mark(
        table,
        family,
        revision,
        update="SET #status = :status, #deleteRequestedAt = :now",
        condition="#status = :inactive",
        values={":status": "DELETE_IN_PROGRESS", ":inactive": "INACTIVE", ":now": now},
    )


def _mark(
    table: Table, family: str, revision: int, *, update: str, condition: str, values: Mapping[str, object]
) -> Item:
    key, changed = keys.task_definition(family, revision), ItemChangedError(f"{family}:{revision}")
    return definition_in(table.update(Write("Update", key, changed, update=update, condition=condition, values=values)))


def definition_in(item: Item) -> Item:
    """With its status as it is now; an item without one is as it was registered."""
    return {**item["definition"], **{member: item[member] for member in _STATUS_MEMBERS if member in item}}


def part_of_family(family: str, *, descending: bool) -> Part:
    """Where a family's revisions are, for a walk."""
    return Part(family, keys.task_definition(family, 0).pk, descending=descending)


def parts_of_families(table: Table, asked: Asked, *, descending: bool) -> Iterator[Part]:
    """The same of every family, sorted by name, from that of `asked.after` on."""
    begin = replace(asked, after=asked.after and Place("", asked.after.part))
    for batch in merge(table, keys.family_partitions(), begin, descending=descending):
        for _, item in batch:
            yield part_of_family(item["sk"], descending=descending)
