"""A function that begins finds the instances of a large cluster in a few items, however long nobody has asked."""

import uuid
from typing import Any

import pytest

from control_plane.domain.inbox import FleetKey
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.delete_cluster import delete_cluster
from control_plane.flows.keep_fleet_snapshot import keep_fleet_snapshots
from control_plane.flows.run_task import run_task
from control_plane.store import fleet_changes, fleet_snapshots, instances, keys
from control_plane.store.table import Table
from integration.flows.test_fleet import large, seen, truth, whole_reads
from integration.flows.test_races import at_once
from world import World


@pytest.fixture
def fleet(world: World) -> World:
    large(world)
    world.task_definition("web")
    for _ in range(3):
        world.machine()
    world.deliver()
    return world


def head(world: World) -> fleet_snapshots.Head:
    found = fleet_snapshots.head(world.table, "default", consistent=True)
    assert found is not None
    return found


def parts(world: World) -> list[str]:
    return [item["sk"] for item in world.table.query("SNAPSHOT#default") if item["sk"] != "NEWEST"]


def test_the_first_change_that_is_logged_makes_one(fleet: World) -> None:
    assert parts(fleet) == [f"{head(fleet).snapshot_id}#00"]


def test_hours_later_a_function_begins_with_it_and_what_has_changed_since(
    fleet: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = head(fleet)
    fleet.pass_time(20 * 3600)
    fleet.machine()
    fleet.deliver()
    assert head(fleet) != first
    fleet.pass_time(20 * 3600)
    expected = truth(fleet)
    read = whole_reads(monkeypatch)
    assert seen(fleet.function(), fleet) == expected
    assert not read


def test_a_new_one_takes_the_place_of_the_old_one_when_something_changes_after_half_an_hour(fleet: World) -> None:
    first = head(fleet)
    fleet.pass_time(fleet_snapshots.OLD.total_seconds() - 1)
    run_task(fleet.function(), {"taskDefinition": "web"})
    fleet.deliver()
    assert head(fleet) == first
    fleet.pass_time(fleet_changes.LOOKS_AGAIN.total_seconds())
    run_task(fleet.function(), {"taskDefinition": "web"})
    fleet.deliver()
    assert head(fleet).at > first.at
    assert parts(fleet) == [f"{head(fleet).snapshot_id}#00"]
    assert seen(fleet.function(), fleet) == truth(fleet)


def test_a_log_that_has_become_long_makes_a_new_one(fleet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_snapshots, "MANY", 5)
    first = head(fleet)
    batches = 0
    while head(fleet) == first:
        fleet.pass_time(fleet_changes.LOOKS_AGAIN.total_seconds())
        run_task(fleet.function(), {"taskDefinition": "web"})
        fleet.deliver()
        batches += 1
    assert batches == 6, "that there is one was seen with the first batch"


def test_a_message_that_comes_twice_or_late_makes_no_second_one(fleet: World) -> None:
    first = head(fleet)
    assert not keep_fleet_snapshots(fleet.cp, [FleetKey("default", first.snapshot_id)] * 2)
    second = head(fleet)
    assert second != first
    assert not keep_fleet_snapshots(fleet.cp, [FleetKey("default", first.snapshot_id), FleetKey("default", "")])
    assert head(fleet) == second


def test_one_that_cannot_be_made_comes_again_and_nothing_else_does(
    fleet: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FleetKey("other", "")
    mine = FleetKey("default", head(fleet).snapshot_id)

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(instances, "of_cluster", fails)
        assert keep_fleet_snapshots(fleet.cp, [mine, other]) == {mine}
    assert not keep_fleet_snapshots(fleet.cp, [mine])
    assert seen(fleet.function(), fleet) == truth(fleet)


class Dying(Table):
    """Dies at one of its writes, which is done or not."""

    def __init__(self, table: Table, at: int, *, done: bool) -> None:
        super().__init__(table._client, table.name)
        self._left = at
        self._done = done

    def commit(self, writes: Any) -> None:
        self._die_or(lambda: super(Dying, self).commit(writes))

    def put_many(self, items: Any) -> None:
        self._die_or(lambda: super(Dying, self).put_many(items))

    def delete_many(self, keys: Any) -> None:
        self._die_or(lambda: super(Dying, self).delete_many(keys))

    def _die_or(self, write: Any) -> None:
        self._left -= 1
        if self._left or self._done:
            write()
        if not self._left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3], ids=["a part", "the head", "taking the old parts away"])
def test_whoever_dies_while_making_one_leaves_a_good_one(fleet: World, at: int, done: bool) -> None:
    message = FleetKey("default", head(fleet).snapshot_id)
    fleet.machine()
    fleet.table.stream.clear()
    function = fleet.function()
    function.table = Dying(fleet.table, at, done=done)
    with pytest.raises(KeyboardInterrupt):
        keep_fleet_snapshots(function, [message])
    assert fleet_snapshots.load(fleet.table, "default", head(fleet).at, fleet.now) is not None
    assert not keep_fleet_snapshots(fleet.cp, [message])
    assert seen(fleet.function(), fleet) == truth(fleet)


def test_a_head_that_was_written_and_whose_answer_got_lost_is_not_taken_for_another_ones(fleet: World) -> None:
    former = head(fleet)
    members = instances.of_cluster(fleet.table, "default", range(keys.INSTANCE_SHARDS))

    class Repeating(Table):
        def commit(self, writes: Any) -> None:
            super().commit(writes)
            super().commit(writes)

    table = Repeating(fleet.table._client, fleet.table.name)
    fleet_snapshots.keep(table, "default", members, at=fleet.now, snapshot_id="new", former=former)
    found = fleet_snapshots.load(fleet.table, "default", fleet.now, fleet.now)
    assert found is not None
    assert {each.instance_id for each in found[1]} == {each.instance_id for each in members}
    assert parts(fleet) == ["new#00"]


def test_one_of_which_a_part_is_missing_is_none(fleet: World) -> None:
    fleet.table.delete_many([keys.snapshot_part("default", head(fleet).snapshot_id, 0)])
    assert fleet_snapshots.load(fleet.table, "default", head(fleet).at, fleet.now) is None
    assert seen(fleet.function(), fleet) == truth(fleet)


def test_one_that_is_replaced_while_it_is_read_is_read_anew(fleet: World) -> None:
    class Overtaken(Table):
        """The snapshot is replaced between its head and its parts."""

        def get(self, key: keys.Key, *, consistent: bool = True) -> Any:
            item = super().get(key, consistent=consistent)
            if key == keys.snapshot("default") and not consistent:
                assert item is not None
                assert not keep_fleet_snapshots(fleet.cp, [FleetKey("default", item["id"])])
            return item

    table = Overtaken(fleet.table._client, fleet.table.name)
    found = fleet_snapshots.load(table, "default", head(fleet).at, fleet.now)
    assert found is not None
    assert len(found[1]) == 3


def test_what_cannot_be_relied_upon_any_more_is_not_used(fleet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.pass_time(fleet_snapshots.KEPT.total_seconds())
    read = whole_reads(monkeypatch)
    assert run_task(fleet.function(), {"taskDefinition": "web"})["tasks"]
    assert read == ["default"]
    fleet.deliver()
    assert seen(fleet.function(), fleet) == truth(fleet)
    assert head(fleet).at == fleet.now


def test_a_new_cluster_of_the_same_name_does_not_begin_with_the_former_ones(fleet: World) -> None:
    for instance_id in seen(fleet.function(), fleet):
        deregister_container_instance(fleet.cp, {"containerInstance": instance_id, "force": True})
    fleet.deliver()
    former = head(fleet)
    fleet.pass_time(60)
    delete_cluster(fleet.cp, {"cluster": "default"})
    fleet.deliver()
    fleet.pass_time(60)
    large(fleet)
    machine = fleet.machine()
    assert former.at < fleet.now
    assert set(seen(fleet.function(), fleet)) == {machine}
    fleet.deliver()
    assert head(fleet).at > former.at


@pytest.mark.dynamodb_local
def test_of_those_that_make_one_at_once_the_first_one_stays(dynamodb_local: Any) -> None:
    world = large(World(dynamodb_local, table_name=f"snapshot-{uuid.uuid4().hex}"))
    machines = {world.machine() for _ in range(5)}
    at_once(8, lambda _: keep_fleet_snapshots(world.function(), [FleetKey("default", "")]))
    found = fleet_snapshots.load(world.table, "default", world.now, world.now)
    assert found is not None
    assert {each.instance_id for each in found[1]} == machines
    assert parts(world) == [f"{head(world).snapshot_id}#00"]
