"""What a role that is assumed for a task is told of it: its policies and its trust may go by these tags.

Named in the manner of those of EKS Pod Identity (`eks-cluster-name`); Amazon ECS has none.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
"""


def session_tags(deployment: str, cluster: str, task_id: str, instance_id: str) -> dict[str, str]:
    return {
        "ecs-anywhere-deployment": deployment,
        "ecs-cluster-name": cluster,
        "ecs-task-id": task_id,
        "ecs-container-instance-id": instance_id,
    }
