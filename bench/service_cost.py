"""What a service costs as it grows and is deployed anew: request units and runs of the scheduler, on DynamoDB Local.

    .venv/bin/python bench/service_cost.py --tasks 1000

All is counted: the API's call, the scheduler, what machines report, what the stream's functions read. Needs Java, and
DynamoDB Local's folder in DYNAMODB_LOCAL_DIR (see .ci/run). Ends with one line of JSON: {"grow", "deploy"}, each
{"readUnits", "writeUnits", "runs"}.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dynamodb import dynamodb_client, dynamodb_server
from integration.flows.reporting_fleet import Bill, Fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--instances", type=int, default=20)
    arguments = parser.parse_args()
    with dynamodb_server() as url:
        fleet = Fleet(dynamodb_client(url), arguments.instances)
        grown = fleet.change(desiredCount=arguments.tasks)
        deployed = fleet.change(taskDefinition="web:2")
    sys.stdout.write(json.dumps({"grow": _shown(grown), "deploy": _shown(deployed)}) + "\n")


def _shown(bill: Bill) -> dict[str, float]:
    return {"readUnits": bill.reads, "writeUnits": bill.writes, "runs": bill.runs}


if __name__ == "__main__":
    main()
