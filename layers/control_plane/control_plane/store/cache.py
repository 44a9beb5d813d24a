"""What a warm function remembers. Only what cannot have changed, or what a commit's condition checks anyway."""

from datetime import datetime, timedelta

from control_plane.store import task_definitions
from control_plane.store.items import Item
from control_plane.store.table import Table

STATUS_AGE = timedelta(seconds=60)


class Definitions:
    """Task definitions by `family:revision`, for what they say, which never changes.

    One that was deregistered, or is being deleted, is still what running tasks were made from.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[str, Item] = {}
        self._read_at: dict[str, datetime] = {}

    def get(self, family_and_revision: str, *, with_tags: bool = False) -> Item | None:
        """`with_tags`: its tags are needed, which may have changed since it was read."""
        if with_tags or family_and_revision not in self._known:
            family, _, revision = family_and_revision.rpartition(":")
            definition = task_definitions.load(self._table, family, int(revision))
            if definition is None:
                return None
            self._known[family_and_revision] = definition
        return self._known[family_and_revision]

    def recent(self, family_and_revision: str, now: datetime) -> Item | None:
        """If it was read a minute ago at most, so that its status is no older.

        Amazon ECS allows ten minutes until a deregistered definition is refused:
        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterTaskDefinition.html
        """
        at = self._read_at.get(family_and_revision)
        return self._known.get(family_and_revision) if at is not None and now - at < STATUS_AGE else None

    def remember(self, family_and_revision: str, definition: Item, now: datetime) -> None:
        """As it was read just now."""
        self._known[family_and_revision] = definition
        self._read_at[family_and_revision] = now
