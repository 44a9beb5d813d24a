"""What many operations begin with: find what a request names, or refuse in Amazon ECS's words."""

from typing import Any

from control_plane.domain.arns import cluster_of, resource_name
from control_plane.domain.cluster import DEFAULT_CLUSTER, Cluster, ClusterStatus
from control_plane.domain.errors import ClientException, ClusterNotFoundException, InvalidParameterException
from control_plane.domain.service import Service, ServiceStatus
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, services, task_definitions

AS_NAMED = "taskDefinitionAsNamed"
"""In a request: the definition as its sender named it, if it was looked up before the flow (flows/authorize.py)."""


def require_cluster(cp: ControlPlane, name_or_arn: str | None) -> Cluster:
    """The ACTIVE cluster that a request names, `default` if it names none.

    Looks once more, strongly consistent, before it says that there is none.
    """
    name = resource_name(name_or_arn or DEFAULT_CLUSTER)
    cluster = clusters.load(cp.table, name, consistent=False) or clusters.load(cp.table, name)
    if cluster is not None and cluster.status is ClusterStatus.INACTIVE:
        cluster = clusters.load(cp.table, name)  # its name may have been used again a moment ago
    if cluster is None:
        raise ClusterNotFoundException("Cluster not found.")
    if cluster.status is not ClusterStatus.ACTIVE:
        raise ClusterNotFoundException("The referenced cluster was inactive.")
    return cluster


def identifier(name_or_arn: str, cluster: Cluster) -> str:
    """The last part of a name or ARN; an ARN must be of the cluster that the request names."""
    named = cluster_of(name_or_arn)
    if named is not None and named != cluster.name:
        raise InvalidParameterException(
            f"Invalid identifier: Identifier is for cluster {named}. Your cluster is {cluster.name}"
        )
    return resource_name(name_or_arn)


def find_service(cp: ControlPlane, cluster: Cluster, name: str) -> Service | None:
    """The service of that name, INACTIVE or not, but none of a former cluster of its cluster's name."""
    service = services.load(cp.table, cluster.name, name)
    former = service and service.status is ServiceStatus.INACTIVE and not cluster.began_before(service.updated_at)
    return None if former else service


def require_task_definition(
    cp: ControlPlane, family_and_revision_or_arn: str, *, with_tags: bool = False, recent: bool = False
) -> dict[str, Any]:
    """The definition that `family`, `family:revision` or an ARN names; the newest ACTIVE one if no revision is.

    Read from the table, strongly consistent, unless `recent` will do: then its status may be a minute old, where Amazon
    ECS allows ten. Its tags are as they are now only `with_tags`.
    """
    name = resource_name(family_and_revision_or_arn)
    family, _, revision = name.partition(":")
    now, known = cp.clock(), None
    if family_and_revision_or_arn not in {name, cp.arns.task_definition(name)}:
        definition = None  # another account's or region's
    elif not revision:
        definition = task_definitions.newest_active(cp.table, family)
    elif revision.isascii() and revision.isdecimal():
        known = cp.definitions.recent(f"{family}:{int(revision)}", now) if recent and not with_tags else None
        definition = known or task_definitions.load(cp.table, family, int(revision))
    else:
        raise ClientException(f"Invalid revision number. Number: {revision}")
    if definition is None:
        raise ClientException("Unable to describe task definition.")
    if definition is not known:
        cp.definitions.remember(definition_name(definition), definition, now)
    return definition


def definition_name(definition: dict[str, Any]) -> str:
    """`family:revision`."""
    return f"{definition['family']}:{definition['revision']}"
