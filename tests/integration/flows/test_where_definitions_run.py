"""Which task definitions run on one's own machines, in which network mode, and how the others are refused."""

from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, describe_services
from control_plane.flows.task_definitions import describe_task_definition
from ecs_protocol.messages import TaskCommands
from integration.flows.definitions import refused, register
from world import World


def test_what_no_machine_can_do_yet_is_registered_and_not_run(world: World) -> None:
    world.cluster()
    register(world, container={"resourceRequirements": [{"type": "GPU", "value": "1"}]})
    machine = world.machine()
    answer = run_task(world.cp, {"taskDefinition": "web"})
    assert answer["tasks"] == []
    assert [failure["reason"] for failure in answer["failures"]] == ["ATTRIBUTE"]
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1})
    world.deliver()
    [service] = describe_services(world.cp, {"services": ["web"]})["services"]
    assert any("ATTRIBUTE" in event["message"] for event in service["events"])
    assert world.instance(machine).tasks == 0


def test_an_awsvpc_definition_needs_a_tag_to_run_here(world: World) -> None:
    world.cluster()
    world.machine()
    register(world, networkMode="awsvpc")
    assert refused(world) == {
        (
            "InvalidParameterException",
            "Task definition does not support launch_type EXTERNAL. Its network mode is awsvpc, and machines of your "
            "own have no VPC: register it with the tag ecs-anywhere:external-network-mode = bridge or host, which says "
            "how it runs on them.",
        )
    }


def test_an_awsvpc_definition_runs_here_in_the_mode_that_its_tag_names(world: World) -> None:
    world.cluster()
    machine = world.machine()
    tags = [{"key": "ecs-anywhere:external-network-mode", "value": "host"}]
    made = register(world, networkMode="awsvpc", tags=tags, container={"portMappings": [{"containerPort": 80}]})
    assert made["networkMode"] == "awsvpc"
    assert "externalNetworkMode" not in made
    world.agents.take(machine)
    assert run_task(world.cp, {"taskDefinition": "web"})["tasks"]
    world.deliver()
    [command] = world.agents.take(machine)
    assert isinstance(command, TaskCommands)
    assert command.task_definitions["web:1"]["networkMode"] == "host"
    assert "externalNetworkMode" not in command.task_definitions["web:1"]
    assert world.instance(machine).ports == {"80/tcp"}
    assert describe_task_definition(world.cp, {"taskDefinition": "web"}) == {"taskDefinition": made}


def test_what_runs_on_fargate_only_is_refused_in_amazons_words(world: World) -> None:
    world.cluster()
    sizes: dict[str, Any] = {"cpu": "256", "memory": "512", "ephemeralStorage": {"sizeInGiB": 21}}
    register(
        world, networkMode="awsvpc", tags=[{"key": "ecs-anywhere:external-network-mode", "value": "host"}], **sizes
    )
    assert refused(world) == {("InvalidParameterException", "Task definition does not support launch_type EXTERNAL.")}


def test_a_definitions_placement_constraints_are_binding(world: World) -> None:
    world.cluster()
    world.machine(attributes={"site": "attic"})
    register(world, placementConstraints=[{"type": "memberOf", "expression": "attribute:site == basement"}])
    [failure] = run_task(world.cp, {"taskDefinition": "web"})["failures"]
    assert failure["reason"] == "MemberOf placement constraint unsatisfied."
    basement = world.machine(attributes={"site": "basement"})
    world.pass_time(5)
    [task] = run_task(world.cp, {"taskDefinition": "web"})["tasks"]
    assert task["containerInstanceArn"].endswith(basement)


def test_an_expression_that_cannot_be_read_is_not_registered(world: World) -> None:
    with pytest.raises(InvalidParameterException, match="at character 16, expected an operator"):
        register(world, placementConstraints=[{"type": "memberOf", "expression": "attribute:site = basement"}])
