"""ARNs are computed, never stored. https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Arns:
    """Makes and takes apart the ARNs of one account and region."""

    region: str
    account: str
    partition: str = "aws"

    def _arn(self, resource: str) -> str:
        return f"arn:{self.partition}:ecs:{self.region}:{self.account}:{resource}"

    def root(self) -> str:
        """The account's root user."""
        return f"arn:{self.partition}:iam::{self.account}:root"

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


def resource_name(name_or_arn: str) -> str:
    """The last part of an ARN, or the name itself: `web` of `arn:aws:ecs:r:a:service/c/web`."""
    return name_or_arn.rsplit("/", 1)[-1]


def cluster_of(arn: str) -> str | None:
    """The cluster that a long ARN (type/cluster/id) names; None for a short one, or for a mere name."""
    parts = arn.split("/")
    return parts[1] if arn.startswith("arn:") and len(parts) == 3 else None
