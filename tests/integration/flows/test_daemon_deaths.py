"""The scheduler dies at any call to the table, again and again, and the stream never tells: a DAEMON service's tasks,
its lines and its counts fit all the same, and in the end it is where it should be. So do things that happen at once."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.scheduling.daemon_line import total
from control_plane.flows.container_instances import update_container_instances_state
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import delete_service, update_service
from control_plane.store import daemons, services
from control_plane.store.table import Table
from integration.flows.test_daemons import counts, create, described, do_as_told, fleet, on, running, states
from integration.flows.test_daemons import machines as machines  # noqa: PLC0414 - the fixture
from integration.flows.test_delete_cluster import Dying
from world import World


def deploys(world: World, _machines: Sequence[str]) -> None:
    update_service(world.cp, {"service": "agent", "forceNewDeployment": True})


def deploys_by_halves(world: World, machines: Sequence[str]) -> None:
    half = {"deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 100}}
    update_service(world.cp, {"service": "agent", **half})
    deploys(world, machines)


def drains(world: World, machines: Sequence[str]) -> None:
    update_container_instances_state(world.cp, {"containerInstances": [machines[0]], "status": "DRAINING"})


def ends(world: World, _machines: Sequence[str]) -> None:
    delete_service(world.cp, {"service": "agent"})


def dies_and_dies(world: World, keys: Sequence[ServiceKey], machines: Sequence[str]) -> int:
    """Answers how often it died before it had nothing left to do."""
    for calls in range(100):
        function = world.function()
        function.table = Table(Dying(world.table._client, calls), world.table.name)
        failed = schedule_services(function, keys)
        fits(world, machines)
        if not failed:
            return calls
    raise AssertionError("it never gets through")


def fits(world: World, machines: Sequence[str]) -> None:
    service = services.load(world.table, "default", "agent")
    assert service is not None
    lines = daemons.lines_of(world.table, service)
    assert dict(total(lines.values())) == (service.tally or {})
    for machine in machines:
        here = [task.task_id for task in on(world, machine)]
        assert len(here) <= 1
        assert here == [] or lines[machine].task_id == here[0]


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        pytest.param(deploys, ("1r 1r 1r", (3, 3, 0)), id="a-deployment"),
        pytest.param(deploys_by_halves, ("1r 1r 1r", (3, 3, 0)), id="a-deployment-within-bounds"),
        pytest.param(drains, ("- 1r 1r", (2, 2, 0)), id="an-instance-is-drained"),
        pytest.param(ends, ("- - -", (0, 0, 0)), id="the-service-is-deleted"),
    ],
)
def test_wherever_it_dies_it_ends_where_it_should(
    world: World,
    machines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[World, Sequence[str]], None],
    expected: tuple[str, tuple[int, int, int]],
) -> None:
    monkeypatch.setattr("control_plane.flows.schedule_daemon.CHUNK", 1)
    machines.sort()
    running(world, machines)
    happens(world, machines)
    world.table.stream.clear()
    everything: list[Any] = [ServiceKey("default", "agent")]
    assert dies_and_dies(world, everything, machines) >= 5
    for _ in range(8):
        do_as_told(world, machines)
        world.table.stream.clear()
        dies_and_dies(world, [ServiceKey("default", "agent", machine) for machine in machines], machines)
    assert (fleet(world, machines), counts(world)) == expected
    if happens is ends:
        assert described(world)["status"] == "INACTIVE"
    else:
        assert states(world) == [("1", expected[1][0], "COMPLETED")]


def test_what_dies_in_the_middle_is_gone_on_with_by_the_sweeper(
    world: World, machines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message comes again: half of a look at all must not count as all of it."""
    monkeypatch.setattr("control_plane.flows.schedule_daemon.CHUNK", 1)
    create(world)
    world.table.stream.clear()
    for machine in machines:
        do_as_told(world, [machine])
    deploys(world, machines)
    world.table.stream.clear()
    for calls in range(100):
        function = world.function()
        function.table = Table(Dying(world.table._client, calls), world.table.name)
        schedule_services(function, [ServiceKey("default", "agent")])
        if "1s" in fleet(world, machines):
            break
    assert fleet(world, machines).split().count("1s") == 1, "it has died after the first of three transactions"
    world.minutes(2)
    assert fleet(world, machines) == "1s 1s 1s"


def test_what_one_run_does_not_finish_a_message_to_itself_does(
    world: World, machines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.flows.schedule_daemon.CHUNK", 1)
    monkeypatch.setattr("control_plane.flows.schedule_daemon.MAX_CHUNKS", 2)
    running(world, machines)
    deploys(world, machines)
    world.table.stream.clear()
    schedule_services(world.cp, [ServiceKey("default", "agent")])
    assert fleet(world, machines).split().count("1s") == 2
    assert [key for key, _ in world.queues.services] == [ServiceKey("default", "agent")]
    world.table.stream.clear()
    world.deliver()
    assert fleet(world, machines) == "1s 1s 1s"


class Meanwhile:
    """A boto3 client before whose first transaction something else happens."""

    def __init__(self, client: Any, happens: Callable[[], object]) -> None:
        self._client = client
        self._happening = [happens]

    def __getattr__(self, name: str) -> Any:
        if name == "transact_write_items" and self._happening:
            self._happening.pop()()
        return getattr(self._client, name)


def test_a_machine_that_joins_while_the_service_is_created_is_not_forgotten(world: World) -> None:
    """It has read its cluster before the service was in it; the service has read the cluster before it was there."""
    world.cluster()
    world.task_definition("agent", memory=100, cpu=100)
    world.machine()  # whose shard of keys is known
    joined = world.identity()
    registering, other = world.function(), world.cp

    def creates() -> None:
        world.cp = other
        create(world)

    registering.table = Table(Meanwhile(world.table._client, creates), world.table.name)
    world.cp = registering
    world.register(joined)
    assert (fleet(world, [joined]), counts(world)) == ("-", (1, 0, 1))
    assert not world.instance(joined).daemons_due
    world.minutes(2)
    assert (fleet(world, [joined]), counts(world)) == ("1p", (2, 0, 2))
