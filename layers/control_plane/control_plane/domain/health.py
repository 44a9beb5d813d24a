"""What a task's health is: only essential containers with a health check have a say.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.task import Task
from ecs_protocol.statuses import HealthStatus


def checked_containers(definition: Mapping[str, Any]) -> frozenset[str]:
    """Names of a task definition's essential containers that have a health check."""
    return frozenset(
        container["name"]
        for container in definition["containerDefinitions"]
        if container.get("essential", True)
        and (command := (container.get("healthCheck") or {}).get("command"))
        and command[0] != "NONE"
    )


def task_health(task: Task, checked: frozenset[str]) -> HealthStatus:
    """UNHEALTHY if any of them is, HEALTHY if all are, else UNKNOWN, as where there are none."""
    reported = {report.name: report.health_status for report in task.containers}
    found = {reported.get(name, HealthStatus.UNKNOWN) for name in checked}
    if HealthStatus.UNHEALTHY in found:
        return HealthStatus.UNHEALTHY
    return HealthStatus.HEALTHY if found == {HealthStatus.HEALTHY} else HealthStatus.UNKNOWN
