"""What the tests of both real runtimes share."""

import queue
import time
from collections.abc import Callable
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec, container_specs
from ecs_anywhere_agent.core.actions import (
    CreateContainer,
    PullImage,
    RemoveContainer,
    RestartContainer,
    RuntimeAction,
    StartContainer,
    StopContainer,
)
from ecs_anywhere_agent.core.events import (
    ActionFailed,
    Condition,
    ContainerChanged,
    ContainerSnapshot,
    ImagePulled,
)
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.interface import Runtime

ARN = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/" + "1" * 32
TASK_ID = "a" * 32
REF = ContainerRef(TASK_ID, "main")

Told = ContainerChanged | ImagePulled | ActionFailed


def spec(*command: str, overrides: dict[str, Any] | None = None, **members: Any) -> ContainerSpec:
    container: dict[str, Any] = {"name": "main", "image": "busybox:test", "essential": True, "memory": 32}
    if command:
        container["command"] = list(command)
    definition: dict[str, Any] = {"family": "web", "revision": 1}
    for name, member in {"networkMode": "networkMode", "task_cpu": "cpu", "task_memory": "memory"}.items():
        if name in members:
            definition[member] = members.pop(name)
    definition["containerDefinitions"] = [{**container, **members}]
    arn = f"arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}"
    return container_specs(definition, overrides or {}, container_instance_arn=ARN, cluster="default", task_arn=arn)[0]


class Driver:
    """A runtime, and what it has told."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.closed = False
        self.told: queue.Queue[Told] = queue.Queue()
        self.inventory = runtime.open(self.told.put)

    def do(self, action: RuntimeAction) -> Told:
        self.runtime.perform(action)
        return self.next()

    def next(self, timeout: float = 30.0) -> Told:
        return self.told.get(timeout=timeout)

    def changed(self) -> ContainerSnapshot:
        told = self.next()
        assert isinstance(told, ContainerChanged), told
        return told.snapshot

    def until(self, condition: Condition, ref: ContainerRef = REF) -> ContainerSnapshot:
        while True:
            snapshot = self.changed()
            if snapshot.condition is condition and snapshot.ref == ref:
                return snapshot

    def create(self, container: ContainerSpec, ref: ContainerRef = REF) -> ContainerSnapshot:
        self.runtime.perform(PullImage(ref, container.image))
        pulled = self.next()
        assert isinstance(pulled, ImagePulled), pulled
        self.runtime.perform(CreateContainer(ref, container))
        return self.changed()

    def start(self, container: ContainerSpec, ref: ContainerRef = REF) -> ContainerSnapshot:
        assert self.create(container, ref).condition is Condition.CREATED
        self.runtime.perform(StartContainer(ref))
        return self.changed()

    def restart(self, after: ContainerSnapshot | None = None, ref: ContainerRef = REF) -> ContainerSnapshot:
        """What is told then, of another run than that of `after`, whose end may be told twice."""
        self.runtime.perform(RestartContainer(ref))
        while True:
            snapshot = self.changed()
            if after is None or snapshot.run != after.run:
                return snapshot

    def ended(self, snapshot: ContainerSnapshot) -> ContainerSnapshot:
        """How the run has ended, or will."""
        return snapshot if snapshot.condition is Condition.EXITED else self.until(Condition.EXITED, snapshot.ref)

    def stop(self, *, kill: bool = False, ref: ContainerRef = REF) -> ContainerSnapshot:
        self.runtime.perform(StopContainer(ref, kill=kill))
        return self.until(Condition.EXITED, ref)

    def remove(self, ref: ContainerRef = REF) -> None:
        self.runtime.perform(RemoveContainer(ref))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.runtime.close()


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)
