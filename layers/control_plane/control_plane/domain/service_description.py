"""Services and their deployments as the ECS API describes them, and as its events carry them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Service.html
"""

from collections.abc import Sequence
from datetime import datetime

from control_plane.domain.arns import Arns
from control_plane.domain.capacity_provider import Strategy, launched
from control_plane.domain.description import Described, present
from control_plane.domain.service import (
    Deployment,
    DeploymentConfiguration,
    Service,
    ServiceEvent,
    ServiceStatus,
    counts_of,
)
from control_plane.domain.service_deployment import RevisionCounts, revision_of
from control_plane.domain.tags import in_the_api
from control_plane.domain.task_set_description import describe_task_set


def describe_service(
    service: Service, arns: Arns, *, events: Sequence[ServiceEvent], with_tags: bool = False
) -> Described:
    """The counts are what the scheduler last saw: a service that it has not looked at since is not steady."""
    return {
        "serviceArn": arns.service(service.cluster, service.name),
        "serviceName": service.name,
        "clusterArn": arns.cluster(service.cluster),
        "status": str(service.status),
        "desiredCount": service.desired_count,
        "runningCount": service.running_count,
        "pendingCount": service.pending_count,
        **_what_runs(service, arns, with_tags=with_tags),
        "deploymentConfiguration": configuration_in_the_api(service.deployment_configuration),
        "events": [{"id": event.event_id, "createdAt": event.created_at, "message": event.message} for event in events],
        "createdAt": service.created_at,
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": list(service.placement_constraints),
        "placementStrategy": list(service.placement_strategy),
        "availabilityZoneRebalancing": "DISABLED",
        "schedulingStrategy": service.scheduling_strategy or "REPLICA",
        "deploymentController": {"type": service.deployment_controller or "ECS"},
        "enableECSManagedTags": bool(service.managed_tags),
        **present({"healthCheckGracePeriodSeconds": service.health_check_grace_period_seconds}),
        "propagateTags": service.propagate_tags or "NONE",
        "enableExecuteCommand": bool(service.execute_command),
        "tags": in_the_api(service.tags) if with_tags else [],
    }


def _what_runs(service: Service, arns: Arns, *, with_tags: bool) -> Described:
    """By its deployments, or by its task sets: then what the primary one says is shown as the service's."""
    active = service.status is not ServiceStatus.INACTIVE
    if service.external:
        primary = service.primary_task_set
        return {
            **(_made_of(primary.task_definition, primary.capacity_provider_strategy, arns) if primary else {}),
            "deployments": [],
            "taskSets": [describe_task_set(each, service, arns, with_tags=with_tags) for each in service.task_sets],
        }
    primary_and_older = [
        _deployment(service, service.deployment, arns, status="PRIMARY"),
        *(_deployment(service, each, arns, status="ACTIVE") for each in service.older),
    ]
    return {
        **_made_of(service.task_definition, service.capacity_provider_strategy, arns),
        "deployments": primary_and_older if active else [],
        **(_current(service, arns) if active else {}),
    }


def _made_of(definition: str, strategy: Strategy, arns: Arns) -> Described:
    return {**launched(strategy), "taskDefinition": arns.task_definition(definition)}


def _current(service: Service, arns: Arns) -> Described:
    """The newest service deployment, and the service revisions that have tasks, or are to have some."""
    newest, names = service.service_deployment, (service.cluster, service.name)
    return present(
        {
            "currentServiceDeployment": newest and arns.service_deployment(*names, newest.revision_id),
            "currentServiceRevisions": [
                counted(counts_of(service, revision_of(each.deployment_id)), service, arns)
                for each in (service.deployment, *service.older)
            ],
        }
    )


def counted(counts: RevisionCounts, service: Service, arns: Arns) -> Described:
    """A service revision with the numbers of its tasks."""
    return {
        "arn": arns.service_revision(service.cluster, service.name, counts.revision_id),
        "requestedTaskCount": counts.requested,
        "runningTaskCount": counts.running,
        "pendingTaskCount": counts.pending,
    }


def _deployment(service: Service, deployment: Deployment, arns: Arns, *, status: str) -> Described:
    """An older deployment is wanted as far as it still has tasks."""
    primary = status == "PRIMARY"
    running = service.running_count if deployment.running_count is None else deployment.running_count
    pending = service.pending_count if deployment.pending_count is None else deployment.pending_count
    return {
        "id": deployment.deployment_id,
        "status": status,
        "taskDefinition": arns.task_definition(deployment.task_definition),
        "desiredCount": service.desired_count if primary else running + pending,
        "runningCount": running,
        "pendingCount": pending,
        "failedTasks": deployment.failed_tasks,
        "createdAt": deployment.created_at,
        "updatedAt": deployment.updated_at,
        **launched(deployment.capacity_provider_strategy),
        "rolloutState": str(deployment.rollout_state),
        "rolloutStateReason": rollout_reason(deployment) + (_what_follows(service) if primary else ""),
    }


def _what_follows(service: Service) -> str:
    """A deployment does not wait for machines that are away."""
    if not service.away_count:
        return ""
    return f" {service.away_count} of its tasks are on disconnected container instances and follow when these return."


def rollout_reason(deployment: Deployment) -> str:
    state = deployment.rollout_state
    return deployment.rollout_reason or f"ECS deployment {deployment.deployment_id} {state.words}."


def configuration_in_the_api(configuration: DeploymentConfiguration) -> Described:
    breaker = configuration.circuit_breaker
    threshold = breaker and present({"type": breaker.threshold_type, "value": breaker.threshold_value})
    return present(
        {
            "deploymentCircuitBreaker": breaker
            and present(
                {
                    "enable": breaker.enable,
                    "rollback": breaker.rollback,
                    "resetOnHealthyTask": breaker.reset_on_healthy_task,
                    "thresholdConfiguration": threshold or None,
                }
            ),
            "maximumPercent": configuration.maximum_percent,
            "minimumHealthyPercent": configuration.minimum_healthy_percent,
        }
    )


def service_event_detail(event: ServiceEvent, arns: Arns, at: datetime) -> Described:
    """Of `ECS Service Action` and `ECS Deployment State Change`.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
    """
    return present(
        {
            "eventType": event.event_type,
            "eventName": event.event_name,
            "clusterArn": arns.cluster(event.cluster) if event.detail_type == "ECS Service Action" else None,
            "deploymentId": event.deployment_id,
            "updatedAt" if event.deployment_id else "createdAt": at,
            "reason": event.reason,
        }
    )
