"""A cluster: the scope of names, and where its container instances are found."""

from datetime import datetime
from enum import StrEnum

from control_plane.domain.entity import Entity

DEFAULT_CLUSTER = "default"


class ClusterStatus(StrEnum):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html"""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class Cluster(Entity):
    """`shards` names the keys that have ever held an instance, so that a small cluster is read with one query."""

    name: str
    status: ClusterStatus = ClusterStatus.ACTIVE
    shards: frozenset[int] = frozenset()
    resumed_at: datetime | None = None
    """When an operator last said that what had vanished until then is to be replaced."""
    created_at: datetime
