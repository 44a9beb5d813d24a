"""A service's scale-out and scale-in, next to the Docker Engine's own time for the same containers, 4 in parallel.

    .venv/bin/ecs-anywhere up --detach
    .venv/bin/python bench/scale_out.py --counts 1,20,50 --rounds 5 --swarm

Ends with one line of JSON: medians of the rounds, each of which measures all one after the other. A time says little on
a shared machine; the ratio is the figure. Targets: at most 1.3 times the Engine at 20 and 1.15 at 50, the first task in
under 1 s, a killed container to its replacement RUNNING in at most 0.8 s, scale to 0 at most 1.6 times the Engine's own
stops. Here the control plane, too, runs on the machine: docs/decisions/0003-what-a-machine-costs.md says how much of it
that is.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import swarm
from ecs_anywhere.settings import default_state_dir
from ecs_anywhere_agent.runtime.docker_engine import Engine, find_engine
from machine import Machine, joined

SCRIPT = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"
AT_ONCE = 4
SETTLED_SECONDS = 3
"""What the one before left to do, to the Engine and to the disk, must not be counted for the next."""


OURS, SWARMS = "ecs-anywhere.task-id", f"com.docker.swarm.service.name={swarm.NAME}"


def main() -> None:
    """Run the benchmark against the local stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1,20,50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir())
    parser.add_argument("--swarm", action="store_true", help="compare with a Docker Swarm, too, made and left for this")
    arguments = parser.parse_args()
    counts = [int(each) for each in arguments.counts.split(",")]
    beside = swarm.swarm(arguments.image, SCRIPT) if arguments.swarm else nullcontext()
    with beside, joined(arguments.state_dir, "docker") as machine:
        machine.define("bench", arguments.image, SCRIPT, memory=6)
        machine.ecs.create_service(cluster=machine.cluster, serviceName="bench", taskDefinition="bench", desiredCount=0)
        bench = Bench(machine, find_engine(), arguments.image, with_swarm=arguments.swarm)
        for count in (max(counts), 0):  # the first time the emulator starts the functions' processes
            bench.scale(count)
        result: dict[str, Any] = {"counts": {}}
        for count in counts:
            result["counts"][count] = median([bench.round_of(count) for _ in range(arguments.rounds)])
            sys.stderr.write(f"{count}: {result['counts'][count]}\n")
        result["replacement"] = median([bench.replaced() for _ in range(arguments.rounds)])
    sys.stdout.write(json.dumps(result) + "\n")


RATIOS = {
    "ratio": ("seconds", "engineSeconds"),
    "stopRatio": ("stopSeconds", "engineStopSeconds"),
    "swarmRatio": ("swarmSeconds", "engineSeconds"),
    "swarmStopRatio": ("swarmStopSeconds", "engineStopSeconds"),
}


def median(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each figure, and of each ratio within a round."""
    with_ratios = [
        {**each, **{name: each[of] / each[to] for name, (of, to) in RATIOS.items() if of in each and to in each}}
        for each in rounds
    ]
    return {name: round(statistics.median(each[name] for each in with_ratios), 3) for name in with_ratios[0]}


@dataclass(frozen=True)
class Bench:
    """What is measured one after the other, so that all are measured at the same time."""

    machine: Machine
    engine: Engine
    image: str
    with_swarm: bool

    def round_of(self, count: int) -> dict[str, float]:
        """Ours, Swarm's and the Engine's, up and down."""
        times = {"seconds": self.scale(count), "stopSeconds": self.scale(0)}
        if self.with_swarm:
            times |= {"swarmSeconds": self.scale_swarm(count), "swarmStopSeconds": self.scale_swarm(0)}
        time.sleep(SETTLED_SECONDS)
        containers, times["engineSeconds"] = engine_starts(self.engine, self.image, count)
        times["engineStopSeconds"] = engine_stops(containers)
        return times

    def scale(self, count: int) -> float:
        """Until all are RUNNING, or ended. Docker's events say when to ask: asking all the time would take its time."""
        ecs, cluster = self.machine.ecs, self.machine.cluster

        def begin() -> None:
            ecs.update_service(cluster=cluster, service="bench", desiredCount=count)

        return scaled(OURS, self.machine.running, begin, count)

    def scale_swarm(self, count: int) -> float:
        return scaled(SWARMS, swarm.running, lambda: swarm.scale(count), count)

    def replaced(self) -> dict[str, float]:
        """From a container's death behind everybody's back to its replacement RUNNING."""
        self.scale(1)
        machine = self.machine
        [arn] = machine.ecs.list_tasks(cluster=machine.cluster, serviceName="bench")["taskArns"]
        task = machine.described(arn)
        time.sleep(SETTLED_SECONDS)
        began = time.perf_counter()
        machine.kill(task)
        while True:
            arns = machine.ecs.list_tasks(cluster=machine.cluster, serviceName="bench")["taskArns"]
            if arns and arns != [arn] and machine.running() == 1:
                break
            time.sleep(0.02)
        times = {"seconds": time.perf_counter() - began}
        self.scale(0)
        if self.with_swarm:
            self.scale_swarm(1)
            time.sleep(SETTLED_SECONDS)
            times["swarmSeconds"] = swarm.replaced()
            self.scale_swarm(0)
        return times


def scaled(label: str, running: Callable[[], int], begin: Callable[[], None], count: int) -> float:
    """How long it takes from `begin` to so many; what was before must be over."""
    time.sleep(SETTLED_SECONDS)
    current = running()
    with happening("start" if count else "die", label) as events:
        began = time.perf_counter()
        begin()
        for _ in range(abs(count - current)):
            events.readline()
    while count and running() != count:
        time.sleep(0.02)
    return time.perf_counter() - began


@contextmanager
def happening(event: str, label: str) -> Iterator[IO[bytes]]:
    """A line for each such event of the containers with the label."""
    watch = ["docker", "events", "--filter", f"label={label}", "--filter", f"event={event}"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as watching:
        time.sleep(0.3)  # until it listens
        assert watching.stdout is not None
        yield watching.stdout
        watching.terminate()


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
