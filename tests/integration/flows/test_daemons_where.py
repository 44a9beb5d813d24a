"""On which instances a DAEMON service has a task: by capability, constraint, and whatever agent speaks for them."""

import pytest

from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.task_definitions import register_task_definition
from control_plane.store import instance_presence
from ecs_protocol.statuses import TaskStatus
from integration.flows.test_amazon_agents import Agent
from integration.flows.test_daemons import (
    counts,
    create,
    do_as_told,
    fleet,
    on,
    replicas,
    said,
    set_attribute,
    states,
    update,
)
from integration.flows.test_daemons import machines as machines  # noqa: PLC0414 - the fixture
from world import EVERY_CAPABILITY, World

PRIVILEGED = "com.amazonaws.ecs.capability.privileged-container"
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}


def test_a_machine_without_a_capability_lacks_it_like_room(world: World) -> None:
    """It satisfies the constraints, so that it is one of those wanted, as on Amazon ECS; and it delays no other."""
    world.cluster()
    world.task_definition("agent", privileged=True)
    able = world.machine()
    lacking = world.machine(capabilities=[name for name in EVERY_CAPABILITY if name != PRIVILEGED])
    create(world, deploymentConfiguration=BREAKER)
    do_as_told(world, [able])
    assert (fleet(world, [able, lacking]), counts(world)) == ("1r -", (2, 1, 0))
    assert len(said(world, f"(container-instance {lacking}) is missing an attribute required by your task.")) == 1
    world.register(lacking)  # with all of them
    world.deliver()
    do_as_told(world, [lacking])
    assert (fleet(world, [able, lacking]), counts(world)) == ("1r 1r", (2, 2, 0))
    assert states(world) == [("1", 2, "COMPLETED")]


def test_the_constraints_of_the_definition_hold_as_well(world: World, machines: list[str]) -> None:
    machines.sort()
    set_attribute(world, machines[0], "site", "oslo")
    set_attribute(world, machines[1], "site", "rome")
    for site in ("oslo", "rome"):
        register_task_definition(
            world.cp,
            {
                "family": f"of-{site}",
                "containerDefinitions": [{"name": "main", "image": "busybox", "memory": 10}],
                "placementConstraints": [{"type": "memberOf", "expression": f"attribute:site == {site}"}],
                "requiresCompatibilities": ["EXTERNAL"],
            },
        )
    create(world, taskDefinition="of-oslo")
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("1r - -", (1, 1, 0))
    update(world, taskDefinition="of-rome")
    assert (fleet(world, machines), counts(world)) == ("1s 1p -", (1, 0, 1))
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("- 1r -", (1, 1, 0))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        pytest.param("agentConnected == true", "1p 1p 1p", id="presence-says-nothing-about-matching"),
        pytest.param("attribute:site in [oslo, rome]", "1p 1p -", id="a-list"),
        pytest.param("attribute:site exists and not(attribute:site == oslo)", "- 1p -", id="what-is-not-so"),
        pytest.param("agentVersion >= 2.0.0", "- - -", id="the-version-of-its-agent"),
    ],
)
def test_the_query_language(world: World, machines: list[str], expression: str, expected: str) -> None:
    machines.sort()
    set_attribute(world, machines[0], "site", "oslo")
    set_attribute(world, machines[1], "site", "rome")
    create(world, placementConstraints=[{"type": "memberOf", "expression": expression}])
    assert fleet(world, machines) == expected


def test_an_instance_of_amazons_own_agent_gets_its_task_when_the_agent_connects(world: World) -> None:
    """It registers before it does, and its place is kept: replicas go first nowhere."""
    world.cluster()
    world.task_definition("agent", memory=100, cpu=100)
    create(world)
    replicas(world, 1)
    agent = Agent(world)
    agent.register()
    world.deliver()
    instance_id = agent.own.instance_id
    assert (on(world, instance_id), counts(world)) == ([], (0, 0, 0)), "it cannot be told yet"
    world.table.commit([instance_presence.heard(world.instance(instance_id), world.now)])
    world.deliver()
    [task] = on(world, instance_id)
    assert (counts(world), on(world, instance_id, "web") != []) == ((1, 0, 1), True)
    arn = world.cp.arns.task("default", task.task_id)
    agent.submit(arn, "RUNNING", {"containerName": "main", "status": "RUNNING"})
    world.deliver()
    assert (counts(world), states(world)) == ((1, 1, 0), [("1", 1, "COMPLETED")])
    assert on(world, instance_id)[0].last_status is TaskStatus.RUNNING


def test_run_task_and_start_task_wait_for_no_daemon(world: World) -> None:
    """Those who ask for a task of no service have it at once."""
    world.cluster()
    world.task_definition("agent", memory=100, cpu=100)
    create(world)
    machine = world.machine(memory=100)
    assert world.instance(machine).daemons_due == {"agent"}
    assert len(run_task(world.cp, {"taskDefinition": "agent"})["tasks"]) == 1
    failures = start_task(world.cp, {"taskDefinition": "agent", "containerInstances": [machine]})["failures"]
    assert [each["reason"] for each in failures] == ["RESOURCE:MEMORY"]
