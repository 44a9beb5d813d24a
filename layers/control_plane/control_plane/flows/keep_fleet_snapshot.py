"""Read every instance of a large cluster, and keep them as the snapshot with which functions begin.

Messages of one cluster come one after the other. One that comes twice, or from another function that saw the same,
finds that the snapshot it names has been replaced, and ends with one read.
"""

from collections.abc import Sequence

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import FleetKey
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, fleet_changes, fleet_snapshots, instances

logger = Logger(child=True)


def keep_fleet_snapshots(cp: ControlPlane, wanted: Sequence[FleetKey]) -> set[FleetKey]:
    """Returns those that failed and are to come again."""
    failed: set[FleetKey] = set()
    for key in dict.fromkeys(wanted):
        try:
            keep_fleet_snapshot(cp, key)
        except Exception:  # one cluster that cannot be read must not keep the services of its batch from theirs
            logger.exception("Snapshot failed", extra={"cluster": key.cluster})
            failed.add(key)
    return failed


def keep_fleet_snapshot(cp: ControlPlane, key: FleetKey) -> None:
    now = cp.clock()
    former = fleet_snapshots.head(cp.table, key.cluster, consistent=True)
    if (former.snapshot_id if former else "") != key.outgrown:
        return
    cluster = clusters.load(cp.table, key.cluster, consistent=False)
    if cluster is None or not fleet_changes.is_complete(cluster, now):
        return  # a change that nobody logs might be missing in it; the next one that is logged asks again
    members = instances.of_cluster(cp.table, key.cluster, sorted(cluster.shards))
    fleet_snapshots.keep(cp.table, key.cluster, members, at=now, snapshot_id=cp.new_id(), former=former)
    logger.info("Kept", extra={"cluster": key.cluster, "containerInstances": len(members)})
