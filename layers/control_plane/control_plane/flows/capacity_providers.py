"""CreateCapacityProvider, DescribeCapacityProviders, UpdateCapacityProvider, DeleteCapacityProvider.

Why no cluster has a deleted one. A cluster takes one in a transaction that checks that it is ACTIVE (`to_associate`). A
deletion first makes it DEPROVISIONING, and then reads every cluster, strongly consistent: what was associated before is
seen, and nothing is associated after. Every deletion begins with a write that raises the version, and ends with one
that rests on it: of two at once only the last to begin comes to an end, and the other one begins again. If the
function dies in between, it stays DEPROVISIONING, as it is shown, until it is deleted once more.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCapacityProvider.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeCapacityProviders.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateCapacityProvider.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCapacityProvider.html
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.capacity_provider import EXTERNAL, RESERVED, describe_capacity_provider
from control_plane.domain.cluster import ClusterStatus
from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.own_capacity_provider import (
    CapacityProvider,
    ProviderStatus,
    UpdateStatus,
    changed_group,
    checked_group,
    checked_provider_name,
    describe_own,
    may_be_made,
)
from control_plane.domain.pages import Paging
from control_plane.domain.tags import checked, require_sense
from control_plane.flows.again import until_answered
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import capacity_providers, clusters
from control_plane.store.table import Write

KEPT = timedelta(days=30)
"""How long a deleted one is shown as INACTIVE, unless its name is used again."""


def create_capacity_provider(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {capacityProvider}. Raises ClientException if there is one of that name."""
    name = checked_provider_name(request["name"])
    group = checked_group(request.get("autoScalingGroupProvider"))
    tags = checked(request.get("tags", ()))
    require_sense(tags)

    def decide_and_commit(_attempt: int) -> CapacityProvider:
        before = capacity_providers.load(cp.table, name)
        if before is not None and before.status is not ProviderStatus.INACTIVE:
            raise ClientException(
                "The specified capacity provider already exists. To change the configuration of an existing capacity "
                "provider, update the capacity provider."
            )
        version = before.version + 1 if before else 1
        made = CapacityProvider(name=name, version=version, auto_scaling_group_provider=group, tags=tags)
        cp.table.commit([capacity_providers.written(made, before)])
        return made

    return _answer(cp, until_answered(cp, decide_and_commit, what="capacity provider"))


def describe_capacity_providers(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {capacityProviders, failures, nextToken}; of a cluster EXTERNAL and those associated with it.

    A deleted one is INACTIVE.
    """
    associated: set[str] | None = None
    if request.get("cluster"):
        associated = {EXTERNAL, *require_cluster(cp, request["cluster"]).capacity_providers}
    names = [resource_name(name) for name in request.get("capacityProviders") or associated or ()]
    own = _made(cp, names) if names else capacity_providers.everyone(cp.table)
    there = {*RESERVED, *own} if associated is None else associated & {*RESERVED, *own}
    wanted = names or sorted(there)
    found = sorted(there.intersection(wanted))
    page, more = Paging(cp.token_key, "DescribeCapacityProviders", request, at_most=10).page_of(found)
    include = request.get("include", ())
    return {
        "capacityProviders": [
            describe_own(own[name], cp.arns, include) if name in own else describe_capacity_provider(name, cp.arns)
            for name in page
        ],
        "failures": [
            {"arn": cp.arns.capacity_provider(name), "reason": "MISSING"}
            for name in dict.fromkeys(wanted)
            if name not in there
        ],
        **more,
    }


def update_capacity_provider(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {capacityProvider}. What the request does not name stays."""
    name = resource_name(request["name"])
    _require_not_reserved(name, "updated")

    def decide_and_commit(_attempt: int) -> CapacityProvider:
        before = _require(cp, name)
        if before.status is not ProviderStatus.ACTIVE:
            raise _not_active(name)
        group = changed_group(before.auto_scaling_group_provider, request.get("autoScalingGroupProvider", {}))
        after = before.changed(auto_scaling_group_provider=group, update_status=UpdateStatus.UPDATE_COMPLETE)
        cp.table.commit([capacity_providers.written(after, before)])
        return after

    return _answer(cp, until_answered(cp, decide_and_commit, what="capacity provider"))


def delete_capacity_provider(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {capacityProvider}: INACTIVE, or ACTIVE and DELETE_FAILED with the reason if a cluster has it.

    Deleting one that is INACTIVE changes nothing.
    """
    name = resource_name(request["capacityProvider"])
    _require_not_reserved(name, "deleted")

    def decide_and_commit(_attempt: int) -> CapacityProvider:
        before = _require(cp, name)
        if before.status is ProviderStatus.INACTIVE:
            return before
        leaving = before.changed(status=ProviderStatus.DEPROVISIONING, update_status=UpdateStatus.DELETE_IN_PROGRESS)
        cp.table.commit([capacity_providers.written(leaving, before)])
        after = _deleted_or_not(cp, leaving)
        cp.table.commit([capacity_providers.written(after, leaving)])
        return after

    return _answer(cp, until_answered(cp, decide_and_commit, what="capacity provider"))


def to_associate(cp: ControlPlane, names: Sequence[str]) -> list[Write]:
    """What must hold still when a cluster takes these. Raises InvalidParameterException."""
    own = [name for name in names if name not in RESERVED]
    found = _made(cp, own)
    for name in own:
        if name not in found:
            raise InvalidParameterException(
                "The specified capacity provider was not found. Specify a valid capacity provider and try again."
            )
        if found[name].status is not ProviderStatus.ACTIVE:
            raise _not_active(name)
    return [capacity_providers.still_active(name) for name in own]


def _deleted_or_not(cp: ControlPlane, leaving: CapacityProvider) -> CapacityProvider:
    having = [
        cluster.name
        for cluster in clusters.everyone(cp.table)
        if cluster.status is ClusterStatus.ACTIVE and leaving.name in cluster.capacity_providers
    ]
    if having:
        return leaving.changed(
            status=ProviderStatus.ACTIVE,
            update_status=UpdateStatus.DELETE_FAILED,
            update_status_reason="The capacity provider cannot be deleted because it is associated with cluster: "
            f"{having[0]}. Remove the capacity provider from the cluster and try again.",
        )
    return leaving.changed(
        status=ProviderStatus.INACTIVE,
        update_status=UpdateStatus.DELETE_COMPLETE,
        tags={},
        expires_at=int((cp.clock() + KEPT).timestamp()),
    )


def _made(cp: ControlPlane, names: Iterable[str]) -> dict[str, CapacityProvider]:
    return capacity_providers.load_many(cp.table, list(filter(may_be_made, names)))


def _require(cp: ControlPlane, name: str) -> CapacityProvider:
    provider = _made(cp, [name]).get(name)
    if provider is None:
        raise ClientException(
            "The specified capacity provider does not exist. Specify a valid name or ARN and try again."
        )
    return provider


def _require_not_reserved(name: str, what: str) -> None:
    if name in RESERVED:
        raise ClientException(f"The specified capacity provider is reserved and cannot be {what}.")


def _not_active(name: str) -> InvalidParameterException:
    return InvalidParameterException(
        f"The specified capacity provider '{name}' is not in an ACTIVE state. Specify a valid capacity provider and "
        "try again."
    )


def _answer(cp: ControlPlane, provider: CapacityProvider) -> dict[str, Any]:
    return {"capacityProvider": describe_own(provider, cp.arns, ("TAGS",))}
