"""Task definitions as a user registers them, and how they are refused."""

from typing import Any

import pytest

from control_plane.domain.errors import EcsError
from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.services import create_service
from control_plane.flows.task_definitions import register_task_definition
from world import World


def register(world: World, family: str = "web", **members: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "memory": 64, **members.pop("container", {})}
    answer = register_task_definition(world.cp, {"family": family, "containerDefinitions": [container], **members})
    made: dict[str, Any] = answer["taskDefinition"]
    return made


def refused(world: World, name: str = "web:1") -> set[tuple[str, str]]:
    """How RunTask, StartTask and CreateService refuse a definition."""
    errors = set()
    for operation, request in (
        (run_task, {}),
        (start_task, {"containerInstances": ["0" * 32]}),
        (create_service, {"serviceName": "web"}),
    ):
        with pytest.raises(EcsError) as raised:
            operation(world.cp, {"taskDefinition": name, **request})
        errors.add((raised.value.code, raised.value.message))
    return errors
