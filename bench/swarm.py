"""A Docker Swarm of this machine alone, for comparison."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "ecs-anywhere-bench"


@contextmanager
def swarm(image: str, script: str) -> Iterator[None]:
    """With one service of no replicas. The machine leaves the swarm afterwards; it must not be in one before."""
    _docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
    try:
        create = ["service", "create", "--detach", "--name", NAME, "--network", "host", "--replicas", "0"]
        _docker(
            *create, "--limit-memory", "6M", "--restart-delay", "0s", "--entrypoint", "/bin/sh", image, "-c", script
        )
        yield
    finally:
        _docker("swarm", "leave", "--force")


def scale(count: int) -> None:
    _docker("service", "scale", "--detach", f"{NAME}={count}")


def running() -> int:
    """Replicas that are, as Swarm says."""
    lines = _docker("service", "ls", "--filter", f"name={NAME}", "--format", "json").splitlines()
    return int(json.loads(lines[0])["Replicas"].split("/")[0])


def replaced() -> float:
    """From a container's death to its replacement running."""
    [container] = _docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={NAME}").split()
    began = time.perf_counter()
    _docker("kill", container)
    while True:
        found = _docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={NAME}").split()
        if found and found != [container] and running() == 1:
            return time.perf_counter() - began
        time.sleep(0.02)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
