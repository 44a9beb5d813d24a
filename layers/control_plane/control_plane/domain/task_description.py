"""Tasks as the ECS API describes them, and as its events carry them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.arns import Arns
from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.description import Described, present
from control_plane.domain.health import checked_containers, task_health
from control_plane.domain.tags import in_the_api
from control_plane.domain.task import Task
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import TaskStatus

CPU_ARCHITECTURE = "ecs.cpu-architecture"


def describe_task(
    task: Task,
    definition: Mapping[str, Any],
    arns: Arns,
    *,
    instance: ContainerInstance | None = None,
    with_tags: bool = False,
) -> Described:
    """`instance` is its own; None where that is not known, as in events and in the answer of RunTask."""
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
            **_connectivity(task, instance),
            "healthStatus": str(task_health(task, checked_containers(definition))),
            "cpu": str(task.cpu),
            "memory": str(task.memory),
            "containers": _containers(task, definition, arns),
            "overrides": _overrides(task, definition),
            "attachments": [],
            "attributes": _task_attributes(task, instance),
            "enableExecuteCommand": bool(task.execute_command),
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


def _connectivity(task: Task, instance: ContainerInstance | None) -> Described:
    """Of a task that has not stopped: that of its instance, and when it last became CONNECTED, while it is."""
    if instance is None or task.stopped:
        return {}
    if not instance.agent_connected:
        return {"connectivity": "DISCONNECTED"}
    since = max(task.created_at, instance.connection_changed_at or task.created_at)
    return {"connectivity": "CONNECTED", "connectivityAt": since}


def _overrides(task: Task, definition: Mapping[str, Any]) -> Described:
    """As they were sent; a container that has none is named."""
    given = task.overrides.get("containerOverrides", [])
    named = {each["name"] for each in given}
    others = [{"name": each["name"]} for each in definition["containerDefinitions"] if each["name"] not in named]
    return {"inferenceAcceleratorOverrides": [], **task.overrides, "containerOverrides": [*given, *others]}


def _task_attributes(task: Task, instance: ContainerInstance | None) -> list[Described]:
    """What it runs on, and what its machine did while it was cut off."""
    architecture = instance.attributes.get(CPU_ARCHITECTURE) if instance else None
    runs_on = [{"name": CPU_ARCHITECTURE, "value": architecture}] if architecture else []
    if task.restarts is None:
        return runs_on
    codes = ",".join(f"{name}={code}" for name, code in sorted(task.restarts.exit_codes.items()))
    return [
        *runs_on,
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
                    "networkBindings": [binding.described() for binding in report.network_bindings],
                    "networkInterfaces": [],
                    "managedAgents": _managed_agents(task, status) if task.execute_command else None,
                    "healthStatus": str(report.health_status),
                    "cpu": str(each.get("cpu", 0)),
                    "memory": str(each["memory"]) if "memory" in each else None,
                    "memoryReservation": str(each["memoryReservation"]) if "memoryReservation" in each else None,
                    "gpuIds": list(task.gpu_ids[each["name"]]) if task.gpu_ids.get(each["name"]) else None,
                }
            )
        )
    return described


def _managed_agents(task: Task, status: TaskStatus) -> list[Described]:
    """Our agent is what runs commands in a container: it is there while the container is.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ManagedAgent.html
    """
    agent_status = status if status in {TaskStatus.RUNNING, TaskStatus.STOPPED} else TaskStatus.PENDING
    since = task.started_at if status is TaskStatus.RUNNING else None
    return [present({"name": "ExecuteCommandAgent", "lastStatus": str(agent_status), "lastStartedAt": since})]


def is_pending(task: Task) -> bool:
    return task.last_status in {TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING}


def describe_protection(task: Task, arns: Arns, now: datetime) -> Described:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ProtectedTask.html"""
    enabled = task.protected(now)
    return present(
        {
            "taskArn": arns.task(task.cluster, task.task_id),
            "protectionEnabled": enabled,
            "expirationDate": task.protected_until if enabled else None,
        }
    )
