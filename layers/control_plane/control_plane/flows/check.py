"""Compare what instances have left with the tasks on them, and mend it. It should never find anything.

The instance is read before and after its tasks: every transaction that places or releases raises its version, so that
what was read between two equal versions is of one moment. Mending is conditional on that version, too.
"""

from aws_lambda_powertools import Logger

from control_plane.domain import held
from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.races import InstanceChangedError, LostRace
from control_plane.flows.again import until_won
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import instance_resources, instances, orphans, tasks

logger = Logger(child=True)

Found = dict[str, object]


def check(cp: ControlPlane, cluster_name: str, shard: int | None, *, repair: bool) -> Found:
    """One key of the cluster's instances. Answers {checked, differences, busy, duplicates, next}.

    `busy` are instances that changed at each of several attempts, `duplicates` those whose identity two machines use;
    `next` is the following key. Raises ClusterNotFoundException.
    """
    cluster = require_cluster(cp, cluster_name)
    shards = sorted(cluster.shards)
    now = shards[0] if shard is None and shards else shard
    found = instances.of_cluster(cp.table, cluster.name, [now]) if now in shards and now is not None else []
    differences, busy, duplicates = [], [], []
    for instance in found:
        if instance.status is InstanceStatus.INACTIVE:
            continue
        arn = cp.arns.container_instance(cluster.name, instance.instance_id)
        if instance.duplicate_found_at is not None:
            duplicates.append(arn)
        try:
            differs = until_won(cp, lambda _attempt, one=instance: _check(cp, one, repair=repair))  # type: ignore[misc]
        except LostRace:
            busy.append(arn)
            continue
        if differs:
            logger.warning("An instance's resources differ from its tasks", extra={"instance": arn, "found": differs})
            differences.append({"containerInstanceArn": arn, "repaired": repair, "differences": differs})
    later = [each for each in shards if now is not None and each > now]
    return {
        "checked": len(found),
        "differences": differences,
        "busy": busy,
        "duplicates": duplicates,
        "next": later[0] if later else None,
    }


def _check(cp: ControlPlane, candidate: ContainerInstance, *, repair: bool) -> dict[str, dict[str, object]]:
    """Raises InstanceChangedError."""
    key = candidate.cluster, candidate.instance_id
    before = instances.load(cp.table, *key)
    registration = instances.load_registration(cp.table, *key)
    on_it = tasks.of_instance(cp.table, *key)
    held_too = orphans.of_instance(cp.table, *key)
    after = instances.load(cp.table, *key)
    if before is None or registration is None or after is None:
        return {}
    if (before.version, before.registration) != (after.version, registration.registration):
        raise InstanceChangedError(candidate.instance_id)
    should = held.expected(registration, on_it, held_too.values())
    differs = held.difference(held.stored(before), should)
    if differs and repair:
        cp.table.commit([instance_resources.mended(before, should, cp.clock())])
    return differs
