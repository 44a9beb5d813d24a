"""Flows, store and two agents in one process on a fake clock, with messages lost, repeated and reordered.

Each step one seeded thing happens; after each, what must never happen is checked against the table itself. In the end
faults cease, and what the table says must be what the machines do.
"""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import pytest

from control_plane.domain.errors import EcsError
from control_plane.domain.inbox import Presence
from control_plane.domain.task import Task
from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.flows.get_credentials import get_credentials
from control_plane.flows.look_at_container_instance import look_at_container_instances
from control_plane.flows.look_at_service import look_at_services
from control_plane.flows.note_presence import note_presence
from control_plane.flows.publish_events import publish_events
from control_plane.flows.run_task import run_task
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service, update_service
from control_plane.flows.stop_task import stop_task
from control_plane.flows.submit_task_state_change import submit_task_state_changes
from control_plane.flows.sweep import sweep
from control_plane.gateways.identities import Certificate
from control_plane.store import services, tasks
from ecs_protocol.messages import GetCredentials, Message, TaskStateChanges
from ecs_protocol.names import thing_name
from ecs_protocol.statuses import SUCCESSORS, DesiredStatus, TaskStatus
from simulation.machines import Machine
from world import PREFIX, World

Event = Literal["connected", "disconnected"]
STEPS = 1000
SEEDS = range(int(os.environ.get("SIMULATION_SEEDS", "1")))
"""More seeds take a minute or two each."""


class Simulation:
    """One run. `chaos` off: nothing is lost any more and every machine is connected."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.seen: dict[str, TaskStatus] = {}
        self.had: set[str] = set()
        """Every task that the service of one copy has ever had."""
        self.chaos = True
        world.cluster()
        for family, memory in (("small", 50), ("large", 200)):
            world.task_definition(family, memory=memory, cpu=10)
        world.task_definition("roled", memory=50, cpu=10, task_role="app")
        self.presences: list[tuple[datetime, Machine, Event, int]] = []
        self.machines = [self._machine(number) for number in range(2)]
        create_service(world.cp, {"serviceName": "web", "taskDefinition": "small", "desiredCount": 3})
        once = {"serviceName": "once", "taskDefinition": "small", "desiredCount": 1}
        tags = [{"key": "ecs-anywhere:disconnect", "value": "stop-after=2m"}]
        create_service(world.cp, {**once, "tags": tags})

    def _machine(self, number: int) -> Machine:
        instance_id = f"{self.random.getrandbits(128):032x}"
        certificate = Certificate(f"arn:aws:iot:::cert/cert-{instance_id}", "PEM")
        self.world.registry.attach(certificate, thing_name(PREFIX, instance_id), "default")
        machine = Machine(instance_id, random.Random(self.random.random() + number), boot_id=f"{number}-0")
        machine.boot()
        machine.connect()
        self._tell(machine, "connected")
        return machine

    def _tell(self, machine: Machine, event: Event) -> None:
        """What IoT Core tells of a connection; an end is looked at a little later."""
        due = self.world.now + timedelta(seconds=3 if event == "disconnected" else 0)
        self.presences.append((due, machine, event, machine.sessions))

    def step(self) -> None:
        likely: list[tuple[int, Callable[[], None]]] = [
            (4, self.run),
            (3, self.stop),
            (1, self.scale),
            (12, self.up),
            (12, self.down),
            (8, self.stream),
            (5, self.schedule),
            (25, self.work),
            (2, self.end),
            (1, self.crash),
            (1, self.cut),
            (3, self.connect),
            (4, self.presence),
            (1, self.sweep),
            (6, self.time),
        ]
        [happens] = self.random.choices([each for _, each in likely], [weight for weight, _ in likely])
        happens()
        self.check()

    # --- what happens

    def run(self) -> None:
        family = self.random.choice(["small", "large", "roled"])
        try:
            run_task(self.world.function(), {"taskDefinition": family, "count": self.random.randint(1, 3)})
        except EcsError:
            return

    def stop(self) -> None:
        active = self.active()
        if active:
            stop_task(self.world.cp, {"task": self.random.choice(active).task_id})

    def scale(self) -> None:
        update_service(self.world.cp, {"service": "web", "desiredCount": self.random.randint(0, 5)})

    def up(self) -> None:
        """A message from a machine reaches its function: any of those on their way, perhaps not for the last time."""
        machine = self.random.choice(self.machines)
        if not machine.up:
            return
        message = machine.up[self.random.randrange(len(machine.up))] if self.chaos else machine.up[0]
        if not (self.chaos and self.random.random() < 0.2):
            machine.up.remove(message)
        self._receive(machine, message)

    def _receive(self, machine: Machine, sent: tuple[datetime, Message]) -> None:
        received_at, message = sent
        envelope = replace(self.world.envelope(machine.instance_id, message), received_at=received_at)
        if isinstance(message, TaskStateChanges):
            assert submit_task_state_changes(self.world.function(), [envelope]) == set()
        elif isinstance(message, GetCredentials):
            get_credentials(self.world.function(), envelope)
        else:
            answer_agent_request(self.world.function(), envelope)

    def down(self) -> None:
        """A message to a machine: any of those on their way, lost, or not for the last time."""
        sent = self.world.agents.sent
        if not sent:
            return
        at = self.random.randrange(len(sent)) if self.chaos else 0
        to, message = sent[at]
        if not (self.chaos and self.random.random() < 0.15):
            del sent[at]
        if not (self.chaos and self.random.random() < 0.1):
            next(machine for machine in self.machines if machine.instance_id == to).hear(message)

    def stream(self) -> None:
        """The stream brings a batch in order, now and then twice."""
        records = self.world.table.stream
        batch = records[: self.random.randint(1, 10)] if self.chaos else records[:]
        if not (self.chaos and self.random.random() < 0.1):
            del records[: len(batch)]
        self.world.deliver_commands(batch)
        publish_events(self.world.cp, batch)

    def schedule(self) -> None:
        keys = self.world.queues.services
        if keys:
            key, _ = keys[0]
            if not (self.chaos and self.random.random() < 0.2):
                self.world.queues.services = [each for each in keys if each[0] != key]
            assert not schedule_services(self.world.function(), [key])

    def work(self) -> None:
        self.random.choice(self.machines).work()

    def end(self) -> None:
        self.random.choice(self.machines).a_container_ends()

    def crash(self) -> None:
        machine = self.random.choice(self.machines)
        if machine.connected:
            self._tell(machine, "disconnected")
        if machine.random.random() < 0.5:  # the whole machine started again
            machine.boot_id = f"{machine.boot_id}+"
        machine.boot()

    def cut(self) -> None:
        machine = self.random.choice(self.machines)
        if machine.connected:
            machine.disconnect()
            self._tell(machine, "disconnected")

    def connect(self) -> None:
        machine = self.random.choice(self.machines)
        if not machine.connected:
            machine.connect()
            self._tell(machine, "connected")

    def presence(self) -> None:
        """One of the lifecycle events that are due: any, perhaps not for the last time, now and then lost."""
        due = [each for each in self.presences if each[0] <= self.world.now]
        if not due:
            return
        each = self.random.choice(due) if self.chaos else due[0]
        if not (self.chaos and self.random.random() < 0.1):
            self.presences.remove(each)
        if not (self.chaos and self.random.random() < 0.1):
            _, machine, event, session = each
            client, name = thing_name(PREFIX, machine.instance_id), f"session-{session}"
            note_presence(self.world.function(), Presence(client, event, name, session, self.world.now))

    def sweep(self) -> None:
        sweep(self.world.cp)
        looks, self.world.queues.looks = self.world.queues.looks, []
        assert not look_at_container_instances(self.world.function(), looks)

    def time(self) -> None:
        self.pass_time(self.random.choice([1, 1, 5, 30]))

    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)
        for machine in self.machines:
            machine.now = self.world.now
            machine.keep_time()
        out = [key for key in self.world.queues.those_out() if not (self.chaos and self.random.random() < 0.1)]
        assert not look_at_services(self.world.function(), out)

    # --- what is true

    def active(self) -> list[Task]:
        return [
            task
            for machine in self.machines
            for task in tasks.of_instance(self.world.table, "default", machine.instance_id)
        ]

    def check(self) -> None:
        """Rules 1, 2 and 4, from the table itself."""
        active = self.active()
        for machine in self.machines:
            instance = self.world.instance(machine.instance_id)
            if instance is None:
                continue
            held = [task for task in active if task.instance_id == machine.instance_id]
            assert instance.memory >= 0
            assert instance.memory + sum(task.memory for task in held) == 1000
            assert instance.cpu + sum(task.cpu for task in held) == 1000
            assert instance.tasks == len(held)
            assert instance.duplicate_found_at is None, "nobody is taken for two machines"
            assert all(count == 1 for count in machine.runtime.starts.values()), "a container was started twice"
        self.had |= {task.task_id for task in active if task.service == "once"}
        assert sum(len(machine.running() & self.had) for machine in self.machines) <= 1, "two copies of one task"
        for task in active:
            before = self.seen.get(task.task_id, task.last_status)
            assert task.last_status is before or task.last_status in SUCCESSORS[before]
            self.seen[task.task_id] = task.last_status

    def settle(self) -> None:
        """No more faults: everything is delivered, machines are connected, and time passes."""
        self.chaos = False
        for machine in self.machines:
            machine.random = random.Random(1)
            if not machine.connected:
                machine.connect()
                self._tell(machine, "connected")
        for minute in range(13):
            for _ in range(3):  # with a longer stride a machine would stop for want of contact what it may run
                while self._anything():
                    pass
                while [each for each in self.presences if each[0] <= self.world.now]:
                    self.presence()
                if minute < 12:
                    self.pass_time(20)
            self.sweep()
        self.check()

    def _anything(self) -> bool:
        before = (len(self.world.agents.sent), len(self.world.table.stream), len(self.world.queues.services))
        for machine in self.machines:
            while machine.up:
                self._receive(machine, machine.up.pop(0))
            for _ in range(50):
                machine.work()
        while self.world.agents.sent:
            self.down()
        self.stream()
        self.schedule()
        return before != (0, 0, 0) or any(machine.up or machine.pending for machine in self.machines)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thousand_steps(world: World, seed: int) -> None:
    simulation = Simulation(world, seed)
    for _ in range(STEPS):
        simulation.step()
    simulation.settle()

    assert world.sts.calls, "no task had a role"
    active = simulation.active()
    assert [task for task in active if task.last_status is not TaskStatus.RUNNING] == []
    for machine in simulation.machines:
        should = {task.task_id for task in active if task.instance_id == machine.instance_id}
        assert machine.running() == should
    for name in ("web", "once"):
        service = services.load(world.table, "default", name)
        assert service is not None
        mine = [task for task in active if task.service == name and task.desired_status is DesiredStatus.RUNNING]
        seen = (len(mine), service.running_count, service.steady)
        assert seen == (service.desired_count, service.desired_count, True)
