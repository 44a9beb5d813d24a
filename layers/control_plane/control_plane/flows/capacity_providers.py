"""DescribeCapacityProviders. None can be made yet (domain/supported_members.py says why): there are those that Amazon
ECS always has, and EXTERNAL.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeCapacityProviders.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.capacity_provider import EXTERNAL, RESERVED, describe_capacity_provider
from control_plane.domain.pages import Paging
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane


def describe_capacity_providers(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {capacityProviders, failures, nextToken}; of a cluster EXTERNAL and those associated with it."""
    there = set(RESERVED)
    if request.get("cluster"):
        there = {EXTERNAL, *require_cluster(cp, request["cluster"]).capacity_providers}
    wanted = [resource_name(name) for name in request.get("capacityProviders") or there]
    found = sorted(there.intersection(wanted))
    page, more = Paging(cp.token_key, "DescribeCapacityProviders", request, at_most=10).page_of(found)
    return {
        "capacityProviders": [describe_capacity_provider(name, cp.arns) for name in page],
        "failures": [
            {"arn": cp.arns.capacity_provider(name), "reason": "MISSING"}
            for name in dict.fromkeys(wanted)
            if name not in there
        ],
        **more,
    }
