"""Whatever Amazon's model lets through is answered, or refused in Amazon's words: no request is a fault of ours."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from functions.api_ecs.app import OPERATIONS, carry_out

from control_plane.domain.errors import EcsError
from control_plane.domain.supported_members import SUPPORTED
from control_plane.gateways.ecs_model import service_model
from world import World

REQUESTS = 250
NUMBERS = (0, 1, 1, 2, 10, 64, 100, 128, -1, 2**31 - 1)
ODD_TEXTS = (
    *("", ":", "/", "a/b", "arn:", "arn:aws:ecs", "web:0", "web:²", "web:1:2", f"web:{'9' * 20}", "é", "\0"),
    *("x" * 300, "x" * 3000, "0" * 32, "AAAA", "e30=", "eyJhIjoxfQ==", "*", "a b", "😀"),
)
TEXTS = (
    *("default", "web", "web:1", "svc", "main", "512", "1 GB", "busybox", "family:web", "site", "instanceId", "memory"),
    *("sets", "EXTERNAL", "enabled"),
    *("attribute:site exists", "not(task:group =~ 'family:(web)+')", "attribute:site =~ (a", "attribute:site"),
)


def inhabited(world: World) -> tuple[str, ...]:
    """Make one of each thing; answers the names and ARNs by which a request may find them."""
    world.cluster()
    instance = world.machine(cpu=100_000, memory=100_000)
    world.task_definition("web")
    task = OPERATIONS["RunTask"](world.cp, {"taskDefinition": "web"})["tasks"][0]
    service = OPERATIONS["CreateService"](world.cp, {"serviceName": "svc", "taskDefinition": "web"})["service"]
    OPERATIONS["CreateService"](world.cp, {"serviceName": "sets", "deploymentController": {"type": "EXTERNAL"}})
    request = {"cluster": "default", "service": "sets", "taskDefinition": "web"}
    task_set = OPERATIONS["CreateTaskSet"](world.cp, request)["taskSet"]
    world.deliver()
    own = (service["currentServiceDeployment"], service["currentServiceRevisions"][0]["arn"], task_set["taskSetArn"])
    arns = (*own, task["taskArn"], task["clusterArn"], task["containerInstanceArn"], task["taskDefinitionArn"])
    return (*arns, instance, service["serviceArn"], *TEXTS, *ODD_TEXTS)


class Imagination:
    """Makes requests of a shape."""

    def __init__(self, seed: int, texts: tuple[str, ...]) -> None:
        self._random = random.Random(seed)
        self._texts = texts

    def operation(self) -> str:
        return self._random.choice(sorted(OPERATIONS))

    def request(self, operation: str) -> dict[str, Any]:
        """Mostly of what is supported: the rest is refused before it could do harm."""
        shape: Any = service_model().operation_model(operation).input_shape
        made: dict[str, Any] = self._value(shape)
        supported = SUPPORTED[operation]
        if "*" in supported or self._random.random() < 0.1:
            return made
        return {name: value for name, value in made.items() if name in supported}

    def _value(self, shape: Shape) -> Any:
        pick = self._random
        if isinstance(shape, StructureShape):
            required = set(shape.required_members)
            chance: Callable[[str], float] = lambda name: 0.95 if name in required else 0.3  # noqa: E731
            return {name: self._value(member) for name, member in shape.members.items() if pick.random() < chance(name)}
        if isinstance(shape, ListShape):
            return [self._value(shape.member) for _ in range(pick.choice((0, 1, 1, 1, 2, 3)))]
        if isinstance(shape, MapShape):
            return {pick.choice(self._texts): self._value(shape.value) for _ in range(pick.choice((0, 1, 2)))}
        if isinstance(shape, StringShape):
            return pick.choice(tuple(shape.enum) or self._texts)
        return pick.random() < 0.5 if shape.type_name == "boolean" else pick.choice(NUMBERS)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_request_is_a_fault_of_ours(world: World, seed: int) -> None:
    imagination = Imagination(seed, inhabited(world))
    outcomes: Counter[str] = Counter()
    for _ in range(REQUESTS):
        operation = imagination.operation()
        request = imagination.request(operation)
        try:
            carry_out(world.cp, operation, json.dumps(request).encode())
            outcomes["answered"] += 1
        except EcsError as refusal:
            outcomes["refused"] += 1
            if refusal.status >= 500:
                pytest.fail(f"{operation} {request}: {refusal.code} {refusal.message}")
    assert outcomes["answered"] > REQUESTS // 10
    assert outcomes["refused"] > REQUESTS // 10
