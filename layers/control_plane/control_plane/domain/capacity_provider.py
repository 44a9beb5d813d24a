"""Capacity providers, and the strategies that choose among them.

EXTERNAL stands for one's own machines, and launch type EXTERNAL is short for it: every cluster has it. FARGATE and
FARGATE_SPOT exist, as on Amazon ECS, and others can be made (domain/own_capacity_provider.py). They may be associated
with a cluster, but nothing can run on them yet, so that a strategy that names one is refused.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.arns import Arns
from control_plane.domain.entity import Entity
from control_plane.domain.errors import EcsError, InvalidParameterException, UnsupportedFeatureException

EXTERNAL = "EXTERNAL"
RESERVED = (EXTERNAL, "FARGATE", "FARGATE_SPOT")
"""Those that are always there."""

MAX_IN_STRATEGY = 20
MAX_OF_CLUSTER = 20
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""


class StrategyItem(Entity):
    """One line of a strategy."""

    capacity_provider: str
    weight: int = 0
    base: int = 0


Strategy = tuple[StrategyItem, ...]


def checked_providers(names: Sequence[str]) -> tuple[str, ...]:
    """The capacity providers to associate with a cluster; whether they exist is not known yet.

    Raises InvalidParameterException.
    """
    _require_distinct(names)
    if len(names) > MAX_OF_CLUSTER:
        raise InvalidParameterException(f"A cluster can have a maximum of {MAX_OF_CLUSTER} capacity providers.")
    return tuple(names)


def _require_distinct(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise InvalidParameterException("A capacity provider is given twice. Remove one and try again.")


def checked_strategy(
    items: Sequence[Mapping[str, Any]],
    associated: Sequence[str],
    *,
    unsupported: type[EcsError] = UnsupportedFeatureException,
) -> Strategy:
    """The strategy of a request, for a cluster with these capacity providers. One of one's own that is not among them
    is not found: nobody looks for what can start no task.

    Raises InvalidParameterException, and `unsupported` for a capacity provider that nothing can run on yet.
    """
    if len(items) > MAX_IN_STRATEGY:
        raise InvalidParameterException(
            f"A capacity provider strategy can contain a maximum of {MAX_IN_STRATEGY} capacity providers."
        )
    strategy = tuple(StrategyItem.model_validate(item) for item in items)
    names = [item.capacity_provider for item in strategy]
    _require_distinct(names)
    if not set(names) <= {*RESERVED, *associated}:
        raise InvalidParameterException(
            "The specified capacity provider was not found. Specify a valid capacity provider and try again."
        )
    if sum(item.base > 0 for item in strategy) > 1:
        raise InvalidParameterException(
            "Only one capacity provider in a capacity provider strategy can have a base value defined."
        )
    if not set(names) <= {EXTERNAL, *associated}:
        raise InvalidParameterException(
            "The specified capacity provider strategy cannot contain a capacity provider that is not associated with "
            "the cluster. Associate the capacity provider with the cluster or specify a valid capacity provider and "
            "try again."
        )
    for name in names:
        if name != EXTERNAL:
            raise unsupported(f"Capacity provider {name} is not supported yet in a strategy: use {EXTERNAL}.")
    return strategy


def strategy_of(request: Mapping[str, Any], associated: Sequence[str], default: Strategy) -> Strategy:
    """The strategy by which a request's tasks are to run; an empty one: by launch type.

    Raises InvalidParameterException, UnsupportedFeatureException.
    """
    given = request.get("capacityProviderStrategy")
    if given and request.get("launchType"):
        raise InvalidParameterException(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    if given:
        return checked_strategy(given, associated)
    return () if request.get("launchType") else default


def describe_capacity_provider(name: str, arns: Arns) -> dict[str, Any]:
    """As the ECS API gives it. EXTERNAL has no `type`: Amazon knows none for it."""
    described = {
        "capacityProviderArn": arns.capacity_provider(name),
        "name": name,
        "status": "ACTIVE",
        "tags": [],
    }
    return described if name == EXTERNAL else {**described, "type": name}


def in_the_api(strategy: Strategy) -> list[dict[str, Any]]:
    """As the ECS API gives it, with what was left out filled in."""
    return [item.model_dump(by_alias=True) for item in strategy]


def launched(strategy: Strategy | None) -> dict[str, Any]:
    """Either a launch type or a strategy, as Amazon ECS shows it."""
    return {"capacityProviderStrategy": in_the_api(strategy)} if strategy else {"launchType": "EXTERNAL"}
