"""`ecs-anywhere demo`: the main job from nothing to a replaced container, on this machine."""

import json
import os
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import psutil
from rich.live import Live

from ecs_anywhere import overview, processes
from ecs_anywhere.console import Problem, err, progress
from ecs_anywhere.emulator import running
from ecs_anywhere.interrupts import unbroken
from ecs_anywhere.local import (
    DEFAULT_MQTT_PORT,
    DEFAULT_PORT,
    agent,
    agent_command,
    down,
    end_agent,
    free_port,
    up,
)
from ecs_anywhere.settings import Stack, StateDir
from ecs_anywhere.stacks import ecs_client, operate

CLUSTER = "default"
FAMILY = "ecs-anywhere-demo"
SERVICE = "ecs-anywhere-demo"
IMAGE = "ecs-anywhere-demo:busybox"
REPLICAS = 3
LOOP = "trap 'exit 0' TERM; while :; do sleep 1; done"


@dataclass
class Demo:
    """One run. What it started it ends, if it is interrupted."""

    state: StateDir
    port: int | None
    mqtt_port: int | None

    def run(self) -> dict[str, Any]:
        """Answers {stack, containerInstanceArn, taskArns, killed, replacement}."""
        ran = running(self.state)
        try:
            return self._on(self._up())
        except BaseException:
            err.print("Ending what was started")
            with unbroken(ending=True):
                if ran:
                    end_agent(self.state)
                else:
                    down(self.state)
            raise

    def _up(self) -> Stack:
        """On the usual ports, or the next ones if others listen there and none were asked for."""
        if self.state.stack_file.exists():
            return up(self.state, self.port, self.mqtt_port)
        return up(self.state, self.port or free_port(DEFAULT_PORT), self.mqtt_port or free_port(DEFAULT_MQTT_PORT))

    def _on(self, stack: Stack) -> dict[str, Any]:
        ecs = ecs_client(stack)
        ecs.create_cluster(clusterName=CLUSTER)
        runtime = self._runtime()
        instance = self._machine(stack, ecs, runtime)
        definition = {"family": FAMILY, "networkMode": "host", "requiresCompatibilities": ["EXTERNAL"]}
        ecs.register_task_definition(containerDefinitions=[_container()], **definition)
        ran = ecs.run_task(cluster=CLUSTER, taskDefinition=FAMILY, launchType="EXTERNAL")
        if ran["failures"]:
            raise Problem(f"The task could not be placed: {ran['failures']}")
        self._service(ecs)
        err.print(f"Running a task, and a service of {REPLICAS} tasks")
        tasks = _watch(ecs, "all is RUNNING", lambda found: len(_running(found, runtime)) >= REPLICAS + 1)
        victim = next(task for task in _running(tasks, runtime) if task["group"] == f"service:{SERVICE}")
        known = {task["taskArn"] for task in tasks}
        _kill(victim, runtime)
        err.print(f"Killed a container of task {_id(victim)} behind the agent's back")

        def replaced(found: list[dict[str, Any]]) -> bool:
            running = _running(found, runtime)
            return len(running) >= REPLICAS + 1 and any(task["taskArn"] not in known for task in running)

        tasks = _watch(ecs, "it is replaced", replaced)
        replacement = next(task for task in tasks if task["taskArn"] not in known)
        err.print(f"Replaced by task {_id(replacement)}")
        return {
            **stack.public(),
            "runtime": runtime,
            "containerInstanceArn": instance,
            "taskArns": sorted(task["taskArn"] for task in _running(tasks, runtime)),
            "killed": victim["taskArn"],
            "replacement": replacement["taskArn"],
        }

    def _runtime(self) -> str:
        """docker where a Docker Engine answers and an image can be made, else processes of this machine."""
        try:
            engine = docker.from_env(timeout=10)
            engine.ping()
        except docker.errors.DockerException:
            err.print("No Docker Engine answers here: tasks run as processes of this machine (--runtime process)")
            return "process"
        try:
            with progress("Making a small image"):
                _make_image(engine, self.state.temporary())
        except (OSError, Problem, docker.errors.DockerException) as error:
            err.print(f"{error} Tasks run as processes of this machine (--runtime process)")
            return "process"
        finally:
            engine.close()
        return "docker"

    def _machine(self, stack: Stack, ecs: Any, runtime: str) -> str:
        """Make this machine a container instance, unless an earlier demo has."""
        data = self.state.agent_data
        if not (data / "identity" / "identity.json").exists():
            with progress("Registering this machine"):
                activation = operate(stack, "CreateActivation", cluster=CLUSTER)
                _agent(
                    "register",
                    "--registration-endpoint",
                    stack.registration_endpoint,
                    "--activation-id",
                    activation["activationId"],
                    "--activation-code",
                    activation["activationCode"],
                    "--data-dir",
                    str(data),
                    "--output",
                    "json",
                )
        identity = json.loads((data / "identity" / "identity.json").read_text())
        arn: str = identity["containerInstanceArn"]
        with progress("Starting the agent"):
            processes.end(self.state.agent_process)
            log = self.state.log("agent")
            processes.start(
                [agent_command(), "run", "--data-dir", str(data), "--runtime", runtime],
                log=log,
                pid_file=self.state.agent_process,
            )
            _until(
                lambda: _connected(ecs, arn),
                60,
                lambda: f"The agent did not connect. The end of {log}:\n{processes.tail(log)}",
            )
        return arn

    @staticmethod
    def _service(ecs: Any) -> None:
        found = ecs.describe_services(cluster=CLUSTER, services=[SERVICE])["services"]
        if found and found[0]["status"] == "ACTIVE":
            ecs.update_service(cluster=CLUSTER, service=SERVICE, desiredCount=REPLICAS)
        else:
            ecs.create_service(
                cluster=CLUSTER,
                serviceName=SERVICE,
                taskDefinition=FAMILY,
                desiredCount=REPLICAS,
                launchType="EXTERNAL",
            )


def next_steps(state: StateDir) -> str:
    """What to do with what the demo leaves running."""
    return (
        "Control plane, agent, task and service go on running.\n"
        f"  look:       {state.command('status')} --watch\n"
        f"  aws, boto3: {state.use_with_aws('list-tasks')}\n"
        f"  stop:       {state.command('down')}"
    )


def _container() -> dict[str, Any]:
    """The same for both runtimes: the next demo may choose the other one, and its service keeps what it was made of."""
    return {
        "name": "main",
        "image": IMAGE,
        "cpu": 32,
        "memory": 32,
        "entryPoint": ["/bin/sh", "-c"],
        "command": [LOOP],
        "stopTimeout": 5,
    }


def _make_image(engine: Any, temporary: Path) -> None:
    """Of a static busybox, imported: no registry is needed."""
    binary = shutil.which("busybox")
    if binary is None:
        raise Problem("There is no busybox to make an image of.")
    with tempfile.TemporaryDirectory(dir=temporary) as folder:
        archive = Path(folder) / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(Path(binary).resolve(), arcname="bin/busybox")
            for name in ("sh", "sleep"):
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        repository, tag = IMAGE.split(":")
        engine.api.import_image_from_file(str(archive), repository=repository, tag=tag)
    try:
        with unbroken():
            engine.containers.run(IMAGE, ["/bin/busybox", "true"], remove=True, network_mode="none")
    except docker.errors.DockerException as error:
        raise Problem(f"Docker cannot run the image ({error}).") from error


def _agent(*arguments: str) -> None:
    done = agent(*arguments)
    if done.returncode:
        raise Problem(f"`ecs-anywhere-agent {arguments[0]}` failed: {done.stderr.strip()}")


def _connected(ecs: Any, arn: str) -> bool:
    found = ecs.describe_container_instances(cluster=CLUSTER, containerInstances=[arn])["containerInstances"]
    return bool(found) and found[0]["agentConnected"]


def _until(done: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise Problem(problem())
        time.sleep(0.3)


def _watch(ecs: Any, until: str, done: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Show the tasks live until they are as wanted."""
    deadline = time.monotonic() + 90
    with Live(console=err, refresh_per_second=4, transient=not err.is_terminal) as live:
        while True:
            tasks = overview.read(ecs, CLUSTER)["tasks"]
            live.update(overview.tasks_table(tasks))
            if done(tasks):
                return tasks
            if time.monotonic() > deadline:
                raise Problem(
                    f"After 90 seconds: not yet «{until}». Look at `ecs-anywhere status` and the agent's log."
                )
            time.sleep(0.5)


def _running(tasks: list[dict[str, Any]], runtime: str) -> list[dict[str, Any]]:
    """Those that are to run, and do: a task of an earlier demo is RUNNING until the agent has told of its end."""
    return [
        task
        for task in tasks
        if (task["lastStatus"], task["desiredStatus"]) == ("RUNNING", "RUNNING") and _is_alive(task, runtime)
    ]


def _is_alive(task: dict[str, Any], runtime: str) -> bool:
    runtime_id: str = task["containers"][0]["runtimeId"]
    if runtime == "process":
        return psutil.pid_exists(_pid(runtime_id))
    try:
        with closing(docker.from_env()) as engine:
            status: str = engine.containers.get(runtime_id).status
    except docker.errors.NotFound:
        return False
    return status == "running"


def _kill(task: dict[str, Any], runtime: str) -> None:
    runtime_id: str = task["containers"][0]["runtimeId"]
    if runtime == "process":
        os.kill(_pid(runtime_id), signal.SIGKILL)
        return
    with closing(docker.from_env()) as engine:
        engine.containers.get(runtime_id).kill()


def _pid(runtime_id: str) -> int:
    """`pid.start` is what a container that is a process is called; -1, which nobody has, for one that is none."""
    pid = runtime_id.split(".", maxsplit=1)[0]
    return int(pid) if pid.isdigit() and len(pid) < 10 else -1


def _id(task: dict[str, Any]) -> str:
    identifier: str = task["taskArn"].rsplit("/", 1)[1]
    return identifier
