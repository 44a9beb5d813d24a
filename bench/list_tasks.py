"""DescribeTasks and ListTasks, in one process, with few and with many tasks in the table: milliseconds and read units.

    PYTHONPATH=tests:. DYNAMODB_LOCAL_DIR=... .venv/bin/python bench/list_tasks.py --counts 10,1000,100000

Each cluster has a table of its own in one DynamoDB Local; the rounds go from one to the next, so that what else the
machine does falls on each. DescribeTasks names 10 tasks, and a page has 10, but a whole page 100, and an instance's 1.

Ends with one line of JSON: {"counts": {count: {call: {"p50", "p95", "units"}}}, "ratios": {call: ratio}}, where a ratio
is that of the medians with the most and with the fewest tasks. A time says little on a shared machine; the ratios and
the units are the figures.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from functions.api_ecs.app import carry_out

from dynamodb import dynamodb_client, dynamodb_server
from integration.flows.capacity import Meter
from many_tasks import Crowd
from world import ADMINISTRATOR, World

MACHINES = 200
ASKED = 10
Call = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10,1000,100000")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    counts = [int(each) for each in arguments.counts.split(",")]
    with dynamodb_server() as url:
        client = dynamodb_client(url)
        meter = Meter()
        meter.attach(client)
        calls: dict[int, Mapping[str, Call]] = {}
        for count in counts:
            calls[count] = calls_with(client, count)
            sys.stderr.write(f"{count} tasks are there\n")
        milliseconds, units = measure(calls, meter, arguments.rounds)
    result = {
        count: {name: figures(times, units[count][name]) for name, times in milliseconds[count].items()}
        for count in counts
    }
    ratios = {
        name: round(result[max(counts)][name]["p50"] / result[min(counts)][name]["p50"], 2)
        for name in result[counts[0]]
    }
    sys.stdout.write(json.dumps({"counts": result, "ratios": ratios}) + "\n")


def calls_with(client: Any, count: int) -> Mapping[str, Call]:
    """What is measured, with so many tasks in a table."""
    world = World(client, table_name=f"tasks-{count}")
    world.table.recording = False
    crowd = Crowd(world, machines=min(count, MACHINES))
    crowd.grow(count)

    def call(operation: str, **request: Any) -> Any:
        return json.loads(carry_out(world.cp, operation, json.dumps(request).encode(), caller=ADMINISTRATOR))

    token = call("ListTasks", maxResults=ASKED // 2)["nextToken"]
    return {
        "DescribeTasks": lambda: call(
            "DescribeTasks", tasks=[each.task_id for each in random.sample(crowd.tasks, ASKED)]
        ),
        "ListTasks": lambda: call("ListTasks", maxResults=ASKED),
        "ListTasks, next page": lambda: call("ListTasks", maxResults=ASKED // 2, nextToken=token),
        "ListTasks of an instance": lambda: call(
            "ListTasks", maxResults=1, containerInstance=random.choice(crowd.tasks).instance_id
        ),
        "ListTasks, whole page": lambda: call("ListTasks"),
    }


def measure(
    calls: Mapping[int, Mapping[str, Call]], meter: Meter, rounds: int
) -> tuple[dict[int, dict[str, list[float]]], dict[int, dict[str, float]]]:
    milliseconds: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    units: dict[int, dict[str, float]] = defaultdict(dict)
    for number in range(rounds + 1):
        for count, each in calls.items():
            for name, call in each.items():
                meter.reset()
                began = time.perf_counter()
                call()
                if number:  # the first round makes connections
                    milliseconds[count][name].append((time.perf_counter() - began) * 1000)
                    units[count][name] = max(units[count].get(name, 0), meter.reads)
    return milliseconds, units


def figures(times: list[float], units: float) -> dict[str, float]:
    return {
        "p50": round(statistics.median(times), 1),
        "p95": round(statistics.quantiles(times, n=20)[-1], 1),
        "units": units,
    }


if __name__ == "__main__":
    main()
