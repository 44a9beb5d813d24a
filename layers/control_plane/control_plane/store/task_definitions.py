"""Task definitions. But for its tags, a revision never changes once written: whoever has read one may keep it."""

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import Item
from control_plane.store.table import Table, Write


def next_revision(table: Table, family: str) -> int:
    """A number that nobody else gets. One that a crash leaves unused stays unused, as with Amazon ECS."""
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
    return None if item is None else item["definition"]


def newest(table: Table, family: str) -> Item | None:
    """The definition with the greatest revision number that was written."""
    for item in table.query(keys.task_definition(family, 0).pk, newest_first=True, limit=1):
        definition: Item = item["definition"]
        return definition
    return None


def families(table: Table) -> list[str]:
    items = table.query_many(keys.family_partitions(), consistent=False)
    return sorted(item["sk"] for item in items)


def revisions(table: Table, family: str) -> list[Item]:
    """Every revision of a family, oldest first."""
    return [item["definition"] for item in table.query(keys.task_definition(family, 0).pk, consistent=False)]
