"""What an agent costs its machine: memory and CPU, at idle and with containers that do nothing.

    .venv/bin/ecs-anywhere up --detach
    .venv/bin/python bench/footprint.py --containers 50              # Docker; about five minutes

Ends with one line of JSON. Memory is in MiB (resident, and the share of it that is the agent's alone), CPU in percent
of one core. Targets: 45 MiB and 0.1 % at idle; 50 idle containers cost agent and Docker's daemons less than 5 %.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import psutil

from ecs_anywhere.settings import default_state_dir
from machine import Machine, joined

MEBIBYTE = 1024 * 1024
DAEMONS = ("dockerd", "containerd")


def main() -> None:
    """Run the benchmark against the local stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--runtime", choices=["process", "docker"], default="docker")
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--seconds", type=float, default=60, help="for each measurement")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir())
    arguments = parser.parse_args()
    with joined(arguments.state_dir, arguments.runtime) as machine:
        time.sleep(10)
        idle = measure(machine, arguments.seconds)
        machine.define("bench", arguments.image, "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done", memory=6)
        machine.ecs.create_service(
            cluster=machine.cluster,
            serviceName="bench",
            taskDefinition="bench",
            desiredCount=arguments.containers,
        )
        while machine.running() < arguments.containers:
            time.sleep(1)
        time.sleep(15)
        loaded = measure(machine, arguments.seconds)
    result = {
        "runtime": arguments.runtime,
        "idle": idle,
        "containers": arguments.containers,
        "withContainers": loaded,
        "addedMiB": round(loaded["residentMiB"] - idle["residentMiB"], 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def measure(machine: Machine, seconds: float) -> dict[str, float]:
    agent = psutil.Process(machine.pid)
    daemons = [each for each in psutil.process_iter(["name"]) if each.info["name"] in DAEMONS]
    before = _cpu([agent]), _cpu(daemons)
    time.sleep(seconds)
    after = _cpu([agent]), _cpu(daemons)
    memory = agent.memory_full_info()
    return {
        "residentMiB": round(memory.rss / MEBIBYTE, 1),
        "proportionalMiB": round(memory.pss / MEBIBYTE, 1),
        "agentCpuPercent": round((after[0] - before[0]) / seconds * 100, 3),
        "daemonsCpuPercent": round((after[1] - before[1]) / seconds * 100, 3),
    }


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in processes)


if __name__ == "__main__":
    main()
