"""Container instances as the ECS API describes them, and as its events carry them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html
"""

from collections.abc import Sequence

from control_plane.domain.arns import Arns
from control_plane.domain.attributes import described_attributes
from control_plane.domain.container_instance import ContainerInstance, Registration
from control_plane.domain.description import Described, present
from control_plane.domain.gpus import free_gpus
from control_plane.domain.tags import in_the_api
from control_plane.domain.task import Task
from control_plane.domain.task_description import is_pending
from ecs_protocol.statuses import TaskStatus


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
                "agentVersion": registration.agent_version or None,
                "dockerVersion": f"DockerVersion: {registration.docker_version}"
                if registration.docker_version
                else None,
            }
        ),
        "remainingResources": _resources(
            instance.cpu, instance.memory, sorted(instance.ports | instance.reserved_ports)
        )
        + _gpus(instance, free_gpus(instance)),
        "registeredResources": _resources(
            registration.cpu,
            registration.memory,
            sorted(f"{port.port}/{port.protocol}" for port in registration.ports_in_use),
        )
        + _gpus(instance, sorted(registration.gpu_ids)),
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
    """What is known of it is whether its agent is connected, and that of one machine.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstanceHealthStatus.html
    """
    reason = None if instance.agent_connected else "The agent is not connected."
    if instance.duplicate_found_at is not None:
        reason = "Two machines use its identity: see ecs-anywhere duplicates."
    status = "IMPAIRED" if reason else "OK"
    connectivity = {
        "type": "AGENT_CONNECTIVITY",
        "status": status,
        "statusReason": reason,
        "lastUpdated": instance.updated_at,
        "lastStatusChange": instance.connection_changed_at,
    }
    return {"overallStatus": status, "details": [present(connectivity)]}


def _resources(cpu: int, memory: int, ports: Sequence[str]) -> list[Described]:
    def integer(name: str, value: int) -> Described:
        return {"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": value}

    def numbers(protocol: str) -> list[str]:
        return sorted((port.split("/")[0] for port in ports if port.endswith(f"/{protocol}")), key=int)

    return [
        integer("CPU", cpu),
        integer("MEMORY", memory),
        _strings("PORTS", numbers("tcp")),
        _strings("PORTS_UDP", numbers("udp")),
    ]


def _gpus(instance: ContainerInstance, gpu_ids: Sequence[str]) -> list[Described]:
    """Only of an instance that has some."""
    return [_strings("GPU", gpu_ids)] if instance.gpus else []


def _strings(name: str, values: Sequence[str]) -> Described:
    return {
        "name": name,
        "type": "STRINGSET",
        "doubleValue": 0.0,
        "longValue": 0,
        "integerValue": 0,
        "stringSetValue": list(values),
    }
