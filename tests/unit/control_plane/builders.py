"""Values with defaults, so that a test names only what it is about."""

from datetime import UTC, datetime
from typing import Any

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.placement.place import Candidate
from control_plane.domain.service import Deployment, Service
from control_plane.domain.task import Task
from ecs_protocol.messages import TaskReport
from ecs_protocol.statuses import TaskStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_task(number: int = 1, **members: Any) -> Task:
    defaults: dict[str, Any] = {
        "task_id": f"{number:032x}",
        "cluster": "default",
        "instance_id": "a" * 32,
        "registration": 1,
        "task_definition": "web:1",
        "group": "family:web",
        "cpu": 128,
        "memory": 64,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Task(**{**defaults, **members})


def a_report(task: Task, number: int, status: TaskStatus = TaskStatus.RUNNING, **members: Any) -> TaskReport:
    defaults: dict[str, Any] = {"task_id": task.task_id, "epoch": 1, "number": number, "last_status": status}
    return TaskReport(**{**defaults, **members})


def an_instance(name: str = "a", **members: Any) -> ContainerInstance:
    defaults: dict[str, Any] = {
        "instance_id": name * 32,
        "cluster": "default",
        "registration": 1,
        "version": 1,
        "cpu": 1024,
        "memory": 1024,
        "capabilities": "digest",
        "agent_connected": True,
        "updated_at": NOW,
    }
    return ContainerInstance(**{**defaults, **members})


def a_candidate(name: str = "a", *, capabilities: frozenset[str] = frozenset(), **members: Any) -> Candidate:
    return Candidate(an_instance(name, **members), capabilities)


def a_service(**members: Any) -> Service:
    deployment = Deployment(deployment_id="ecs-svc/1", task_definition="web:1", created_at=NOW, updated_at=NOW)
    defaults: dict[str, Any] = {
        "name": "web",
        "cluster": "default",
        "desired_count": 2,
        "task_definition": "web:1",
        "deployment": deployment,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Service(**{**defaults, **members})
