"""What a batch of the table's stream says of the instances of large clusters, logged in one item for each of these.

The batch may come again: the same changes are logged twice then, which says nothing new. One that does not come is
missed by those who remember the fleet until the next snapshot, half an hour after this one at the latest if anything
changes: they choose by what was meanwhile.
"""

from collections import defaultdict
from collections.abc import Sequence

from control_plane.domain.fleet_change import Change, newest
from control_plane.domain.inbox import FleetKey, StreamRecord
from control_plane.runtime import ControlPlane
from control_plane.store import fleet_changes, instances


def follow_fleets(cp: ControlPlane, records: Sequence[StreamRecord]) -> None:
    now = cp.clock()
    changes: dict[str, list[Change]] = defaultdict(list)
    for record in records:
        image = record.new_image
        if image.get("kind") == instances.KIND and cp.followed_clusters.follows(image["cluster"], now):
            changes[image["cluster"]].append(Change.of(instances.from_item(dict(image))))
    for cluster, of_cluster in changes.items():
        fleet_changes.log(cp.table, cluster, newest(of_cluster).values(), now, records[0].event_id)
        outgrown = cp.followed_clusters.outgrown(cluster, now)
        if outgrown is not None:
            cp.queues.keep_fleet_snapshot(FleetKey(cluster, outgrown), records[0].event_id)
