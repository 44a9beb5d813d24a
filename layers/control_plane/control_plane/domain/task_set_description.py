"""Task sets as the ECS API describes them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskSet.html
"""

from control_plane.domain.arns import Arns
from control_plane.domain.capacity_provider import launched
from control_plane.domain.description import Described, present
from control_plane.domain.service import Service
from control_plane.domain.tags import in_the_api
from control_plane.domain.task_set import TaskSet


def describe_task_set(task_set: TaskSet, service: Service, arns: Arns, *, with_tags: bool = False) -> Described:
    return present(
        {
            "id": task_set.task_set_id,
            "taskSetArn": arns.task_set(service.cluster, service.name, task_set.task_set_id),
            "serviceArn": arns.service(service.cluster, service.name),
            "clusterArn": arns.cluster(service.cluster),
            "externalId": task_set.external_id,
            "status": str(task_set.status),
            "taskDefinition": arns.task_definition(task_set.task_definition),
            "computedDesiredCount": task_set.computed_desired_count(service.desired_count),
            "pendingCount": task_set.pending_count,
            "runningCount": task_set.running_count,
            "createdAt": task_set.created_at,
            "updatedAt": task_set.updated_at,
            **launched(task_set.capacity_provider_strategy),
            "loadBalancers": [],
            "serviceRegistries": [],
            "scale": {"value": task_set.scale, "unit": "PERCENT"},
            "stabilityStatus": "STEADY_STATE" if task_set.steady else "STABILIZING",
            "stabilityStatusAt": task_set.stability_at,
            "tags": in_the_api(task_set.tags) if with_tags else [],
        }
    )
