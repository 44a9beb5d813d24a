"""A machine in the simulation: the agent's real core over a runtime in memory, and a network that misbehaves."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime

from ecs_anywhere_agent.core import Instant, Rules, State, next_due, step
from ecs_anywhere_agent.core.actions import Action, DropCredentials, PublishReports, PublishRequest, StartContainer
from ecs_anywhere_agent.core.events import (
    AgentStarted,
    Condition,
    Connected,
    ContainerChanged,
    Disconnected,
    Event,
    InventoryTaken,
    MessageReceived,
    ReportAcknowledged,
    TimerFired,
)
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_protocol.capabilities import announced_attributes
from ecs_protocol.messages import Attribute, ControlPlaneMessage, Message, RegisterContainerInstance, TaskCredentials
from unit.agent.world import Runtime
from world import START

_FEATURES = ("process", "external", "other-user", "task-role", "task-role-network-host")
REGISTRATION = RegisterContainerInstance(
    request_id="-",
    digest="simulated",
    agent_version="1.0.0",
    cpu=1000,
    memory=1000,
    attributes=tuple(Attribute(name=name) for name in announced_attributes(_FEATURES)),
)


@dataclass
class Machine:
    """What survives a crash of the agent is `stored` and `runtime`; what is on its way up is `up`."""

    instance_id: str
    random: random.Random
    runtime: Runtime = field(default_factory=Runtime)
    stored: State = field(default_factory=State)
    state: State = field(default_factory=State)
    held: HeldCredentials = field(default_factory=HeldCredentials)
    pending: list[Event] = field(default_factory=list)
    up: list[tuple[datetime, Message]] = field(default_factory=list)
    """What is on its way, and when the broker got it."""
    connected: bool = False
    sessions: int = 0
    now: datetime = START
    rules: Rules = field(default_factory=Rules)
    boot_id: str | None = None

    def boot(self) -> None:
        """The agent starts, perhaps after it was killed: only what was stored is known."""
        self.state = replace(self.stored, link=None, offline_at=None, cut_off=False)
        self.pending, self.held = [], HeldCredentials()
        self.connected = False
        self.take(AgentStarted(f"arn:aws:ecs:eu-west-1:123456789012:container-instance/default/{self.instance_id}"))
        self.take(InventoryTaken(self.runtime.inventory()))

    def connect(self) -> None:
        self.sessions += 1
        self.connected = True
        registration = REGISTRATION.model_copy(update={"boot_id": self.boot_id})
        self.take(Connected(f"{self.boot_id or 'session'}-{self.sessions}", registration))

    def disconnect(self) -> None:
        self.connected = False
        self.take(Disconnected())

    def hear(self, message: ControlPlaneMessage) -> None:
        """What is sent to a machine that is not connected is lost."""
        if self.connected:
            if isinstance(message, TaskCredentials):
                self.take(self.held.receive(message, self.random.random()))
            else:
                self.take(MessageReceived(message))

    def take(self, event: Event) -> None:
        instant = Instant((self.now - START).total_seconds(), self.now)
        self.state, actions = step(self.state, event, instant, self.rules)
        self.stored = self.state
        for action in actions:
            self._do(action)

    def work(self) -> None:
        """One thing that has happened on the machine reaches the agent, or a timer fires."""
        if self.pending:
            self.take(self.pending.pop(0))
        elif (due := next_due(self.state)) is not None and due <= (self.now - START).total_seconds():
            self.take(TimerFired())

    def keep_time(self) -> None:
        """A machine's own timers are never late by more than one jump of the clock."""
        for _ in range(100):
            due = next_due(self.state)
            if due is None or due > (self.now - START).total_seconds():
                return
            self.take(TimerFired())

    def a_container_ends(self) -> None:
        alive = [ref for ref, each in self.runtime.containers.items() if each.condition is Condition.RUNNING]
        if alive:
            self.pending.append(ContainerChanged(self.runtime.end(self.random.choice(sorted(alive)), 1)))

    def running(self) -> set[str]:
        """Ids of the tasks of which a container runs."""
        containers = self.runtime.containers.items()
        return {ref.task_id for ref, each in containers if each.condition is Condition.RUNNING}

    def _do(self, action: Action) -> None:
        match action:
            case PublishRequest():
                if self.connected:
                    self.up.append((self.now, action.message))
            case PublishReports():
                # Either the broker has it and says so, or the connection was dead already and neither is so.
                if self.connected and self.random.random() < 0.9:
                    self.up.append((self.now, action.message))
                    self.pending.append(ReportAcknowledged(action.token))
            case DropCredentials():
                self.held.drop(action.task_id)
            case _:
                if isinstance(action, StartContainer) and self.state.tasks[action.ref.task_id].roles:
                    assert self.held.get(action.ref.task_id, "task"), "it was started without credentials"
                event = self.runtime.do(action)
                if event is not None:
                    self.pending.append(event)
