"""The instances of a cluster as a warm function remembers them: at most five seconds old, refreshed by what changed.

    begins ──► snapshot, or every instance ──► 5 s later ──► what changed since ──► … ──► 10 min later ──► begins

Snapshot and changes are there for large clusters only (fleet_changes.py); a small one is read whole each time.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.fleet_change import applied, newest
from control_plane.domain.placement.place import Candidate, take
from control_plane.domain.task import Task
from control_plane.store import clusters, fleet_changes, instances
from control_plane.store.table import Table

FLEET_AGE = timedelta(seconds=5)


@dataclass
class _View:
    """What is known of a cluster's instances."""

    members: dict[str, Candidate]
    at: datetime
    """All that was logged until then is in it."""
    whole_at: datetime
    """When every instance was read, here or by whoever made the snapshot."""
    followed: bool
    """Whether changes are logged."""

    def is_of_use(self, now: datetime) -> bool:
        """Whether all changes since are still there. What the log should have missed is found at the latest then."""
        return self.followed and now - self.whole_at < fleet_changes.KEPT - fleet_changes.OVERLAP


class Fleet:
    """The instances of each cluster. A stale choice costs a retry, never an overcommit: the commit's condition decides
    (rule 1)."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._views: dict[str, _View] = {}
        self._capabilities: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def candidates(self, cluster: str, now: datetime, *, fresh: bool = False) -> Sequence[Candidate]:
        """Every instance of a cluster. With `fresh` nothing remembered is used, here or in the table."""
        with self._lock:
            view = None if fresh else self._views.get(cluster)
            if view is None or now - view.at >= FLEET_AGE:
                view = self._caught_up(cluster, view, now) or self._read(cluster, now, fresh=fresh)
                self._views[cluster] = view
            return list(view.members.values())

    def took(self, placed: Iterable[Task]) -> None:
        """These tasks are ours: the next choice should know, without reading the fleet again."""
        with self._lock:
            for task in placed:
                view = self._views.get(task.cluster)
                if view and (known := view.members.get(task.instance_id)):
                    view.members[task.instance_id] = self._candidate(take(known.instance, task.resources))

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

    def _read(self, cluster: str, now: datetime, *, fresh: bool) -> _View:
        """From the snapshot, if there is one; else every instance, which may make one for others."""
        found = clusters.load(self._table, cluster, consistent=False)
        followed = found is not None and fleet_changes.is_complete(found, now)
        if followed and not fresh and (kept := fleet_changes.snapshot(self._table, cluster, now)):
            at, members = kept
            view = _View(self._candidates(members), at, at, followed)
            return self._caught_up(cluster, view, now) or view
        shards = sorted(found.shards) if found else ()
        members = instances.of_cluster(self._table, cluster, shards) if shards else []
        view = _View(self._candidates(members), now, now, followed)
        if followed and not fresh and fleet_changes.claim_snapshot(self._table, cluster, now):
            fleet_changes.keep_snapshot(self._table, cluster, members, now, f"{now.timestamp():.3f}")
        return view

    def _caught_up(self, cluster: str, view: _View | None, now: datetime) -> _View | None:
        """The same with what has changed; None: it is to be read anew."""
        if view is None or not view.is_of_use(now):
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
                view.members[instance_id] = self._candidate(after)
        self._look_at(view, cluster, unknown, consistent=False)
        view.at = now
        return view

    def _look_at(self, view: _View, cluster: str, instance_ids: Iterable[str], *, consistent: bool) -> None:
        found = instances.load_many(self._table, ((cluster, each) for each in instance_ids), consistent=consistent)
        for (_, instance_id), instance in found.items():
            view.members[instance_id] = self._candidate(instance)

    def _candidates(self, members: Iterable[ContainerInstance]) -> dict[str, Candidate]:
        return {instance.instance_id: self._candidate(instance) for instance in members}

    def _candidate(self, instance: ContainerInstance) -> Candidate:
        return Candidate(instance, self.capabilities_of(instance))
