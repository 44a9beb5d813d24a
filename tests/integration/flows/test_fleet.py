"""What a warm function remembers of a large cluster is what is there, and refreshing it costs what has changed."""

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.fleet_change import OF_NO_PLACEMENT, Change
from control_plane.flows import follow_fleets
from control_plane.flows.attributes import delete_attributes, put_attributes
from control_plane.flows.container_instances import deregister_container_instance, update_container_instances_state
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, fleet_changes, fleet_snapshots, instances, keys
from control_plane.store.fleet import FLEET_AGE
from control_plane.store.keys import INSTANCE_SHARDS
from ecs_protocol.statuses import TaskStatus
from integration.flows.capacity import Meter
from integration.flows.test_absence import running_service, to_run
from world import World


def large(world: World) -> World:
    """A cluster that counts as large, in which all changes are logged."""
    world.cluster()
    for shard in range(INSTANCE_SHARDS):
        world.table.commit([clusters.holds_instances_in("default", shard)])
    assert world.cp.followed_clusters.follows("default", world.now)
    world.pass_time(fleet_changes.SETTLING.total_seconds())
    return world


def whole_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A cluster's name for each time that all its instances are read, from now on."""
    read: list[str] = []
    of_cluster = instances.of_cluster

    def counted(table: Any, cluster: str, shards: Any, **options: Any) -> Any:
        read.append(cluster)
        return of_cluster(table, cluster, shards, **options)

    monkeypatch.setattr(instances, "of_cluster", counted)
    return read


@pytest.fixture
def fleet(world: World) -> World:
    return large(world)


def seen(cp: ControlPlane, world: World, *, fresh: bool = False) -> dict[str, dict[str, Any]]:
    """All that placement looks at, of each instance that may come in question."""
    return {
        each.instance.instance_id: each.instance.model_dump(exclude=set(OF_NO_PLACEMENT))
        for each in cp.fleet.candidates("default", world.now, fresh=fresh)
        if each.instance.status != "INACTIVE"
    }


def truth(world: World) -> dict[str, dict[str, Any]]:
    return seen(world.function(), world, fresh=True)


def a_task_runs_and_stops(world: World) -> None:
    task = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]
    task_id, instance_id = task["taskArn"][-32:], task["containerInstanceArn"][-32:]
    world.deliver()
    world.report(world.report_of(task_id, TaskStatus.STOPPED, 1), instance_id=instance_id)


CHANGES: dict[str, Callable[[World, str], object]] = {
    "a task was placed": lambda world, _: run_task(world.function(), {"taskDefinition": "web"}),
    "a task has run and stopped": lambda world, _: a_task_runs_and_stops(world),
    "an instance has joined": lambda world, _: world.machine(),
    "one has registered again": lambda world, machine: world.register(machine, cpu=4096, ports=[443]),
    "one was cut off": lambda world, machine: world.disconnects(machine),
    "one is to be emptied": lambda world, machine: update_container_instances_state(
        world.cp, {"containerInstances": [machine], "status": "DRAINING"}
    ),
    "one has another attribute": lambda world, machine: put_attributes(
        world.cp,
        {"attributes": [{"name": "rack", "value": "7", "targetType": "container-instance", "targetId": machine}]},
    ),
    "one has lost an attribute": lambda world, machine: delete_attributes(
        world.cp, {"attributes": [{"name": "site", "targetType": "container-instance", "targetId": machine}]}
    ),
    "one is gone": lambda world, machine: deregister_container_instance(
        world.cp, {"containerInstance": machine, "force": True}
    ),
    "a daemon is to run on all": lambda world, _: create_service(
        world.cp, {"serviceName": "logs", "taskDefinition": "web", "schedulingStrategy": "DAEMON"}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whoever_remembers_the_fleet_sees_what_has_changed(
    fleet: World, change: Callable[[World, str], object]
) -> None:
    fleet.task_definition("web")
    machines = [fleet.machine(attributes={"site": "north"}) for _ in range(5)]
    fleet.deliver()
    warm = fleet.function()
    assert seen(warm, fleet) == truth(fleet)
    change(fleet, machines[0])
    fleet.deliver()
    fleet.pass_time(FLEET_AGE.total_seconds())
    assert seen(warm, fleet) == truth(fleet)
    assert seen(fleet.function(), fleet) == truth(fleet), "from the snapshot, and what has changed since"


def test_a_batch_of_the_stream_that_comes_twice_or_late_says_nothing_new(fleet: World) -> None:
    fleet.task_definition("web")
    fleet.machine()
    warm = fleet.function()
    seen(warm, fleet)
    batches = []
    for _ in range(3):
        run_task(fleet.function(), {"taskDefinition": "web"})
        batches.append([*fleet.table.stream])
        fleet.deliver()
    for order in itertools.permutations(batches):
        for batch in order:
            follow_fleets.follow_fleets(fleet.cp, batch)
        fleet.pass_time(FLEET_AGE.total_seconds())
        assert seen(warm, fleet) == truth(fleet)


def test_what_the_log_has_missed_is_found_with_the_next_snapshot(fleet: World) -> None:
    fleet.task_definition("web")
    fleet.machine()
    fleet.deliver()
    warm = fleet.function()
    seen(warm, fleet)
    run_task(fleet.cp, {"taskDefinition": "web"})
    fleet.table.stream.clear()
    fleet.pass_time(FLEET_AGE.total_seconds())
    assert seen(warm, fleet) != truth(fleet)
    fleet.pass_time(fleet_snapshots.OLD.total_seconds())
    fleet.machine()
    fleet.deliver()
    assert seen(warm, fleet) == truth(fleet)


def test_an_absence_that_the_log_has_missed_is_no_reason_to_replace_what_a_whole_site_had(fleet: World) -> None:
    """That all machines of a site vanish together usually means that they cannot be heard."""
    fleet.task_definition("web")
    north = [fleet.machine(attributes={"site": "north"}) for _ in range(4)]
    running_service(fleet, north, "replace-after=60s", desired=4)
    south = [fleet.machine(attributes={"site": "south"}) for _ in range(8)]
    fleet.deliver()
    for number, machine in enumerate(north):
        fleet.silent.add(machine)
        fleet.presence(machine, "disconnected")
        if number == 0:
            fleet.table.stream.clear()
        fleet.deliver()
    fleet.minutes(10)
    assert not to_run(fleet, *south)


def test_a_stale_choice_is_made_again(fleet: World) -> None:
    """Others have filled the best instance, and nobody has heard of it yet."""
    fleet.task_definition("web", memory=900)
    machines = {fleet.machine(memory=1000) for _ in range(2)}
    one, other = fleet.function(), fleet.function()
    seen(one, fleet), seen(other, fleet)
    placed = [run_task(cp, {"taskDefinition": "web"})["tasks"][0]["containerInstanceArn"][-32:] for cp in (one, other)]
    assert set(placed) == machines
    assert run_task(one, {"taskDefinition": "web"})["failures"][0]["reason"] == "RESOURCE:MEMORY"


def test_changes_of_a_small_cluster_are_not_logged(world: World) -> None:
    world.cluster()
    world.task_definition("web")
    world.machine()
    run_task(world.cp, {"taskDefinition": "web"})
    world.deliver()
    assert not [item for each in keys.changes_since("default", world.now) for item in world.table.query(each.pk)]


def test_nobody_relies_on_a_log_that_not_all_write_yet(world: World) -> None:
    """A function of the stream goes for a minute by what the cluster was."""
    world.cluster()
    world.task_definition("web")
    world.machine()
    late = world.function()
    assert not late.followed_clusters.follows("default", world.now)
    for shard in range(INSTANCE_SHARDS):
        world.table.commit([clusters.holds_instances_in("default", shard)])
    assert world.function().followed_clusters.follows("default", world.now)
    warm = world.function()
    seen(warm, world)
    run_task(world.function(), {"taskDefinition": "web"})
    follow_fleets.follow_fleets(late, world.table.stream)
    world.pass_time(FLEET_AGE.total_seconds())
    assert seen(warm, world) == truth(world)


def test_a_refusal_rests_on_every_instance_read_once_in_five_seconds(
    fleet: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are refused meanwhile; and what is logged in these seconds counts."""
    fleet.task_definition("web", memory=1500)
    fleet.machine(memory=1000)
    fleet.deliver()
    read = whole_reads(monkeypatch)
    warm = fleet.function()
    for _ in range(3):
        assert run_task(warm, {"taskDefinition": "web"})["failures"][0]["reason"] == "RESOURCE:MEMORY"
    assert read == ["default"]
    fleet.machine(memory=2000)
    fleet.deliver()
    assert run_task(warm, {"taskDefinition": "web"})["tasks"]
    assert run_task(warm, {"taskDefinition": "web"})["failures"]
    assert read == ["default"]
    fleet.pass_time(FLEET_AGE.total_seconds())
    assert run_task(warm, {"taskDefinition": "web"})["failures"]
    assert read == ["default"] * 2


@pytest.mark.dynamodb_local
def test_refreshing_costs_what_has_changed(dynamodb_local: Any) -> None:
    world = large(World(dynamodb_local, table_name=f"fleet-{uuid.uuid4().hex}"))
    world.task_definition("web", memory=10, cpu=0)
    for _ in range(300):
        world.machine()
    world.table.recording = False
    meter = Meter()
    meter.attach(dynamodb_local)

    def reads(cp: ControlPlane) -> float:
        meter.reset()
        assert run_task(cp, {"taskDefinition": "web:1"})["tasks"]
        return meter.reads

    whole = reads(world.function())
    world.table.recording = True
    world.machine()
    world.deliver()
    world.table.recording = False
    world.pass_time(3600)
    warm = world.function()
    cold = reads(warm)
    known: list[ContainerInstance] = [each.instance for each in warm.fleet.candidates("default", world.now)]
    for each in known[:50]:
        image = {**(world.table.get(keys.instance("default", each.instance_id)) or {}), "version": each.version + 1}
        fleet_changes.log(world.table, "default", [Change.of(each.model_validate(image))], world.now, each.instance_id)
    world.pass_time(FLEET_AGE.total_seconds())
    costs = {"whole": whole, "cold": cold, "stale": reads(warm), "warm": reads(warm)}
    assert costs["whole"] > 32, costs
    assert costs["warm"] <= 1, costs
    assert costs["stale"] <= 3, costs
    assert costs["cold"] <= 10, costs
