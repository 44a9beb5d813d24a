"""An hour of ordinary life with its accidents, over which memory, state file and table must stay as they are.

    make soak                                            # an hour, on a stack of its own that is removed afterwards
    .venv/bin/python bench/soak.py --minutes 10

A service of tasks runs all the time, and each minute some tasks are run that end by themselves, a container is killed
behind the agent's back, and every tenth minute the agent is killed and started again. Each minute is measured: the
agent's resident memory, its state file, and the table's items that nothing makes expire (what expires is counted
apart: the emulator expires nothing). Ends with one line of JSON, and with exit code 1 if what should be flat grows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import psutil

from ecs_anywhere.settings import Stack, StateDir
from ecs_anywhere.stacks import open_stack
from machine import BIN, Machine, joined

MEBIBYTE = 1024 * 1024
SERVICE_TASKS = 5
TASKS_A_MINUTE = 5
MOST_GROWTH = {"agentMiB": 4.0, "items": 3.0, "stateMiB": 2.0}
"""From the median of the first third to that of the last one. What ended is kept for three hours, as with Amazon's
agent: some 3 KB in the state file and 4 KB of memory for each of the ten tasks that end in a minute."""


def main() -> None:
    """Run the soak test on a stack of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--runtime", choices=["process", "docker"], default="process")
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--port", type=int, default=4576)
    parser.add_argument("--mqtt-port", type=int, default=8893)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecs-anywhere-soak-") as folder:
        state = ["--state-dir", folder]
        ports = ["--port", str(arguments.port), "--mqtt-port", str(arguments.mqtt_port)]
        subprocess.run([str(BIN / "ecs-anywhere"), "up", "--detach", *ports, *state], check=True)
        try:
            samples = soak(Path(folder), arguments)
        finally:
            subprocess.run([str(BIN / "ecs-anywhere"), "down", *state], check=True)
    growth = {name: round(grown([sample[name] for sample in samples]), 2) for name in MOST_GROWTH}
    result = {"minutes": arguments.minutes, "growth": growth, "first": samples[0], "last": samples[-1]}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(any(growth[name] > most for name, most in MOST_GROWTH.items()))


def soak(folder: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """One sample a minute."""
    stack = open_stack(None, folder)
    samples = []
    with joined(folder, arguments.runtime) as machine:
        loop = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"
        machine.define("bench", arguments.image, loop)
        machine.define("short", arguments.image, "sleep 2")
        service = {"serviceName": "bench", "taskDefinition": "bench", "desiredCount": SERVICE_TASKS}
        machine.ecs.create_service(cluster=machine.cluster, **service)
        of_service = {"cluster": machine.cluster, "serviceName": "bench"}
        for minute in range(arguments.minutes):
            ends = time.monotonic() + 60
            while machine.running() < SERVICE_TASKS:
                time.sleep(1)
            machine.ecs.run_task(cluster=machine.cluster, taskDefinition="short", count=TASKS_A_MINUTE)
            machine.kill(machine.described(machine.ecs.list_tasks(**of_service)["taskArns"][0]))
            if minute % 10 == 9:
                machine.kill_agent()
                machine.start_agent()
            time.sleep(max(0.0, ends - time.monotonic()))
            samples.append(sample(stack, machine))
            sys.stderr.write(f"minute {minute + 1}: {samples[-1]}\n")
    return samples


def sample(stack: Stack, machine: Machine) -> dict[str, float]:
    files = [machine.data / f"state.sqlite{suffix}" for suffix in ("", "-wal")]
    table = boto3.resource(
        "dynamodb",
        endpoint_url=stack.aws_endpoint,
        region_name=stack.region,
        aws_access_key_id=stack.aws_access_key_id,
        aws_secret_access_key=stack.aws_secret_access_key,
    )
    items: list[dict[str, Any]] = [item for each in table.tables.all() for item in each.scan()["Items"]]
    emulator = psutil.Process(json.loads(StateDir(Path(str(stack.state_dir))).emulator_process.read_text())["pid"])
    return {
        "agentMiB": round(psutil.Process(machine.pid).memory_info().rss / MEBIBYTE, 1),
        "emulatorMiB": round(emulator.memory_info().rss / MEBIBYTE, 1),
        "stateMiB": round(sum(file.stat().st_size for file in files if file.exists()) / MEBIBYTE, 2),
        "items": sum("expiresAt" not in item for item in items),
        "itemsThatExpire": sum("expiresAt" in item for item in items),
    }


def grown(values: Sequence[float]) -> float:
    third = max(len(values) // 3, 1)
    return statistics.median(values[-third:]) - statistics.median(values[:third])


if __name__ == "__main__":
    main()
