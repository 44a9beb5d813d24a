"""A service's scale-out and scale-in, next to the Docker Engine's own time for the same containers, 4 in parallel.

    .venv/bin/ecs-anywhere up --detach
    .venv/bin/python bench/scale_out.py --counts 1,20,50 --rounds 3

Ends with one line of JSON, medians of the rounds, which alternate. A time says little on a shared machine; the ratio is
the figure. Targets: at most 1.3 times the Engine at 20 and 1.15 at 50, the first task in under 1 s, a killed container
to its replacement RUNNING in at most 0.8 s, scale to 0 at most 1.6 times the Engine's own stops.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from machine import Machine, joined

from ecs_anywhere.settings import default_state_dir
from ecs_anywhere_agent.runtime.docker_engine import Engine, find_engine

SCRIPT = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"
AT_ONCE = 4
SETTLED_SECONDS = 3
"""What the one before left to do, to the Engine and to the disk, must not be counted for the next."""


def main() -> None:
    """Run the benchmark against the local stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1,20,50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir())
    arguments = parser.parse_args()
    engine = find_engine()
    result: dict[str, Any] = {"counts": {}}
    with joined(arguments.state_dir, "docker") as machine:
        machine.define("bench", arguments.image, SCRIPT, memory=6)
        machine.ecs.create_service(cluster=machine.cluster, serviceName="bench", taskDefinition="bench", desiredCount=0)
        counts = [int(each) for each in arguments.counts.split(",")]
        for count in (max(counts), 0):  # the first time the emulator starts the functions' processes
            scale(machine, count)
        for count in counts:
            rounds = [round_of(machine, engine, arguments.image, count) for _ in range(arguments.rounds)]
            ours, engines, stop, engine_stop = (statistics.median(column) for column in zip(*rounds, strict=True))
            result["counts"][count] = {
                "seconds": round(ours, 3),
                "engineSeconds": round(engines, 3),
                "ratio": round(ours / engines, 2),
                "stopSeconds": round(stop, 3),
                "engineStopSeconds": round(engine_stop, 3),
                "stopRatio": round(stop / engine_stop, 2),
            }
            sys.stderr.write(f"{count}: {result['counts'][count]}\n")
        result["replacementSeconds"] = round(statistics.median(replaced(machine) for _ in range(arguments.rounds)), 3)
    sys.stdout.write(json.dumps(result) + "\n")


def round_of(machine: Machine, engine: Engine, image: str, count: int) -> tuple[float, float, float, float]:
    """Ours and the Engine's, up and down."""
    time.sleep(SETTLED_SECONDS)
    ours = scale(machine, count)
    stop = scale(machine, 0)
    time.sleep(SETTLED_SECONDS)
    containers, engines = engine_starts(engine, image, count)
    return ours, engines, stop, engine_stops(containers)


def scale(machine: Machine, count: int) -> float:
    """Until all are RUNNING, or ended. Docker's events say when to ask: asking all the time would take its time."""
    current = machine.running()
    with happening("start" if count else "die") as events:
        began = time.perf_counter()
        machine.ecs.update_service(cluster=machine.cluster, service="bench", desiredCount=count)
        for _ in range(abs(count - current)):
            events.readline()
    while count and machine.running() != count:
        time.sleep(0.02)
    return time.perf_counter() - began


@contextmanager
def happening(event: str) -> Iterator[IO[bytes]]:
    """A line for each such event of our agents' containers."""
    watch = ["docker", "events", "--filter", "label=ecs-anywhere.task-id", "--filter", f"event={event}"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as watching:
        time.sleep(0.3)  # until it listens
        assert watching.stdout is not None
        yield watching.stdout
        watching.terminate()


def replaced(machine: Machine) -> float:
    """From a container's death behind the agent's back to its replacement RUNNING."""
    scale(machine, 1)
    [arn] = machine.ecs.list_tasks(cluster=machine.cluster, serviceName="bench")["taskArns"]
    [task] = machine.ecs.describe_tasks(cluster=machine.cluster, tasks=[arn])["tasks"]
    began = time.perf_counter()
    subprocess.run(["docker", "kill", task["containers"][0]["runtimeId"]], check=True, capture_output=True)
    while True:
        arns = machine.ecs.list_tasks(cluster=machine.cluster, serviceName="bench")["taskArns"]
        if arns and arns != [arn] and machine.running() == 1:
            break
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    scale(machine, 0)
    return seconds


def engine_starts(engine: Engine, image: str, count: int) -> tuple[list[str], float]:
    """Create and start as many equal containers, four at a time, with nobody above the Engine."""
    config = {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": [SCRIPT],
        "Labels": {"ecs-anywhere.bench": "1"},
        "HostConfig": {"NetworkMode": "host", "Memory": 6 * 1024 * 1024, "CpuShares": 2},
    }

    def start(number: int) -> str:
        container = engine.create(f"ecs-anywhere-bench-{time.time_ns()}-{number}", config)
        engine.start(container)
        return container

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        containers = list(threads.map(start, range(count)))
    return containers, time.perf_counter() - began


def engine_stops(containers: list[str]) -> float:
    """Four at a time, each waited for; then removed, which is not counted."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(_stop, containers))
    seconds = time.perf_counter() - began
    subprocess.run(["docker", "rm", "--force", *containers], check=True, capture_output=True)
    return seconds


def _stop(container: str) -> None:
    subprocess.run(["docker", "stop", container], check=True, capture_output=True)


if __name__ == "__main__":
    main()
