"""How fast tasks are placed: the decision alone, on one core, without a table.

    .venv/bin/python bench/placement.py --instances 10000 --tasks 1000      # target: under 0.5 s
    .venv/bin/python bench/placement.py --instances 5000 --tasks 1000000    # target: under 300 s

The tasks are equal; a constraint lets them on four of five sites, over which they are spread, then over the racks of
each, of which there is one for ten instances, and then over instances.
`--at-once` is how many one decision places: each decision begins with a look at the whole fleet.

Ends with one line of JSON: {"seconds", "perSecond"}.
"""

import argparse
import gc
import json
import sys
import time
from datetime import UTC, datetime

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.placement.place import Candidate, Demand, Placed, place
from control_plane.domain.placement.rules import parse_constraints, parse_strategy
from control_plane.domain.resources import Resources
from ecs_protocol.capabilities import announced_attributes

SITES = 50
CAPABILITIES = frozenset(announced_attributes({"docker", "external", "port-mapping", "health-check"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=0, help="0: all in one decision")
    arguments = parser.parse_args()
    candidates = fleet(arguments.instances, arguments.tasks)
    demand = Demand(
        Resources(cpu=10, memory=10),
        frozenset({"ecs.capability.external"}),
        "service:bench",
        parse_constraints(
            [{"type": "memberOf", "expression": "attribute:site !~ site-.*[05] and attribute:ecs.os-type == linux"}]
        ),
        parse_strategy(
            [{"type": "spread", "field": field} for field in ("attribute:site", "attribute:rack", "instanceId")]
        ),
    )
    at_once = arguments.at_once or arguments.tasks
    gc.collect()
    began = time.perf_counter()
    placed = 0
    for start in range(0, arguments.tasks, at_once):
        answers = place(demand, min(at_once, arguments.tasks - start), candidates)
        placed += sum(isinstance(answer, Placed) for answer in answers)
    seconds = time.perf_counter() - began
    if placed != arguments.tasks:
        raise SystemExit(f"only {placed} of {arguments.tasks} tasks were placed")
    sys.stdout.write(json.dumps({"seconds": round(seconds, 3), "perSecond": round(placed / seconds)}) + "\n")


def fleet(count: int, tasks: int) -> list[Candidate]:
    """Machines at 50 sites with room for all tasks."""
    room = 10 * (10 + 2 * tasks // count)
    return [
        Candidate(
            ContainerInstance(
                instance_id=f"{number * 2654435761 % 2**32:08x}{number:024x}",
                cluster="bench",
                registration=1,
                version=1,
                cpu=room,
                memory=room,
                capabilities="digest",
                attributes={
                    "site": f"site-{number % SITES}",
                    "rack": f"rack-{number // SITES // 10}",
                    "ecs.os-type": "linux",
                },
                agent_connected=True,
                updated_at=datetime(2026, 1, 1, tzinfo=UTC),
            ),
            CAPABILITIES,
        )
        for number in range(count)
    ]


if __name__ == "__main__":
    main()
