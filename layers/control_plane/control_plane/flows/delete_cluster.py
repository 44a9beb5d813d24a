"""DeleteCluster: close the cluster, look for what is left, and either delete it or open it again.

    ACTIVE ──► closed by this deletion ──► look, strongly consistent ──► nothing left ──► INACTIVE
      ▲                                              │ something is left
      └──────────────────── opened again ◄───────────┘

Why nothing is in a deleted cluster. What comes into a cluster comes in by one of two doors, and both check in their
transaction that the cluster is the one that was read and is not closed (store/clusters.py, `open_for`): a container
instance that the table does not know (flows/answer_agent_request.py) and a service (CreateService). A transaction that
committed before the closing is seen by the look after it; one that commits later fails its check. All else needs one of
the two to be there, and says so in a condition of its own: a task, an adopted orphan and a new registration an instance
that is not INACTIVE, an update an ACTIVE service; and neither comes back once it has ended. So the item of the cluster
is not checked by tasks: a busy cluster's tasks never meet there.

Why it is not closed for ever. Only the deletion that closed it deletes it, under the condition that it is closed for
that deletion still. If the function dies, whoever next wants something in the cluster, or wants it deleted, finds it
closed for longer than a function can live, and opens it (`open_if_left_closed`). Should the deletion be alive after
all, it then fails its condition and has deleted nothing. Clocks decide only how long that takes.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.cluster import Cluster, ClusterStatus
from control_plane.domain.cluster_description import describe_cluster
from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.errors import (
    ClusterContainsContainerInstancesException,
    ClusterContainsServicesException,
    ClusterContainsTasksException,
    ClusterNotFoundException,
    EcsError,
    InvalidParameterException,
    ServerException,
)
from control_plane.domain.races import ItemChangedError, LostRace
from control_plane.domain.service import ServiceStatus
from control_plane.flows.again import until_won
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, services, tasks


def delete_cluster(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {cluster}, INACTIVE. Deleting one that is INACTIVE changes nothing."""
    name = resource_name(request["cluster"])
    if not name:
        raise InvalidParameterException("Cluster can not be blank.")
    deletion = cp.new_id()
    try:
        cluster = until_won(cp, lambda _attempt: _close(cp, name, deletion))
        if cluster.status is ClusterStatus.ACTIVE:
            left = _what_is_left(cp, cluster)
            if left is not None:
                until_won(cp, lambda _attempt: _open(cp, name, deletion))
                raise left
            until_won(cp, lambda _attempt: _delete(cp, name, deletion))
    except LostRace as race:
        raise ServerException("The cluster is changing, or is being deleted. Try again in a minute.") from race
    cp.fleet.forget(name)
    inactive = cluster.model_copy(update={"status": ClusterStatus.INACTIVE, "tags": {}})
    return {"cluster": describe_cluster(inactive, cp.arns, instances=(), tasks=(), services=())}


def open_if_left_closed(cp: ControlPlane, cluster: Cluster) -> None:
    """For whoever needs the cluster open: what a dead deletion has left closed is opened. Raises LostRace."""
    if cluster.closed_by is not None and cluster.left_closed(cp.clock()):
        cp.table.commit([clusters.opened(cluster.name, cluster.closed_by)])


def _close(cp: ControlPlane, name: str, deletion: str) -> Cluster:
    """The cluster as it is closed, with all keys that hold an instance by then; or as it is, if INACTIVE."""
    cluster = clusters.load(cp.table, name)
    if cluster is None:
        raise ClusterNotFoundException("Cluster not found.")
    if cluster.status is ClusterStatus.INACTIVE:
        return cluster
    open_if_left_closed(cp, cluster)
    return Cluster.model_validate(cp.table.update(clusters.closed(name, deletion, cp.clock())))


def _what_is_left(cp: ControlPlane, cluster: Cluster) -> EcsError | None:
    """Why it cannot be deleted.

    Instances are looked at before tasks: once all are INACTIVE no task comes any more, so that none is missed.
    """
    shards = sorted(cluster.shards)
    found = instances.of_cluster(cp.table, cluster.name, shards, consistent=True) if shards else []
    if any(instance.status is not InstanceStatus.INACTIVE for instance in found):
        return ClusterContainsContainerInstancesException(
            "The Cluster cannot be deleted while Container Instances are active or draining."
        )
    made = services.of_cluster(cp.table, cluster.name, consistent=True)
    if any(service.status is not ServiceStatus.INACTIVE for service in made):
        return ClusterContainsServicesException("The Cluster cannot be deleted while Services are active.")
    if shards and tasks.of_cluster(cp.table, cluster.name, shards, consistent=True):
        return ClusterContainsTasksException("The Cluster cannot be deleted while Tasks are active.")
    return None


def _open(cp: ControlPlane, name: str, deletion: str) -> None:
    with suppress(ItemChangedError):  # somebody has opened it already
        cp.table.commit([clusters.opened(name, deletion)])


def _delete(cp: ControlPlane, name: str, deletion: str) -> None:
    """A write whose answer was lost is found done."""
    cluster = clusters.load(cp.table, name)
    if cluster is not None and cluster.status is ClusterStatus.ACTIVE:
        cp.table.commit([clusters.deleted(name, deletion, cp.clock())])
