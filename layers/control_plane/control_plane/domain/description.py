"""Entities as the ECS API describes them, and as its events carry them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Types.html
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from control_plane.domain.arns import Arns
from control_plane.domain.attributes import described_attributes
from control_plane.domain.capacity_provider import Strategy
from control_plane.domain.capacity_provider import in_the_api as strategy_in_the_api
from control_plane.domain.container_instance import ContainerInstance, Registration
from control_plane.domain.health import checked_containers, task_health
from control_plane.domain.service import Deployment, DeploymentConfiguration, Service, ServiceEvent, ServiceStatus
from control_plane.domain.tags import in_the_api
from control_plane.domain.task import Task
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import TaskStatus

Described = dict[str, Any]


def present(members: Mapping[str, Any]) -> Described:
    """Without the members that are None, as Amazon ECS leaves them out."""
    return {name: value for name, value in members.items() if value is not None}


def describe_container_instance(
    instance: ContainerInstance,
    registration: Registration,
    arns: Arns,
    *,
    tasks: Sequence[Task],
    with_tags: bool = False,
) -> Described:
    """`tasks` are those on it that have not stopped."""
    return {
        "containerInstanceArn": arns.container_instance(instance.cluster, instance.instance_id),
        "ec2InstanceId": "",
        "version": instance.version,
        "versionInfo": present(
            {
                "agentVersion": registration.agent_version,
                "dockerVersion": f"DockerVersion: {registration.docker_version}"
                if registration.docker_version
                else None,
            }
        ),
        "remainingResources": _resources(
            instance.cpu, instance.memory, sorted(instance.ports | instance.reserved_ports)
        ),
        "registeredResources": _resources(
            registration.cpu,
            registration.memory,
            sorted(f"{port.port}/{port.protocol}" for port in registration.ports_in_use),
        ),
        "status": str(instance.status),
        "agentConnected": instance.agent_connected,
        "runningTasksCount": sum(task.last_status is TaskStatus.RUNNING for task in tasks),
        "pendingTasksCount": sum(is_pending(task) for task in tasks),
        "attributes": described_attributes(instance, registration),
        "registeredAt": registration.registered_at,
        "attachments": [],
        "tags": in_the_api(registration.tags) if with_tags else [],
    }


def describe_instance_health(instance: ContainerInstance) -> Described:
    """What is known of it is whether its agent is connected.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstanceHealthStatus.html
    """
    status = "OK" if instance.agent_connected else "IMPAIRED"
    connectivity = {
        "type": "AGENT_CONNECTIVITY",
        "status": status,
        "statusReason": None if instance.agent_connected else "The agent is not connected.",
        "lastUpdated": instance.updated_at,
        "lastStatusChange": instance.connection_changed_at,
    }
    return {"overallStatus": status, "details": [present(connectivity)]}


def is_pending(task: Task) -> bool:
    return task.last_status in {TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING}


def _resources(cpu: int, memory: int, ports: Sequence[str]) -> list[Described]:
    def integer(name: str, value: int) -> Described:
        return {"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": value}

    def strings(name: str, protocol: str) -> Described:
        numbers = [port.split("/")[0] for port in ports if port.endswith(f"/{protocol}")]
        return {
            "name": name,
            "type": "STRINGSET",
            "doubleValue": 0.0,
            "longValue": 0,
            "integerValue": 0,
            "stringSetValue": sorted(numbers, key=int),
        }

    return [
        integer("CPU", cpu),
        integer("MEMORY", memory),
        strings("PORTS", "tcp"),
        strings("PORTS_UDP", "udp"),
    ]


def describe_task(
    task: Task,
    definition: Mapping[str, Any],
    arns: Arns,
    *,
    agent_connected: bool | None = None,
    with_tags: bool = False,
) -> Described:
    """`agent_connected` is its instance's; None where it is not known, as in events."""
    connectivity = None if agent_connected is None or task.stopped else agent_connected
    return present(
        {
            "taskArn": arns.task(task.cluster, task.task_id),
            "clusterArn": arns.cluster(task.cluster),
            "taskDefinitionArn": arns.task_definition(task.task_definition),
            "containerInstanceArn": arns.container_instance(task.cluster, task.instance_id),
            "group": task.group,
            "startedBy": task.started_by,
            "launchType": "EXTERNAL",
            "capacityProviderName": task.capacity_provider_name if task.by_strategy else None,
            "lastStatus": str(task.last_status),
            "desiredStatus": str(task.desired_status),
            "connectivity": None if connectivity is None else "CONNECTED" if connectivity else "DISCONNECTED",
            "healthStatus": str(task_health(task, checked_containers(definition))),
            "cpu": str(task.cpu),
            "memory": str(task.memory),
            "containers": _containers(task, definition, arns),
            "overrides": {
                "containerOverrides": [{"name": each["name"]} for each in definition["containerDefinitions"]],
                "inferenceAcceleratorOverrides": [],
                **task.overrides,
            },
            "attachments": [],
            "attributes": _task_attributes(task),
            "enableExecuteCommand": False,
            "tags": in_the_api(task.tags) if with_tags else [],
            "version": task.version,
            "createdAt": task.created_at,
            "pullStartedAt": task.pull_started_at,
            "pullStoppedAt": task.pull_stopped_at,
            "startedAt": task.started_at,
            "stoppingAt": task.stopping_at,
            "executionStoppedAt": task.execution_stopped_at,
            "stoppedAt": task.stopped_at,
            "stopCode": None if task.stop_code is None else str(task.stop_code),
            "stoppedReason": task.stopped_reason,
        }
    )


def _task_attributes(task: Task) -> list[Described]:
    """What its machine did while it was cut off."""
    if task.restarts is None:
        return []
    codes = ",".join(f"{name}={code}" for name, code in sorted(task.restarts.exit_codes.items()))
    return [
        {"name": "ecs-anywhere.restarts", "value": str(task.restarts.count)},
        {"name": "ecs-anywhere.lastExitCode", "value": codes},
    ]


def _containers(task: Task, definition: Mapping[str, Any], arns: Arns) -> list[Described]:
    """One for each container definition; what its machine has said of it, if it has said anything yet."""
    reports = {report.name: report for report in task.containers}
    silent = TaskStatus.STOPPED if task.stopped else TaskStatus.PENDING
    described = []
    for each in definition["containerDefinitions"]:
        report = reports.get(each["name"]) or ContainerReport(name=each["name"], last_status=silent)
        status = TaskStatus.STOPPED if task.stopped else report.last_status
        described.append(
            present(
                {
                    "containerArn": arns.container(task.cluster, task.task_id, each["name"]),
                    "taskArn": arns.task(task.cluster, task.task_id),
                    "name": each["name"],
                    "image": each["image"],
                    "imageDigest": report.image_digest,
                    "runtimeId": report.runtime_id,
                    "lastStatus": str(status),
                    "exitCode": report.exit_code,
                    "reason": report.reason,
                    "networkBindings": [binding.model_dump(by_alias=True) for binding in report.network_bindings],
                    "networkInterfaces": [],
                    "healthStatus": str(report.health_status),
                    "cpu": str(each.get("cpu", 0)),
                    "memory": str(each["memory"]) if "memory" in each else None,
                    "memoryReservation": str(each["memoryReservation"]) if "memoryReservation" in each else None,
                }
            )
        )
    return described


def describe_service(
    service: Service, arns: Arns, *, events: Sequence[ServiceEvent], with_tags: bool = False
) -> Described:
    """The counts are what the scheduler last saw: a service that it has not looked at since is not steady."""
    active = service.status is not ServiceStatus.INACTIVE
    return {
        "serviceArn": arns.service(service.cluster, service.name),
        "serviceName": service.name,
        "clusterArn": arns.cluster(service.cluster),
        "status": str(service.status),
        "desiredCount": service.desired_count,
        "runningCount": service.running_count,
        "pendingCount": service.pending_count,
        **_launched(service.capacity_provider_strategy),
        "taskDefinition": arns.task_definition(service.task_definition),
        "deploymentConfiguration": _deployment_configuration(service.deployment_configuration),
        "deployments": [
            _deployment(service, service.deployment, arns, status="PRIMARY"),
            *(_deployment(service, each, arns, status="ACTIVE") for each in service.older),
        ]
        if active
        else [],
        "events": [{"id": event.event_id, "createdAt": event.created_at, "message": event.message} for event in events],
        "createdAt": service.created_at,
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": list(service.placement_constraints),
        "placementStrategy": list(service.placement_strategy),
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "enableECSManagedTags": bool(service.managed_tags),
        **present({"healthCheckGracePeriodSeconds": service.health_check_grace_period_seconds}),
        "propagateTags": service.propagate_tags or "NONE",
        "enableExecuteCommand": False,
        "tags": in_the_api(service.tags) if with_tags else [],
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
        **_launched(deployment.capacity_provider_strategy),
        "rolloutState": str(deployment.rollout_state),
        "rolloutStateReason": rollout_reason(deployment) + (_what_follows(service) if primary else ""),
    }


def _launched(strategy: Strategy | None) -> Described:
    """Either a launch type or a strategy, as Amazon ECS shows it."""
    return {"capacityProviderStrategy": strategy_in_the_api(strategy)} if strategy else {"launchType": "EXTERNAL"}


def _what_follows(service: Service) -> str:
    """A deployment does not wait for machines that are away."""
    if not service.away_count:
        return ""
    return f" {service.away_count} of its tasks are on disconnected container instances and follow when these return."


def rollout_reason(deployment: Deployment) -> str:
    state = deployment.rollout_state
    return deployment.rollout_reason or f"ECS deployment {deployment.deployment_id} {state.words}."


def _deployment_configuration(configuration: DeploymentConfiguration) -> Described:
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
