"""The instances of a cluster as a warm function remembers them: at most five seconds old, refreshed by what changed.

    begins ──► snapshot, then what changed since ──► 5 s later ──► what changed since ──► … ──► 10 min later ──► begins
                 └── there is none ──► every instance

Snapshot (fleet_snapshots.py) and changes (fleet_changes.py) are there for large clusters only; a small one is read
whole each time.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.cluster import Cluster
from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.fleet_change import applied, newest
from control_plane.domain.placement.place import Candidate, take
from control_plane.domain.task import Task
from control_plane.store import clusters, fleet_changes, fleet_snapshots, instances
from control_plane.store.table import Table

FLEET_AGE = timedelta(seconds=5)
BEGINS_AGAIN = timedelta(minutes=10)
"""After which a function takes up the newest snapshot: what the log should have missed is in that."""
NOW = timedelta(0)


@dataclass
class _View:
    """What is known of a cluster's instances."""

    members: dict[str, Candidate]
    at: datetime
    """All that was logged until then is in it."""
    begun_at: datetime
    followed: bool
    """Whether changes are logged."""
    whole_at: datetime | None = None
    """When every instance was read here; None: it was begun with a snapshot."""

    def can_be_caught_up(self, now: datetime) -> bool:
        return self.followed and now - self.begun_at < BEGINS_AGAIN

    def is_whole(self, now: datetime) -> bool:
        """Whether every instance was read not longer ago than anything here may be old."""
        return self.followed and self.whole_at is not None and now - self.whole_at < FLEET_AGE


class Fleet:
    """The instances of each cluster. A stale choice costs a retry, never an overcommit: the commit's condition decides
    (rule 1)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._views: dict[str, _View] = {}
        self._capabilities: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def candidates(
        self, cluster: str, now: datetime, *, age: timedelta = FLEET_AGE, fresh: bool = False
    ) -> Sequence[Candidate]:
        """Every instance of a cluster, as it was so long ago at most. `fresh`: each of them has been read itself."""
        with self._lock:
            view = self._views.get(cluster)
            if fresh and (view is None or not view.is_whole(now)):
                view = self._whole(cluster, clusters.load(self._table, cluster, consistent=False), now)
            elif fresh or view is None or now - view.at >= age:
                view = self._caught_up(cluster, view, now) or self._begun(cluster, now)
            self._views[cluster] = view
            return list(view.members.values())

    def took(self, placed: Iterable[Task]) -> None:
        """These tasks are ours: the next choice should know, without reading the fleet again."""
        with self._lock:
            for task in placed:
                view = self._views.get(task.cluster)
                if view and (known := view.members.get(task.instance_id)):
                    view.members[task.instance_id] = self.candidate(take(known.instance, task.resources))

    def look_again(self, cluster: str, instance_ids: Iterable[str]) -> None:
        """These are not what they were thought to be."""
        with self._lock:
            if (view := self._views.get(cluster)) is not None:
                self._look_at(view, cluster, instance_ids, consistent=True)

    def forget(self, cluster: str) -> None:
        """What was read of a cluster has turned out to be old."""
        with self._lock:
            self._views.pop(cluster, None)

    def capabilities_of(self, instance: ContainerInstance) -> frozenset[str]:
        """The names of its attributes that have no value: a digest stands for one set for ever."""
        digest = instance.capabilities
        if digest not in self._capabilities:
            self._capabilities[digest] = instances.load_capabilities(self._table, digest)
        return self._capabilities[digest]

    def candidate(self, instance: ContainerInstance) -> Candidate:
        """The instance with its capabilities, as placement sees it."""
        return Candidate(instance, self.capabilities_of(instance))

    def _begun(self, cluster: str, now: datetime) -> _View:
        found = clusters.load(self._table, cluster, consistent=False)
        since = found.followed_since if found is not None and fleet_changes.is_complete(found, now) else None
        kept = None if since is None else fleet_snapshots.load(self._table, cluster, since, now)
        if kept is None:
            return self._whole(cluster, found, now)
        at, members = kept
        view = _View(self._candidates(members), at, begun_at=now, followed=True)
        return self._caught_up(cluster, view, now) or view

    def _whole(self, cluster: str, found: Cluster | None, now: datetime) -> _View:
        shards = sorted(found.shards) if found else ()
        members = instances.of_cluster(self._table, cluster, shards) if shards else []
        followed = found is not None and fleet_changes.is_complete(found, now)
        return _View(self._candidates(members), now, begun_at=now, followed=followed, whole_at=now)

    def _caught_up(self, cluster: str, view: _View | None, now: datetime) -> _View | None:
        """The same with what has changed; None: one has to begin again."""
        if view is None or not view.can_be_caught_up(now):
            return None
        unknown: list[str] = []
        for instance_id, change in newest(fleet_changes.since(self._table, cluster, view.at)).items():
            if change.status is InstanceStatus.INACTIVE:
                view.members.pop(instance_id, None)
                continue
            known = view.members.get(instance_id)
            after = applied(known.instance, change) if known else None
            if after is None:
                unknown.append(instance_id)
            else:
                view.members[instance_id] = self.candidate(after)
        self._look_at(view, cluster, unknown, consistent=False)
        view.at = now
        return view

    def _look_at(self, view: _View, cluster: str, instance_ids: Iterable[str], *, consistent: bool) -> None:
        found = instances.load_many(self._table, ((cluster, each) for each in instance_ids), consistent=consistent)
        for (_, instance_id), instance in found.items():
            view.members[instance_id] = self.candidate(instance)

    def _candidates(self, members: Iterable[ContainerInstance]) -> dict[str, Candidate]:
        return {instance.instance_id: self.candidate(instance) for instance in members}
