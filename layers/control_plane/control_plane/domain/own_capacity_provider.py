"""Capacity providers of one's own: an Auto Scaling group of AWS, and how Amazon ECS would scale it.

Nothing here reaches an Auto Scaling group: the settings are kept and shown, and no strategy may name such a provider
(domain/capacity_provider.py). It can be associated with clusters, so that what creates clusters for Amazon ECS works.

    ACTIVE ──► DEPROVISIONING: no cluster takes it any more ──► no cluster has it ──► INACTIVE
      ▲                                      │ a cluster has it
      └────────────── DELETE_FAILED ◄────────┘

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProvider.html
"""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from control_plane.domain.arns import Arns
from control_plane.domain.capacity_provider import RESERVED
from control_plane.domain.entity import Entity
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.tags import in_the_api

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_GROUP_NAME = re.compile(r"[^:\x00-\x1f\x7f]{1,255}")
_GROUP_ARN = re.compile(
    r"arn:aws[\w-]*:autoscaling:[\w-]+:\d{12}:autoScalingGroup:[\w-]+:autoScalingGroupName/(.+)", re.ASCII
)

_SCALING_DEFAULTS: Mapping[str, Any] = {
    "status": "DISABLED",
    "targetCapacity": 100,
    "minimumScalingStepSize": 1,
    "maximumScalingStepSize": 10_000,
    "instanceWarmupPeriod": 300,
}
_DEFAULTS: Mapping[str, Any] = {"managedTerminationProtection": "DISABLED", "managedDraining": "ENABLED"}
"""What Amazon ECS fills in, as the acceptance tests of Terraform's AWS provider find it."""


class ProviderStatus(StrEnum):
    ACTIVE = "ACTIVE"
    DEPROVISIONING = "DEPROVISIONING"
    INACTIVE = "INACTIVE"


class UpdateStatus(StrEnum):
    """What became of the last change."""

    CREATE_COMPLETE = "CREATE_COMPLETE"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETE = "DELETE_COMPLETE"
    DELETE_FAILED = "DELETE_FAILED"


class CapacityProvider(Entity):
    """Of an Auto Scaling group."""

    name: str
    status: ProviderStatus = ProviderStatus.ACTIVE
    version: int = 1
    """One more with every write, also when the name is used again: nobody writes over what he has not read."""
    auto_scaling_group_provider: dict[str, Any] = Field(default_factory=dict)
    update_status: UpdateStatus = UpdateStatus.CREATE_COMPLETE
    update_status_reason: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    expires_at: int | None = None

    def changed(self, **members: Any) -> "CapacityProvider":
        """After one more change, of which there is no more to say than `members` do."""
        return self.model_copy(update={"update_status_reason": None, **members, "version": self.version + 1})

    def with_tags(self, tags: dict[str, str]) -> "CapacityProvider":
        """That is no update: what became of the last one stays."""
        return self.changed(tags=tags, update_status_reason=self.update_status_reason)


def may_be_made(name: str) -> bool:
    """Whether there could be one of that name; what no name can be is not looked for."""
    return bool(_NAME.fullmatch(name)) and name not in RESERVED


def checked_provider_name(name: str) -> str:
    """Raises InvalidParameterException."""
    if not _NAME.fullmatch(name) or name.lower().startswith(("aws", "ecs", "fargate")):
        raise InvalidParameterException(
            "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters "
            '(upper and lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with "aws", "ecs", '
            'or "fargate". Specify a valid name and try again.'
        )
    if name in RESERVED:
        raise InvalidParameterException(f"Capacity provider {name} is reserved. Specify another name and try again.")
    return name


def checked_group(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The autoScalingGroupProvider of a creation, with what was left out filled in.

    Raises InvalidParameterException.
    """
    if not given:
        raise InvalidParameterException("An Auto Scaling group provider must be specified. Specify one and try again.")
    group = given["autoScalingGroupArn"]
    in_arn = _GROUP_ARN.fullmatch(group)
    if not _GROUP_NAME.fullmatch(in_arn[1] if in_arn else group):
        raise InvalidParameterException(
            "The specified Auto Scaling group ARN is invalid. Specify a valid ARN and try again."
        )
    return changed_group({"autoScalingGroupArn": group, **_DEFAULTS, "managedScaling": _SCALING_DEFAULTS}, given)


def changed_group(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the request does not name stays, also within managedScaling."""
    return {**before, **given, "managedScaling": {**before["managedScaling"], **given.get("managedScaling", {})}}


def describe_own(provider: CapacityProvider, arns: Arns, include: Collection[str]) -> dict[str, Any]:
    """As the ECS API gives it."""
    reason = {"updateStatusReason": provider.update_status_reason} if provider.update_status_reason else {}
    return {
        "capacityProviderArn": arns.capacity_provider(provider.name),
        "name": provider.name,
        "status": provider.status,
        "autoScalingGroupProvider": provider.auto_scaling_group_provider,
        "updateStatus": provider.update_status,
        **reason,
        "tags": in_the_api(provider.tags) if "TAGS" in include else [],
        "type": "EC2_AUTOSCALING",
    }
