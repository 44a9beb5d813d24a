"""What Describe calls have in common: each resource once, in the order asked, and what is unknown under failures."""

from typing import Any

import pytest

from contract.conftest import Client
from world import World

MISSING = "0" * 32


@pytest.fixture
def names(client: Client, world: World) -> dict[str, list[str]]:
    """Three ARNs of each kind."""
    for name in ("default", "edge", "core"):
        world.cluster(name)
    world.task_definition()
    machines = [world.machine() for _ in range(3)]
    for name in "abc":
        client.ecs.create_service(serviceName=name, taskDefinition="web", desiredCount=0)
    return {
        "clusters": [world.cp.arns.cluster(name) for name in ("edge", "default", "core")],
        "containerInstances": [world.cp.arns.container_instance("default", each) for each in machines],
        "services": [world.cp.arns.service("default", name) for name in "cab"],
        "tasks": [task["taskArn"] for task in client.ecs.run_task(taskDefinition="web", count=3)["tasks"]],
    }


CASES = [
    pytest.param("describe_clusters", "clusters", "clusterArn", 100, id="clusters"),
    pytest.param("describe_container_instances", "containerInstances", "containerInstanceArn", 100, id="instances"),
    pytest.param("describe_services", "services", "serviceArn", 10, id="services"),
    pytest.param("describe_tasks", "tasks", "taskArn", 100, id="tasks"),
]


@pytest.mark.parametrize(("operation", "member", "arn", "most"), CASES)
def test_each_once_in_the_order_asked(
    client: Client, names: dict[str, list[str]], *, operation: str, member: str, arn: str, most: int
) -> None:
    first, second, third = names[member]
    unknown = first.rpartition("/")[0] + "/" + MISSING

    def described(*asked: str) -> tuple[list[str], list[dict[str, Any]]]:
        answer = getattr(client.ecs, operation)(**{member: asked})
        return [each[arn] for each in answer[member]], answer["failures"]

    short = third.rpartition("/")[2]
    assert described(third, unknown, first, short, MISSING, third, second) == (
        [third, first, second],
        [{"arn": unknown, "reason": "MISSING"}],
    )
    assert described(*[first] * (most - 1), MISSING) == ([first], [{"arn": unknown, "reason": "MISSING"}])
    with pytest.raises(client.ecs.exceptions.InvalidParameterException, match=f"should be between . and {most}"):
        described(*[first] * (most + 1))
