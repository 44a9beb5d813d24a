"""What one RunTask costs in a large cluster, on DynamoDB Local.

    .venv/bin/python bench/run_task_cost.py --instances 10000

warm: the function has read the fleet less than five seconds ago. stale: it has read it before, but longer ago, and 100
instances have changed since. cold: it has read nothing yet, nor has any other for hours, in which 100 instances have
changed. whole: there is no snapshot, so that every instance is read, as before a task is refused. Targets at
10,000 instances: warm and stale read at most 2 times what they read at 100 instances, and all is one transaction; cold
reads at most 1,300 units and takes at most 3 times as long as warm.

Needs Java, and DynamoDB Local's folder in DYNAMODB_LOCAL_DIR (see .ci/run). Medians of `--rounds`. A time says little
on a shared machine, where DynamoDB Local works on the same cores; cpuMilliseconds are the function's own. Ends with one
line of JSON: {"readUnits", "writeUnits", "transactions", "milliseconds", "cpuMilliseconds", "stale", "cold", "whole"};
the first five are of warm, and the others have the same five.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.inbox import StreamRecord
from control_plane.domain.resources import Resources
from control_plane.flows.follow_fleets import follow_fleets
from control_plane.flows.keep_fleet_snapshot import keep_fleet_snapshots
from control_plane.flows.run_task import run_task
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, fleet_changes, instance_resources, instances, keys
from control_plane.store.fleet import FLEET_AGE
from dynamodb import dynamodb_client, dynamodb_server
from integration.flows.capacity import Meter
from world import EVERY_CAPABILITY, World

SITES = 50
REQUEST = {
    "taskDefinition": "bench:1",
    "placementConstraints": [{"type": "memberOf", "expression": "attribute:site != site-7"}],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with dynamodb_server() as url:
        client = dynamodb_client(url)
        world = World(client, table_name="bench")
        world.table.recording = False
        world.cluster()
        world.task_definition("bench", memory=10, cpu=10)
        fill(world, arguments.instances)
        counter = Counter(client)
        changing = Changing(world, min(100, arguments.instances))
        changing.change()
        world.pass_time(fleet_changes.SETTLING.total_seconds())
        results: dict[str, list[dict[str, float]]] = {"warm": [], "stale": [], "cold": [], "whole": []}
        for _ in range(arguments.rounds):
            world.pass_time(fleet_changes.LOOKS_AGAIN.total_seconds())
            changing.change()
            asked, world.queues.fleets = world.queues.fleets, []
            assert not keep_fleet_snapshots(world.cp, asked)
            world.pass_time(8 * 3600)
            changing.change()
            warm = world.function()
            results["cold"].append(counter.measure(warm))
            results["warm"].append(counter.measure(warm))
            world.pass_time(FLEET_AGE.total_seconds())
            changing.change()
            results["stale"].append(counter.measure(warm))
            world.table.delete_many([keys.snapshot("default")])
            results["whole"].append(counter.measure(world.function()))
    shown = {what: medians(measured) for what, measured in results.items()}
    sys.stdout.write(json.dumps({**shown.pop("warm"), **shown}) + "\n")


def medians(measured: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(each[name] for each in measured), 1) for name in measured[0]}


class Counter:
    """Request units, transactions and time of one RunTask, of which the counting itself takes a little."""

    def __init__(self, client: Any) -> None:
        self._meter = Meter()
        self._transactions = 0
        client.meta.events.register("before-call.dynamodb.TransactWriteItems", self._count)
        self._meter.attach(client)

    def _count(self, **_: Any) -> None:
        self._transactions += 1

    def measure(self, cp: ControlPlane) -> dict[str, float]:
        self._meter.reset()
        self._transactions = 0
        gc.collect()
        gc.freeze()  # as runtime.py does when a function begins
        began, worked = time.perf_counter(), time.process_time()
        answer = run_task(cp, REQUEST)
        seconds, work = time.perf_counter() - began, time.process_time() - worked
        if len(answer["tasks"]) != 1:
            raise SystemExit(f"not placed: {answer['failures'][:1]}")
        return {
            "readUnits": self._meter.reads,
            "writeUnits": self._meter.writes,
            "transactions": self._transactions,
            "milliseconds": 1000 * seconds,
            "cpuMilliseconds": 1000 * work,
        }


class Changing:
    """What others place meanwhile, one task on each of so many instances, and what the table's stream makes of it."""

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        cluster = clusters.load(world.table, "default")
        shards = sorted(cluster.shards) if cluster else ()
        self._instances = instances.of_cluster(world.table, "default", shards)
        self._count = count

    def change(self) -> None:
        world = self._world
        records = []
        for instance in world.random.sample(self._instances, self._count):
            world.table.commit(
                [instance_resources.taken("default", instance.instance_id, 1, [Resources(cpu=1, memory=1)], world.now)]
            )
            image = world.table.get(keys.instance("default", instance.instance_id))
            records.append(StreamRecord(f"record-{world.random.random()}", "MODIFY", image or {}))
        follow_fleets(world.cp, records)


def fill(world: World, count: int) -> None:
    """Machines at 50 sites, as their items are."""
    digest = "capabilities"
    instances.store_capabilities(world.table, digest, EVERY_CAPABILITY)
    made = [
        ContainerInstance(
            instance_id=f"{number * 2654435761 % 2**32:08x}{number:024x}",
            cluster="default",
            registration=1,
            version=1,
            cpu=4096,
            memory=8192,
            capabilities=digest,
            attributes={"site": f"site-{number % SITES}", "ecs.os-type": "linux", "ecs.cpu-architecture": "x86_64"},
            agent_version="1.0.0",
            registered_at=world.now,
            agent_connected=True,
            connection_changed_at=world.now,
            session="5d2f34e3-e706-4c09-ac62-9f6fbed82c07",
            updated_at=world.now,
        )
        for number in range(count)
    ]
    world.table.put_many({keys.instance("default", each.instance_id): instances.to_item(each) for each in made})
    for shard in sorted({keys.instance_shard(each.instance_id) for each in made}):
        world.table.commit([clusters.holds_instances_in("default", shard)])


if __name__ == "__main__":
    main()
