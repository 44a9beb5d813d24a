"""Seconds from RunTask to RUNNING, next to a bare `docker run` of the same image in the same run.

    .venv/bin/ecs-anywhere up --detach
    .venv/bin/python bench/run_task_latency.py --tasks 20            # process runtime
    .venv/bin/python bench/run_task_latency.py --tasks 20 --runtime docker --image IMAGE

Ends with one line of JSON: {"runtime", "medianSeconds", "bareDockerRunMedianSeconds", "ratio"}. A time says little on a
shared machine; the ratio is the figure.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ecs_anywhere.settings import StateDir, default_state_dir
from ecs_anywhere.stacks import ecs_client, open_stack, operate

BIN = Path(sys.executable).parent
CLUSTER = f"bench-{time.time():.0f}"
"""A new one each time: an earlier run's machine may still be taken for connected."""


def main() -> None:
    """Run the benchmark against the local stack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--runtime", choices=["process", "docker"], default="process")
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir())
    arguments = parser.parse_args()
    stack = open_stack(None, StateDir(arguments.state_dir).path)
    ecs = ecs_client(stack)
    ecs.create_cluster(clusterName=CLUSTER)
    activation = operate(stack, "CreateActivation", cluster=CLUSTER)
    with tempfile.TemporaryDirectory() as data:
        register = [
            "register",
            "--registration-endpoint",
            stack.registration_endpoint,
            "--activation-id",
            activation["activationId"],
            "--activation-code",
            activation["activationCode"],
        ]
        subprocess.run([BIN / "ecs-anywhere-agent", *register, "--data-dir", data], check=True, capture_output=True)
        with subprocess.Popen(
            [BIN / "ecs-anywhere-agent", "run", "--data-dir", data, "--runtime", arguments.runtime],
            stderr=subprocess.DEVNULL,
        ) as agent:
            try:
                ours, bare = measure(ecs, arguments.runtime, arguments.image, arguments.tasks)
            finally:
                agent.terminate()
                agent.wait()
                subprocess.run([BIN / "ecs-anywhere-agent", "stop-tasks", "--data-dir", data], check=False)
    median, bare_median = statistics.median(ours), statistics.median(bare) if bare else None
    result = {
        "runtime": arguments.runtime,
        "tasks": arguments.tasks,
        "medianSeconds": round(median, 3),
        "bareDockerRunMedianSeconds": bare_median and round(bare_median, 3),
        "ratio": bare_median and round(median / bare_median, 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def measure(ecs: Any, runtime: str, image: str, count: int) -> tuple[list[float], list[float]]:
    """Alternate the two, so that what else the machine does falls on both."""
    ecs.register_task_definition(
        family="bench",
        networkMode="host",
        requiresCompatibilities=["EXTERNAL"],
        containerDefinitions=[
            {"name": "main", "image": image, "memory": 16, "entryPoint": ["/bin/sh", "-c"], "command": ["sleep 60"]}
        ],
    )
    while not _connected(ecs):
        time.sleep(0.2)
    ours, bare = [], []
    for _ in range(count):
        began = time.perf_counter()
        arn = ecs.run_task(cluster=CLUSTER, taskDefinition="bench")["tasks"][0]["taskArn"]
        while ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]["lastStatus"] != "RUNNING":
            time.sleep(0.01)
        ours.append(time.perf_counter() - began)
        ecs.stop_task(cluster=CLUSTER, task=arn)
        if runtime == "docker":
            began = time.perf_counter()
            run = shlex.split(f"docker run -d --rm --network host --entrypoint /bin/sh {image} -c 'sleep 60'")
            container = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
            bare.append(time.perf_counter() - began)
            subprocess.run(["docker", "kill", container], capture_output=True, check=True)
    return ours, bare


def _connected(ecs: Any) -> bool:
    arns = ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"]
    if not arns:
        return False
    found = ecs.describe_container_instances(cluster=CLUSTER, containerInstances=arns)["containerInstances"]
    return any(instance["agentConnected"] for instance in found)


if __name__ == "__main__":
    main()
