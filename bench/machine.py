"""What the benchmarks share: a machine that has joined a new cluster of a stack that is up."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecs_anywhere.stacks import ecs_client, open_stack, operate

BIN = Path(sys.executable).parent
AGENT = str(BIN / "ecs-anywhere-agent")


@dataclass
class Machine:
    """An agent that runs and is connected."""

    ecs: Any
    cluster: str
    data: Path
    runtime: str
    agent: "subprocess.Popen[bytes] | None" = None

    def start_agent(self) -> None:
        run = [AGENT, "run", "--data-dir", str(self.data), "--runtime", self.runtime]
        self.agent = subprocess.Popen(run, stderr=subprocess.DEVNULL)

    def kill_agent(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()
            self.agent = None

    @property
    def pid(self) -> int:
        assert self.agent is not None
        return self.agent.pid

    def define(self, family: str, image: str, script: str, *, memory: int = 16) -> None:
        """A task definition of one container that runs a shell script."""
        container = {
            "name": "main",
            "image": image,
            "memory": memory,
            "entryPoint": ["/bin/sh", "-c"],
            "command": [script],
        }
        self.ecs.register_task_definition(
            family=family, networkMode="host", requiresCompatibilities=["EXTERNAL"], containerDefinitions=[container]
        )

    def kill(self, task: dict[str, Any]) -> None:
        """End a described task's container behind the agent's back."""
        runtime_id = task["containers"][0]["runtimeId"]
        if self.runtime == "docker":
            subprocess.run(["docker", "kill", runtime_id], check=True, capture_output=True)
        else:
            os.killpg(int(runtime_id.split(".")[0]), signal.SIGKILL)

    def described(self, arn: str) -> dict[str, Any]:
        task: dict[str, Any] = self.ecs.describe_tasks(cluster=self.cluster, tasks=[arn])["tasks"][0]
        return task

    def running(self) -> int:
        """Tasks of the service `bench` that are RUNNING, as a client sees it."""
        arns = self.ecs.list_tasks(cluster=self.cluster, serviceName="bench")["taskArns"]
        if not arns:
            return 0
        tasks = self.ecs.describe_tasks(cluster=self.cluster, tasks=arns)["tasks"]
        return sum(task["lastStatus"] == "RUNNING" for task in tasks)


@contextmanager
def joined(state_dir: Path, runtime: str) -> Iterator[Machine]:
    """Ends the agent and its tasks afterwards. A new cluster each time: an earlier machine may seem connected."""
    stack = open_stack(None, state_dir)
    ecs, cluster = ecs_client(stack), f"bench-{time.time():.0f}"
    ecs.create_cluster(clusterName=cluster)
    activation = operate(stack, "CreateActivation", cluster=cluster)
    with tempfile.TemporaryDirectory() as data:
        register = [
            "--registration-endpoint",
            stack.registration_endpoint,
            "--activation-id",
            activation["activationId"],
            "--activation-code",
            activation["activationCode"],
        ]
        subprocess.run([AGENT, "register", *register, "--data-dir", data], check=True, capture_output=True)
        machine = Machine(ecs, cluster, Path(data), runtime)
        try:
            machine.start_agent()
            while not _connected(ecs, cluster):
                time.sleep(0.2)
            yield machine
        finally:
            machine.kill_agent()
            subprocess.run([AGENT, "stop-tasks", "--data-dir", data, "--timeout", "1s"], check=False)


def _connected(ecs: Any, cluster: str) -> bool:
    arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    if not arns:
        return False
    found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    return any(instance["agentConnected"] for instance in found)
