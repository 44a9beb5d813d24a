"""`check`: does what instances have left agree with their tasks?"""

from typing import Any

import pytest

from control_plane.domain.races import ItemChangedError
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.store import keys
from control_plane.store.table import Write
from world import World


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(portMappings=[{"containerPort": 8080}])
    machine = world.machine(cpu=1024, memory=1000)
    assert run_task(world.cp, {"taskDefinition": "web"})["failures"] == []
    return machine


def ask(world: World, **members: Any) -> dict[str, Any]:
    return operate(world.cp, {"operation": "Check", **members})


def spoil(world: World, machine: str, update: str, **values: Any) -> None:
    key = keys.instance("default", machine)
    names = {f":{name}": value for name, value in values.items()}
    world.table.commit([Write("Update", key, ItemChangedError("spoil"), update=update, values=names)])


def test_nothing_differs(world: World, machine: str) -> None:
    assert ask(world) == {"checked": 1, "differences": [], "busy": [], "duplicates": [], "next": None}


def test_what_differs_is_named_and_mended_only_when_asked_to(world: World, machine: str) -> None:
    spoil(world, machine, "SET #cpu = :cpu, #tasks = :tasks REMOVE #ports", cpu=7, tasks=5)
    for _ in range(2):
        [found] = ask(world)["differences"]
        assert (found["containerInstanceArn"].endswith(machine), found["repaired"]) == (True, False)
        assert found["differences"] == {
            "cpu": {"stored": 7, "expected": 896},
            "ports": {"stored": [], "expected": ["8080/tcp"]},
            "tasks": {"stored": 5, "expected": 1},
        }
    before = world.instance(machine).version
    assert ask(world, repair=True)["differences"][0]["repaired"]
    after = world.instance(machine)
    assert (after.cpu, after.ports, after.tasks, after.version) == (896, {"8080/tcp"}, 1, before + 1)
    assert ask(world)["differences"] == []


def test_every_key_of_the_cluster_is_gone_through(world: World, machine: str) -> None:
    for _ in range(4):
        world.machine()
    checked, shard = 0, None
    while True:
        answer = ask(world, **({} if shard is None else {"shard": shard}))
        checked, shard = checked + answer["checked"], answer["next"]
        if shard is None:
            break
    assert checked == 5


def test_an_instance_that_changes_meanwhile_is_not_mended_on_what_was(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(world, machine, "SET #cpu = :cpu", cpu=7)
    commit = world.table.commit

    def place_first(writes: Any) -> None:
        monkeypatch.setattr(world.table, "commit", commit)
        run_task(world.function(), {"taskDefinition": world.task_definition("other", cpu=0)})
        commit(writes)

    monkeypatch.setattr(world.table, "commit", place_first)
    assert ask(world, repair=True)["differences"][0]["repaired"]
    after = world.instance(machine)
    assert (after.cpu, after.tasks) == (896, 2)


def test_a_cluster_that_is_not_there(world: World) -> None:
    assert ask(world, cluster="other")["error"] == "ClusterNotFoundException"
