"""What it costs to verify who asks and what they may, beside the whole of a request, in one process: milliseconds.

    PYTHONPATH=tests:. DYNAMODB_LOCAL_DIR=... .venv/bin/python bench/verification.py --rounds 300

One DescribeTasks of one task each, signed by an unmodified boto3 client, through the handler of `POST /`, over DynamoDB
Local; callers are the administrator, a key of the table whose principal has 10 policies, and an IAM identity that has
logged in. The key and its policies are remembered for 15 seconds (store/principals.py), so that medians are of requests
that read neither.

Ends with one line of JSON: {caller: {"authenticate", "authorize", "request"}}, medians. A time says little on a shared
machine; what verification takes of the request is the figure.
"""

import argparse
import json
import logging
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from functions.api_ecs import app

from control_plane.flows.log_in import log_in
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from dynamodb import dynamodb_client, dynamodb_server
from unit.api.clients import ecs_client
from world import World

MEASURED = ("authenticate", "authorize")
POLICIES = 10


class Context:
    """Of a Lambda invocation."""

    function_name = "api_ecs"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:api_ecs"
    aws_request_id = "invocation-1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    logging.disable(logging.CRITICAL)
    with dynamodb_server() as url:
        world = World(dynamodb_client(url), table_name="verification")
        world.table.recording = False
        task = populated(world)
        vars(app)["control_plane"] = lambda: world.cp
        result = {name: figures(world, key, task, rounds) for name, key in keys(world).items()}
    sys.stdout.write(json.dumps(result) + "\n")


def populated(world: World) -> str:
    """The ARN of a task."""
    world.now = datetime.now(UTC)
    world.cluster()
    world.task_definition()
    world.machine()
    arn: str = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"]
    return arn


def keys(world: World) -> dict[str, dict[str, str]]:
    for number in range(POLICIES):
        one = {
            "Effect": "Allow",
            "Action": ["ecs:List*", "ecs:Describe*"],
            "Resource": f"arn:aws:ecs:*:*:task/c{number}/*",
        }
        last = {**one, "Resource": "*"} if number == POLICIES - 1 else one
        document = {"Statement": last}
        put = {"operation": "PutPolicy", "principal": "ci", "name": f"p{number}", "document": document}
        answered = operate(world.cp, put)
        assert "error" not in answered, answered
    made = operate(world.cp, {"operation": "CreateKey", "principal": "ci"})
    session = log_in(world.cp, "arn:aws:sts::123456789012:assumed-role/ops/ann", None, administrator=True)
    return {
        "administrator": {"key_id": "ADMINISTRATOR", "secret": "secret"},
        f"key with {POLICIES} policies": {"key_id": made["accessKeyId"], "secret": made["secretAccessKey"]},
        "IAM identity": {
            "key_id": session["AccessKeyId"],
            "secret": session["SecretAccessKey"],
            "token": session["SessionToken"],
        },
    }


def figures(world: World, key: dict[str, str], task: str, rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = defaultdict(list)

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        world.now = datetime.now(UTC)
        began = time.perf_counter()
        answered: dict[str, Any] = app.handler(event, Context())
        taken["request"].append(time.perf_counter() - began)
        return answered

    with measured(taken):
        client = ecs_client(answer, **key)
        for _ in range(rounds):
            client.describe_tasks(tasks=[task])
    return {name: round(statistics.median(times) * 1000, 3) for name, times in sorted(taken.items())}


@contextmanager
def measured(taken: dict[str, list[float]]) -> Iterator[None]:
    """The handler's own steps, timed."""
    before = {name: vars(app)[name] for name in MEASURED}

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return step(*arguments, **options)
            finally:
                taken[name].append(time.perf_counter() - began)

        return call

    vars(app).update({name: timed(name, step) for name, step in before.items()})
    yield
    vars(app).update(before)


if __name__ == "__main__":
    main()
