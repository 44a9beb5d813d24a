"""Service deployments and service revisions as the ECS API describes them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRevision.html
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.arns import Arns
from control_plane.domain.capacity_provider import Strategy, launched
from control_plane.domain.description import Described, present
from control_plane.domain.service import Service
from control_plane.domain.service_deployment import ServiceDeployment
from control_plane.domain.service_description import counted


def describe_in_brief(deployment: ServiceDeployment, service: Service, arns: Arns) -> Described:
    """As ListServiceDeployments has it."""
    names = service.cluster, service.name
    return present(
        {
            "serviceDeploymentArn": arns.service_deployment(*names, deployment.revision_id),
            "serviceArn": arns.service(*names),
            "clusterArn": arns.cluster(service.cluster),
            "startedAt": deployment.started_at,
            "createdAt": deployment.created_at,
            "finishedAt": deployment.finished_at,
            "targetServiceRevisionArn": arns.service_revision(*names, deployment.revision_id),
            "status": str(deployment.status),
            "statusReason": deployment.status_reason,
        }
    )


def describe_service_deployment(deployment: ServiceDeployment, service: Service, arns: Arns) -> Described:
    """Without lifecycleStage: its stages are those of the deployments that shift traffic."""
    brief = describe_in_brief(deployment, service, arns)
    del brief["targetServiceRevisionArn"]
    rollback = deployment.rollback
    return present(
        {
            **brief,
            "stoppedAt": deployment.stopped_at,
            "updatedAt": deployment.updated_at,
            "sourceServiceRevisions": [counted(each, service, arns) for each in deployment.sources],
            "targetServiceRevision": counted(deployment.target, service, arns),
            "deploymentConfiguration": deployment.configuration,
            "rollback": rollback
            and {
                "reason": rollback.reason,
                "startedAt": rollback.started_at,
                "serviceRevisionArn": arns.service_revision(service.cluster, service.name, rollback.revision_id),
            },
            "deploymentCircuitBreaker": {
                "status": _watch(deployment),
                "failureCount": deployment.failure_count,
                "threshold": deployment.threshold,
            },
            "alarms": {"status": "DISABLED"},
        }
    )


def _watch(deployment: ServiceDeployment) -> str:
    """What the circuit breaker does."""
    if not deployment.circuit_breaker:
        return "DISABLED"
    if deployment.tripped:
        return "TRIGGERED"
    on_its_way = not (deployment.status.ended or deployment.status.rolls_back)
    return "MONITORING" if on_its_way else "MONITORING_COMPLETE"


def describe_service_revision(
    revision_id: str,
    service: Service,
    definition: Mapping[str, Any],
    arns: Arns,
    *,
    strategy: Strategy,
    created_at: datetime,
) -> Described:
    """The images are those that the task definition names: nobody resolves them to digests."""
    return {
        "serviceRevisionArn": arns.service_revision(service.cluster, service.name, revision_id),
        "serviceArn": arns.service(service.cluster, service.name),
        "clusterArn": arns.cluster(service.cluster),
        "taskDefinition": arns.task_definition(f"{definition['family']}:{definition['revision']}"),
        **launched(strategy),
        "containerImages": [
            {"containerName": each["name"], "image": each["image"]} for each in definition["containerDefinitions"]
        ],
        "guardDutyEnabled": False,
        "serviceConnectConfiguration": {"enabled": False},
        "createdAt": created_at,
    }
