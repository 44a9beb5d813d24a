"""A cluster: the scope of names, and where its container instances are found."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field

from control_plane.domain.capacity_provider import StrategyItem
from control_plane.domain.entity import Entity
from control_plane.domain.errors import InvalidParameterException

DEFAULT_CLUSTER = "default"
CONTAINER_INSIGHTS = "containerInsights"
INSIGHTS_VALUES = ("enabled", "disabled", "enhanced")

CLOSED_AT_MOST = timedelta(seconds=60)
"""Twice as long as a function may take: a cluster that has been closed for longer was left so by one that died."""


class ClusterStatus(StrEnum):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html"""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class Cluster(Entity):
    """`shards` names the keys that have ever held an instance, so that a small cluster is read with one query."""

    name: str
    status: ClusterStatus = ClusterStatus.ACTIVE
    shards: frozenset[int] = frozenset()
    followed_since: datetime | None = None
    """Since when the changes of its instances are logged (store/fleet_changes.py): it is large enough for that."""
    daemons: frozenset[str] = frozenset()
    """Names of its DAEMON services that are ACTIVE, which are to look at each instance that joins."""
    resumed_at: datetime | None = None
    """When an operator last said that what had vanished until then is to be replaced."""
    created_at: datetime
    """Tells it from a former cluster of the same name, too."""
    closed_by: str | None = None
    """The deletion for which nothing new may come into it, for as long as that looks at what is left."""
    closed_at: datetime | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, str] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    capacity_providers: tuple[str, ...] = ()
    default_capacity_provider_strategy: tuple[StrategyItem, ...] = ()

    def left_closed(self, now: datetime) -> bool:
        """Whether whoever closed it will not open it again."""
        return self.closed_at is not None and now - self.closed_at >= CLOSED_AT_MOST

    def began_before(self, ended_at: datetime) -> bool:
        """Whether what ended then was this cluster's: a former one of its name had the same keys, and was empty."""
        return self.created_at <= ended_at


def checked_settings(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The settings of a request, by name. Raises InvalidParameterException."""
    found: dict[str, str] = {}
    for setting in settings:
        name, value = setting.get("name"), setting.get("value")
        if name != CONTAINER_INSIGHTS:
            raise InvalidParameterException(f"A cluster setting has the name {CONTAINER_INSIGHTS}.")
        if value not in INSIGHTS_VALUES:
            raise InvalidParameterException(
                f"Invalid value for cluster setting {name}: use {', '.join(INSIGHTS_VALUES[:-1])} or "
                f"{INSIGHTS_VALUES[-1]}."
            )
        if name in found:
            raise InvalidParameterException(f"Cluster setting {name} is given twice.")
        found[name] = value
    return found


def checked_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Only kept: it says how ExecuteCommand and managed storage work, which are not there.

    Raises InvalidParameterException.
    """
    execute = configuration.get("executeCommandConfiguration") or {}
    if execute.get("logging") == "OVERRIDE" and not execute.get("logConfiguration"):
        raise InvalidParameterException("logConfiguration must be specified when logging is OVERRIDE.")
    return dict(configuration)
