"""Tasks that an agent starts in a second, next to the containers that its Docker Engine starts by itself.

    .venv/bin/python bench/starts.py                    # some three minutes; needs no cloud, only the Engine

With 1, 4 and 8 on their way at a time, the agent (its core, its store and its Docker runtime, given commands as the
control plane gives them) and the bare Engine (create and start, of the same containers, by the agent's own client)
take turns. Ends with one line of JSON: medians of starts a second, and of each turn's ratio. Target: at least 0.8.
"""

import argparse
import json
import os
import queue
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.container_spec import container_specs
from ecs_anywhere_agent.core import Rules
from ecs_anywhere_agent.core.events import ActionFailed, Condition, Connected, ContainerChanged, MessageReceived
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_config import container_config, container_name
from ecs_anywhere_agent.runtime.docker_engine import Engine, find_engine
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from ecs_anywhere_agent.runtime.docker_labels import owner_label
from ecs_anywhere_agent.store import open_store
from ecs_protocol.messages import (
    AgentRequest,
    Reconciliation,
    RegisterContainerInstance,
    TaskCommand,
    TaskCommands,
    TaskStateChanges,
)
from ecs_protocol.statuses import DesiredStatus

CLUSTER = "arn:aws:ecs:us-east-1:000000000000:cluster/default"
INSTANCE = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/" + "1" * 32
NAME = "main"


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="ecs-anywhere-test:busybox")
    parser.add_argument("--starts", type=int, default=24, help="in one turn")
    parser.add_argument("--turns", type=int, default=5, help="of each, for each number in parallel")
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--network-mode", default="bridge")
    arguments = parser.parse_args()
    definition = {
        "family": "bench",
        "revision": 1,
        "networkMode": arguments.network_mode,
        "containerDefinitions": [
            {"name": NAME, "image": arguments.image, "memory": 16, "command": ["sleep", "3600"]},
        ],
    }
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for parallel in arguments.parallel:
            turns = []
            for number in range(arguments.turns + 1):
                data_dir = Path(directory) / f"{parallel}-{number}"
                data_dir.mkdir()
                sides = [("engine", engine_turn), ("agent", agent_turn)]
                turn = {
                    who: take(definition, data_dir, arguments.starts, parallel)
                    for who, take in (sides if number % 2 else reversed(sides))
                }
                if number:  # the first warms both up
                    turns.append(turn)
                    rates = ", ".join(f"{who} {rate:.1f}/s" for who, rate in sorted(turn.items()))
                    sys.stderr.write(f"{parallel} in parallel: {rates}; load {os.getloadavg()[0]:.1f}\n")
            results[str(parallel)] = {
                "agentPerSecond": round(statistics.median(turn["agent"] for turn in turns), 1),
                "enginePerSecond": round(statistics.median(turn["engine"] for turn in turns), 1),
                "ratio": round(statistics.median(turn["agent"] / turn["engine"] for turn in turns), 2),
            }
    sys.stdout.write(json.dumps({"parallel": results, "starts": arguments.starts, "turns": arguments.turns}) + "\n")


def engine_turn(definition: dict[str, Any], data_dir: Path, starts: int, parallel: int) -> float:
    """Starts a second of the Engine by itself."""
    engine = find_engine()

    def start(command: TaskCommand) -> None:
        spec = container_specs(
            definition, {}, container_instance_arn=INSTANCE, cluster=CLUSTER, task_arn=command.task_arn
        )[0]
        ref = ContainerRef(command.task_id, NAME)
        engine.start(engine.create(container_name(ref, spec), container_config(ref, spec, str(data_dir.resolve()))))

    with cleaned(engine, data_dir), ThreadPoolExecutor(parallel) as threads:
        commands = [new_command() for _ in range(starts)]
        began = time.perf_counter()
        list(threads.map(start, commands))
        return starts / (time.perf_counter() - began)


def agent_turn(definition: dict[str, Any], data_dir: Path, starts: int, parallel: int) -> float:
    """Starts a second of an agent, until it has seen each container run. A task ended, and the next one is sent."""
    running: queue.Queue[str] = queue.Queue()
    engine = find_engine()
    with cleaned(engine, data_dir), connected(definition, data_dir, running.put) as send:
        began = time.perf_counter()
        for _ in range(parallel):
            send()
        for number in range(starts):
            task_id = running.get(timeout=60)
            if not task_id:
                raise SystemExit("a container could not be started")
            if number < starts - parallel:
                send()
        return starts / (time.perf_counter() - began)


@contextmanager
def connected(
    definition: dict[str, Any], data_dir: Path, running: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """An agent with a control plane that only sends it tasks; `running` gets the id of each that runs, "" for none."""
    runtime = DockerRuntime.connect(data_dir, pull=PullBehavior.PREFER_CACHED)
    store = open_store(data_dir / "state.sqlite")
    agent = Agent(store, runtime, Rules())
    emit = agent.emit

    def watch(event: Any) -> None:
        emit(event)
        match event:
            case ContainerChanged() if event.snapshot.condition is Condition.RUNNING:
                running(event.snapshot.ref.task_id)
            case ActionFailed():
                running("")

    def answer(request: AgentRequest) -> None:
        agent.emit(
            MessageReceived(
                Reconciliation(request_id=request.request_id, page=1, pages=1, epoch=1, version=1, tasks=())
            )
        )

    def report(token: int, message: TaskStateChanges) -> None:
        del token, message

    def send() -> None:
        agent.emit(
            MessageReceived(TaskCommands(version=2, tasks=(new_command(),), task_definitions={"bench:1": definition}))
        )

    agent.emit = watch  # type: ignore[method-assign]
    agent.publish_with(answer, report)
    agent.start(INSTANCE)
    thread = Thread(target=agent.run)
    thread.start()
    registration = RegisterContainerInstance(request_id="-", digest="-", agent_version="-", cpu=1, memory=1)
    agent.emit(Connected("bench", registration))
    time.sleep(0.5)
    try:
        yield send
    finally:
        agent.end()
        thread.join()
        runtime.close()
        store.close()


def new_command() -> TaskCommand:
    task_id = uuid.uuid4().hex
    return TaskCommand(
        task_id=task_id,
        desired_status=DesiredStatus.RUNNING,
        task_definition="bench:1",
        task_arn=f"arn:aws:ecs:us-east-1:000000000000:task/default/{task_id}",
        cluster_arn=CLUSTER,
    )


@contextmanager
def cleaned(engine: Engine, data_dir: Path) -> Iterator[None]:
    """What was started is removed afterwards, outside of what is measured."""
    try:
        yield
    finally:
        for container in engine.containers(owner_label(str(data_dir.resolve()))):
            engine.remove(container["Id"])
        engine.close()


if __name__ == "__main__":
    main()
