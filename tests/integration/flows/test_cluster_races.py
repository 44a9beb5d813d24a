"""One cluster of a name, and nothing in a cluster that is deleted, however many try at once."""

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from control_plane.domain.errors import EcsError
from control_plane.domain.races import LostRace
from control_plane.flows.clusters import create_cluster
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.delete_cluster import delete_cluster
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service
from control_plane.store import clusters, instances, services, tasks
from integration.flows.test_races import at_once
from world import World

pytestmark = pytest.mark.dynamodb_local

EVERY_SHARD = range(64)


@pytest.fixture
def world(dynamodb_local: Any) -> World:
    return World(dynamodb_local, table_name=f"clusters-{uuid.uuid4().hex}")


def together(*works: Callable[[], Any]) -> list[bool]:
    """Whether each succeeded. What was lost or refused is no fault."""

    def tried(work: Callable[[], Any]) -> bool:
        try:
            work()
        except (EcsError, LostRace):
            return False
        return True

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(tried, works))


def test_many_creations_make_one_cluster(world: World) -> None:
    def create(number: int) -> str:
        tags = [{"key": "by", "value": str(number)}]
        try:
            create_cluster(world.function(), {"clusterName": "edge", "tags": tags})
        except EcsError as error:
            return error.message
        return "created"

    answers = Counter(at_once(64, create, threads_at_most=64))
    assert answers["created"] == 1
    assert sum(answers.values()) == 64
    assert set(answers) == {
        "created",
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
    }
    created = {
        create_cluster(world.function(), {"clusterName": "edge"})["cluster"]["tags"][0]["value"] for _ in range(2)
    }
    assert len(created) == 1


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_in_a_cluster_that_is_deleted(world: World, seed: int) -> None:
    """Machines register, services are created and tasks run while the cluster is being deleted, again and again."""
    world.random.seed(seed)
    world.cluster()
    definition = world.task_definition(memory=6, cpu=1)

    def delete() -> None:
        delete_cluster(world.function(), {"cluster": "default"})

    def register() -> None:
        world.machine()

    def serve(name: str) -> Callable[[], Any]:
        request = {"serviceName": name, "taskDefinition": definition}
        return lambda: create_service(world.function(), request)

    def run() -> None:
        run_task(world.function(), {"taskDefinition": definition})

    works = [register, run, serve("a"), delete, delete, serve("b"), register, run, delete][seed % 3 :]
    together(*works)
    _holds(world)


def test_a_task_that_is_placed_while_its_instance_goes_and_the_cluster_with_it(world: World) -> None:
    for _ in range(8):
        world.cluster()
        definition = world.task_definition(memory=6, cpu=1)
        machine = world.machine()
        assert world.instance(machine).status == "ACTIVE"

        def leave(machine: str = machine) -> None:
            deregister_container_instance(world.function(), {"containerInstance": machine})

        def delete() -> None:
            delete_cluster(world.function(), {"cluster": "default"})

        def run(definition: str = definition) -> None:
            run_task(world.function(), {"taskDefinition": definition})

        together(run, leave, delete, delete, run)
        _holds(world)
        world.pass_time(1)


def _holds(world: World) -> None:
    cluster = clusters.load(world.table, "default")
    assert cluster is not None
    assert cluster.closed_by is None
    found = instances.of_cluster(world.table, "default", EVERY_SHARD, consistent=True)
    here = [instance.instance_id for instance in found if instance.status != "INACTIVE"]
    made = [each.name for each in services.of_cluster(world.table, "default", consistent=True)]
    running = tasks.of_cluster(world.table, "default", EVERY_SHARD, consistent=True)
    if cluster.status == "INACTIVE":
        assert (here, made, running) == ([], [], [])
    else:
        assert set(here) >= {task.instance_id for task in running}
