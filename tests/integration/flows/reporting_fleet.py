"""Machines that do as they are told, and a service on them; what it costs is counted (capacity.py)."""

import uuid
from dataclasses import dataclass
from typing import Any

from control_plane.flows.publish_events import publish_events
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.services import create_service, update_service
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from integration.flows.capacity import Meter
from world import World

STREAM_BATCH = 100
"""Records that one run of stream_events is given at most, as the template has it."""

QUEUE_BATCH = 10
"""Messages that one run of the scheduler is given at most."""


@dataclass
class Bill:
    """What was used, and how many times the scheduler ran."""

    reads: float
    writes: float
    runs: int

    @property
    def units(self) -> float:
        return self.reads + self.writes


class Fleet:
    """What the stream and the queue bring comes in batches as Lambda makes them."""

    def __init__(self, client: Any, machines: int) -> None:
        self.world = World(client, table_name=f"services-{uuid.uuid4().hex}")
        self.meter = Meter()
        self.meter.attach(client)
        self.world.table.unseen = self.meter.paused
        self.world.cluster()
        self.world.task_definition(memory=10, cpu=1)
        self.world.task_definition(memory=10, cpu=1)
        self.machines = [self.world.machine(memory=40_000, cpu=4000) for _ in range(machines)]
        create_service(self.world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 0})
        self.settle()

    def settle(self) -> int:
        """Until nothing happens any more. Answers how often the scheduler ran."""
        runs = 0
        while self.world.table.stream or self.world.queues.services or self._report():
            records, self.world.table.stream = self.world.table.stream, []
            self.world.pass_time(1)
            for start in range(0, len(records), STREAM_BATCH):
                publish_events(self.world.cp, records[start : start + STREAM_BATCH])
            woken, self.world.queues.services = self.world.queues.services, []
            for start in range(0, len(woken), QUEUE_BATCH):
                runs += 1
                assert not schedule_services(self.world.cp, [key for key, _ in woken[start : start + QUEUE_BATCH]])
        return runs

    def _report(self) -> bool:
        """Each machine reports what it was told, all at once. Answers whether there was anything."""
        said = False
        for machine in self.machines:
            with self.meter.paused():
                held = tasks.of_instance(self.world.table, "default", machine)
            reports = [
                self.world.report_of(
                    task.task_id,
                    status,
                    task.report_number + 1,
                    containers=(ContainerReport(name="main", last_status=status),),
                )
                for task in held
                if (status := _wanted(task.desired_status)) is not task.last_status
            ]
            if reports:
                said = True
                assert not self.world.report(*reports, instance_id=machine)
        return said

    def change(self, **members: Any) -> Bill:
        self.meter.reset()
        update_service(self.world.cp, {"service": "web", **members})
        runs = self.settle()
        return Bill(self.meter.reads, self.meter.writes, runs)


def _wanted(desired: DesiredStatus) -> TaskStatus:
    return TaskStatus.RUNNING if desired is DesiredStatus.RUNNING else TaskStatus.STOPPED
