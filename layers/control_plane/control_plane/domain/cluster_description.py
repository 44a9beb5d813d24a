"""A cluster as the ECS API describes it.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html
"""

from collections.abc import Collection, Iterable, Sequence

from control_plane.domain import capacity_provider
from control_plane.domain.arns import Arns
from control_plane.domain.cluster import CONTAINER_INSIGHTS, Cluster
from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.description import Described
from control_plane.domain.service import Service, ServiceStatus
from control_plane.domain.tags import in_the_api
from control_plane.domain.task import Task
from control_plane.domain.task_description import is_pending
from ecs_protocol.statuses import TaskStatus

STATISTICS = (
    "runningEC2TasksCount",
    "runningFargateTasksCount",
    "pendingEC2TasksCount",
    "pendingFargateTasksCount",
    "runningExternalTasksCount",
    "pendingExternalTasksCount",
    "runningManagedInstancesTasksCount",
    "pendingManagedInstancesTasksCount",
    "activeEC2ServiceCount",
    "activeFargateServiceCount",
    "drainingEC2ServiceCount",
    "drainingFargateServiceCount",
    "activeExternalServiceCount",
    "drainingExternalServiceCount",
    "activeManagedInstancesServiceCount",
    "drainingManagedInstancesServiceCount",
)
"""Of a cluster, as Amazon ECS lists them."""


def describe_cluster(
    cluster: Cluster,
    arns: Arns,
    *,
    instances: Iterable[ContainerInstance],
    tasks: Sequence[Task],
    services: Sequence[Service],
    include: Collection[str] = (),
) -> Described:
    """Without what `include` does not name, as Amazon ECS leaves it out: most of that is then empty."""
    settings = cluster.settings or {CONTAINER_INSIGHTS: "disabled"}
    described = {
        "clusterArn": arns.cluster(cluster.name),
        "clusterName": cluster.name,
        "status": str(cluster.status),
        "registeredContainerInstancesCount": sum(
            instance.status is not InstanceStatus.INACTIVE for instance in instances
        ),
        "runningTasksCount": sum(task.last_status is TaskStatus.RUNNING for task in tasks),
        "pendingTasksCount": sum(is_pending(task) for task in tasks),
        "activeServicesCount": sum(service.status is ServiceStatus.ACTIVE for service in services),
        "statistics": _statistics(tasks, services) if "STATISTICS" in include else [],
        "tags": in_the_api(cluster.tags) if "TAGS" in include else [],
        "settings": [{"name": name, "value": value} for name, value in settings.items()]
        if "SETTINGS" in include
        else [],
        "capacityProviders": list(cluster.capacity_providers),
        "defaultCapacityProviderStrategy": capacity_provider.in_the_api(cluster.default_capacity_provider_strategy),
    }
    if "CONFIGURATIONS" in include and cluster.configuration:
        described["configuration"] = cluster.configuration
    if "ATTACHMENTS" in include:
        described["attachments"] = []  # what scales an Auto Scaling group is attached to a cluster; there is none
    return described


def _statistics(tasks: Sequence[Task], services: Iterable[Service]) -> list[Described]:
    """By launch type, in Amazon's order and with its names; all that runs here is EXTERNAL."""
    statuses = [service.status for service in services]
    counts = {
        "runningExternalTasksCount": sum(task.last_status is TaskStatus.RUNNING for task in tasks),
        "pendingExternalTasksCount": sum(is_pending(task) for task in tasks),
        "activeExternalServiceCount": statuses.count(ServiceStatus.ACTIVE),
        "drainingExternalServiceCount": statuses.count(ServiceStatus.DRAINING),
    }
    return [{"name": name, "value": str(counts.get(name, 0))} for name in STATISTICS]
