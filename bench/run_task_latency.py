"""Seconds from RunTask to RUNNING, next to a bare `docker run` of the same image in the same run; and from a
container's end to its task's being STOPPED in the cloud.

    .venv/bin/ecs-anywhere up --detach
    .venv/bin/python bench/run_task_latency.py --tasks 20            # process runtime
    .venv/bin/python bench/run_task_latency.py --tasks 20 --runtime docker --image IMAGE

Ends with one line of JSON: {"runtime", "medianSeconds", "exitToStoppedMedianSeconds", "bareDockerRunMedianSeconds",
"ratio"}. A time says little on a shared machine; the ratio is the figure.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ecs_anywhere.settings import default_state_dir
from machine import Machine, joined


def main() -> None:
    """Run the benchmark against the local stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--runtime", choices=["process", "docker"], default="process")
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir())
    arguments = parser.parse_args()
    with joined(arguments.state_dir, arguments.runtime) as machine:
        machine.define("bench", arguments.image, "sleep 60")
        ours, ends, bare = measure(machine, arguments.image, arguments.tasks)
    median, bare_median = statistics.median(ours), statistics.median(bare) if bare else None
    result = {
        "runtime": arguments.runtime,
        "tasks": arguments.tasks,
        "medianSeconds": round(median, 3),
        "exitToStoppedMedianSeconds": round(statistics.median(ends), 3),
        "bareDockerRunMedianSeconds": bare_median and round(bare_median, 3),
        "ratio": bare_median and round(median / bare_median, 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def measure(machine: Machine, image: str, count: int) -> tuple[list[float], list[float], list[float]]:
    """Alternate all, so that what else the machine does falls on each."""
    ours, ends, bare = [], [], []
    for _ in range(count):
        began = time.perf_counter()
        arn = machine.ecs.run_task(cluster=machine.cluster, taskDefinition="bench")["tasks"][0]["taskArn"]
        ours.append(_seconds_until(machine, arn, "RUNNING", began))
        task = machine.described(arn)
        began = time.perf_counter()
        machine.kill(task)
        ends.append(_seconds_until(machine, arn, "STOPPED", began))
        if machine.runtime == "docker":
            began = time.perf_counter()
            run = shlex.split(f"docker run -d --rm --network host --entrypoint /bin/sh {image} -c 'sleep 60'")
            container = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
            bare.append(time.perf_counter() - began)
            subprocess.run(["docker", "kill", container], capture_output=True, check=True)
    return ours, ends, bare


def _seconds_until(machine: Machine, arn: str, status: str, began: float) -> float:
    while machine.described(arn)["lastStatus"] != status:
        time.sleep(0.01)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
