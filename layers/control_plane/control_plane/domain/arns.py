"""ARNs are computed, never stored. https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from control_plane.domain.errors import InvalidParameterException

_NAME = r"[a-zA-Z0-9_-]{1,255}"

RESOURCES: Mapping[str, tuple[str, ...]] = {
    "cluster": (_NAME,),
    "container-instance": (_NAME, _NAME),
    "task": (_NAME, _NAME),
    "service": (_NAME, _NAME),
    "task-set": (_NAME, _NAME, "ecs-svc", _NAME),
    "task-definition": (_NAME + r":[1-9][0-9]{0,9}",),
    "capacity-provider": (_NAME,),
}
"""What the ARN of each resource that can have tags ends in."""

INVALID = "The specified ARN is invalid. Specify a valid ARN and try again."


@dataclass(frozen=True)
class Arns:
    """Makes and takes apart the ARNs of one account and region."""

    region: str
    account: str
    partition: str = "aws"

    @property
    def prefix(self) -> str:
        """With which all of them begin."""
        return f"arn:{self.partition}:ecs:{self.region}:{self.account}:"

    def _arn(self, resource: str) -> str:
        return f"{self.prefix}{resource}"

    def root(self) -> str:
        """The account's root user."""
        return f"arn:{self.partition}:iam::{self.account}:root"

    def principal(self, name: str) -> str:
        """Of one of ours, in the words of IAM's: `ecs-anywhere` keeps it apart from the account's own users."""
        return f"arn:{self.partition}:iam::{self.account}:user/ecs-anywhere/{name}"

    def role(self, name_or_arn: str) -> str:
        """An IAM role of the account, which requests may name without its ARN."""
        named = name_or_arn.startswith("arn:")
        return name_or_arn if named else f"arn:{self.partition}:iam::{self.account}:role/{name_or_arn}"

    def cluster(self, name: str) -> str:
        return self._arn(f"cluster/{name}")

    def container_instance(self, cluster: str, instance_id: str) -> str:
        return self._arn(f"container-instance/{cluster}/{instance_id}")

    def task(self, cluster: str, task_id: str) -> str:
        return self._arn(f"task/{cluster}/{task_id}")

    def container(self, cluster: str, task_id: str, name: str) -> str:
        """Of one container of a task; Amazon's end in an id of their own, ours in the container's name."""
        return self._arn(f"container/{cluster}/{task_id}/{name}")

    def task_definition(self, family_and_revision: str) -> str:
        return self._arn(f"task-definition/{family_and_revision}")

    def capacity_provider(self, name: str) -> str:
        return self._arn(f"capacity-provider/{name}")

    def service(self, cluster: str, name: str) -> str:
        return self._arn(f"service/{cluster}/{name}")

    def service_deployment(self, cluster: str, service: str, revision_id: str) -> str:
        return self._arn(f"service-deployment/{cluster}/{service}/{revision_id}")

    def service_revision(self, cluster: str, service: str, revision_id: str) -> str:
        return self._arn(f"service-revision/{cluster}/{service}/{revision_id}")

    def task_set(self, cluster: str, service: str, task_set_id: str) -> str:
        return self._arn(f"task-set/{cluster}/{service}/{task_set_id}")


def resource_name(name_or_arn: str) -> str:
    """The last part of an ARN, or the name itself: `web` of `arn:aws:ecs:r:a:service/c/web`."""
    return name_or_arn.rsplit("/", 1)[-1]


def cluster_of(arn: str) -> str | None:
    """The cluster that a long ARN (type/cluster/id) names; None for a short one, or for a mere name."""
    parts = arn.split("/")
    return parts[1] if arn.startswith("arn:") and len(parts) == 3 else None


def require_resource(arn: str, arns: Arns) -> tuple[str, tuple[str, ...]]:
    """The kind of resource that an ARN of this account and region names, and the names in it.

    Raises InvalidParameterException.
    """
    kind, *names = arn.removeprefix(arns.prefix).split("/")
    patterns = RESOURCES.get(kind, ())
    if arn.startswith(arns.prefix) and len(patterns) == 2 and len(names) == 1:
        raise InvalidParameterException("Long arn format must be used for tagging operations")
    fits = len(names) == len(patterns) and all(
        re.fullmatch(pattern, name, re.ASCII) for pattern, name in zip(patterns, names, strict=True)
    )
    if not arn.startswith(arns.prefix) or not patterns or not fits:
        raise InvalidParameterException(INVALID)
    return kind, tuple(names)


def require_of_service(arn: str, kind: str, arns: Arns) -> tuple[str, str, str]:
    """The cluster, the service and the id that the ARN of something that a service has names.

    Raises InvalidParameterException.
    """
    found = re.fullmatch(rf"{re.escape(arns.prefix)}{kind}/({_NAME})/({_NAME})/({_NAME})", arn, re.ASCII)
    if found is None:
        raise InvalidParameterException(INVALID)
    return found[1], found[2], found[3]
