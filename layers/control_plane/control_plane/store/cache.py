"""What a warm function remembers. Only what cannot have changed, or what a commit's condition checks anyway."""

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.placement.place import Candidate, take
from control_plane.domain.task import Task
from control_plane.store import clusters, instances, task_definitions
from control_plane.store.items import Item
from control_plane.store.table import Table

FLEET_AGE = timedelta(seconds=5)


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


class Fleet:
    """The instances of each cluster, at most five seconds old.

    A stale choice costs a retry, never an overcommit: the commit's condition decides (rule 1).
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._read: dict[str, tuple[datetime, dict[str, ContainerInstance]]] = {}
        self._capabilities: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def candidates(self, cluster: str, now: datetime, *, fresh: bool = False) -> Sequence[Candidate]:
        """Every instance of a cluster. With `fresh` nothing remembered is used."""
        with self._lock:
            at, members = self._read.get(cluster, (now - FLEET_AGE, {}))
            if fresh or now - at >= FLEET_AGE:
                found = clusters.load(self._table, cluster, consistent=False)
                shards = sorted(found.shards) if found else ()
                members = {
                    instance.instance_id: instance
                    for instance in (instances.of_cluster(self._table, cluster, shards) if shards else ())
                }
                self._read[cluster] = (now, members)
            return [Candidate(instance, self.capabilities_of(instance)) for instance in members.values()]

    def took(self, placed: Iterable[Task]) -> None:
        """These tasks are ours: the next choice should know, without reading the fleet again."""
        with self._lock:
            for task in placed:
                _, members = self._read.get(task.cluster, (None, {}))
                if task.instance_id in members:
                    members[task.instance_id] = take(members[task.instance_id], task.resources)

    def forget(self, cluster: str) -> None:
        """What was read of a cluster has turned out to be old."""
        with self._lock:
            self._read.pop(cluster, None)

    def capabilities_of(self, instance: ContainerInstance) -> frozenset[str]:
        """The names of its attributes that have no value: a digest stands for one set for ever."""
        digest = instance.capabilities
        if digest not in self._capabilities:
            self._capabilities[digest] = instances.load_capabilities(self._table, digest)
        return self._capabilities[digest]
