"""A DAEMON service and machines that are away: what becomes of a task there is decided once its machine is back."""

from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.services import delete_service
from ecs_protocol.statuses import HealthStatus
from integration.flows.test_daemons import (
    counts,
    create,
    do_as_told,
    fleet,
    on,
    running,
    said,
    set_attribute,
    set_status,
    states,
    update,
)
from integration.flows.test_daemons import machines as machines  # noqa: PLC0414 - the fixture
from world import World

OSLO = {"type": "memberOf", "expression": "attribute:site == oslo"}


def test_drained_while_it_is_away_it_loses_its_task_when_it_is_back(world: World, machines: list[str]) -> None:
    running(world, machines)
    world.disconnects(machines[0])
    set_status(world, "DRAINING", machines[0])
    assert (fleet(world, machines), counts(world)) == ("1r 1r 1r", (2, 2, 0))
    world.connects(machines[0])
    assert (fleet(world, machines), counts(world)) == ("1s 1r 1r", (2, 2, 0))


def test_drained_and_active_again_while_it_is_away_it_keeps_its_task(world: World, machines: list[str]) -> None:
    running(world, machines)
    [task] = on(world, machines[0])
    world.disconnects(machines[0])
    set_status(world, "DRAINING", machines[0])
    set_status(world, "ACTIVE", machines[0])
    assert counts(world) == (3, 3, 0)
    world.connects(machines[0])
    assert (fleet(world, machines), counts(world)) == ("1r 1r 1r", (3, 3, 0))
    assert on(world, machines[0])[0].task_id == task.task_id


def test_what_stops_matching_by_other_constraints_hears_of_it_when_it_is_back(
    world: World, machines: list[str]
) -> None:
    """Nothing of the instance has changed, and nobody names it but what the service has left there."""
    for machine in machines[1:]:
        set_attribute(world, machine, "site", "oslo")
    running(world, machines)
    world.disconnects(machines[0])
    update(world, placementConstraints=[OSLO])
    assert (fleet(world, machines), counts(world)) == ("1r 1r 1r", (2, 2, 0))
    assert states(world)[0][2] == "COMPLETED", "nobody waits for it"
    world.connects(machines[0])
    assert fleet(world, machines) == "1s 1r 1r"
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("- 1r 1r", (2, 2, 0))
    assert not world.instance(machines[0]).daemons_due


def test_a_deployment_does_not_wait_for_the_health_of_a_task_whose_machine_goes_away(world: World) -> None:
    world.cluster()
    world.task_definition("agent", healthCheck={"command": ["CMD", "true"]})
    machines = [world.machine() for _ in range(2)]
    create(world)
    do_as_told(world, machines[:1], health=HealthStatus.HEALTHY)
    do_as_told(world, machines[1:], health=HealthStatus.UNKNOWN)
    assert states(world) == [("1", 2, "IN_PROGRESS")]
    world.disconnects(machines[1])
    assert states(world) == [("1", 2, "COMPLETED")]
    assert len(said(world, "has reached a steady state.")) == 1


def test_a_deployment_goes_on_to_the_next_machine_where_the_one_it_waits_for_goes_away(
    world: World, machines: list[str]
) -> None:
    """A task of the former revision there counts, and one that was told to stop does not."""
    machines.sort()
    running(world, machines, deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 100})
    world.task_definition("agent", memory=100, cpu=100)
    update(world, taskDefinition="agent:2")
    assert fleet(world, machines) == "1s 1r 1r"
    world.disconnects(machines[0])
    assert fleet(world, machines) == "1s 1s 1r", "of the two that can be reached one may be down"
    for _ in range(4):
        do_as_told(world, machines[1:])
    assert (fleet(world, machines), states(world)) == ("1s 2r 2r", [("2", 2, "COMPLETED")])
    world.connects(machines[0])
    for _ in range(2):
        do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("2r 2r 2r", (3, 3, 0))


def test_a_deleted_service_tells_machines_that_are_away_to_stop(world: World, machines: list[str]) -> None:
    """There is nothing left that could be decided otherwise."""
    running(world, machines)
    world.disconnects(machines[0])
    set_status(world, "DRAINING", machines[0])
    delete_service(world.cp, {"service": "agent"})
    world.deliver()
    assert fleet(world, machines) == "1s 1s 1s"


def test_one_without_room_or_whose_start_waits_is_no_shortfall_once_it_is_away_or_gone(
    world: World, machines: list[str]
) -> None:
    """No task of the service is there, whose machine would be heard of: its name on the instance is what wakes it."""
    full, failing, gone = world.machine(memory=10), world.machine(), world.machine(memory=10)
    create(world)
    do_as_told(world, machines)
    for _ in range(3):
        do_as_told(world, [failing], failing="agent:1")
    assert (fleet(world, [full, failing, gone]), counts(world)) == ("- - -", (6, 3, 0))
    world.disconnects(full)
    assert counts(world) == (5, 3, 0)
    deregister_container_instance(world.cp, {"containerInstance": gone})
    world.deliver()
    assert (counts(world), states(world)) == ((4, 3, 0), [("1", 3, "IN_PROGRESS")])
    world.disconnects(failing)
    assert (counts(world), states(world)) == ((3, 3, 0), [("1", 3, "COMPLETED")])
    world.connects(full)
    world.connects(failing)
    assert counts(world) == (5, 3, 1)
