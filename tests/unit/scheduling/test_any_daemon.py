"""Whatever happens to a fleet, and whatever is heard of it: what a DAEMON service never does, and where it ends."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.scheduling.daemon import Line, Place, Step, Verdict, plan_daemons, started, total
from control_plane.domain.scheduling.daemon_aftermath import after_chunk, needs_whole_look
from control_plane.domain.scheduling.rollout import bounds
from control_plane.domain.service import RolloutState, Service
from control_plane.domain.task import Task, request_stop
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_task, an_instance
from unit.scheduling.test_daemon import a_daemon

S = TaskStatus
CHUNK = 3
HAPPENINGS = ("joins", "goes away", "returns", "matches", "stops matching", "drains", "is active", "goes on", "fails")


@dataclass
class Machine:
    instance: ContainerInstance
    matches: bool = True
    room: bool = True
    task: Task | None = None

    @property
    def fits(self) -> bool:
        return self.matches and self.instance.status is InstanceStatus.ACTIVE


@dataclass
class Fleet:
    """A service and its machines. Only what is looked at is known; the rest stands in the tally."""

    service: Service
    now: datetime = NOW
    machines: list[Machine] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    made: int = 0

    def happens(self, what: str, number: int) -> None:
        self.now += timedelta(seconds=20)
        if what == "joins" or not self.machines:
            self.machines.append(Machine(an_instance(instance_id=f"{len(self.machines):032x}"), room=number % 5 != 0))
            return
        machine = self.machines[number % len(self.machines)]
        status = InstanceStatus.DRAINING if what == "drains" else InstanceStatus.ACTIVE
        match what:
            case "goes away" | "returns":
                machine.instance = machine.instance.model_copy(update={"agent_connected": what == "returns"})
            case "matches" | "stops matching":
                machine.matches = what == "matches"
            case "drains" | "is active":
                machine.instance = machine.instance.model_copy(update={"status": status})
            case _ if machine.instance.agent_connected and machine.task is not None:
                machine.task = _gone_on(machine.task, self.now, fails=what == "fails")

    def deploys(self) -> None:
        self.made += 1
        newest = self.service.deployment.model_copy(
            update={"deployment_id": f"ecs-svc/{self.made + 2}", "rollout_state": RolloutState.IN_PROGRESS}
        )
        older = (self.service.deployment, *self.service.older)
        self.service = self.service.model_copy(update={"deployment": newest, "older": older, "planned": False})

    def looks_at(self, some: Collection[int] | None) -> None:
        """As flows/schedule_daemon.py does it, with smaller transactions."""
        service = self.service
        whole = some is None or not service.planned or service.tally is None or needs_whole_look(service)
        seen = [each for number, each in enumerate(self.machines) if whole or number in (some or ())]
        places = [self._place(machine) for machine in seen]
        here = total(place.line for place in places if place.line)
        counts = here if whole else Counter(service.tally)
        planned = plan_daemons(service, places, self.now, elsewhere=counts - here)
        self._check_stops(planned.steps)
        chunks = [planned.steps[at : at + CHUNK] for at in range(0, len(planned.steps), CHUNK)] or [()]
        for number, steps in enumerate(chunks, start=1):
            for step in steps:
                after = self._done(step)
                counts = counts - total([step.place.line] if step.place.line else [])
                counts = counts + total([after] if after else [])
            last = number == len(chunks)
            service = after_chunk(service, planned, steps, counts, self.now, whole=whole, last=last)
        self.service = service
        assert counts == total(self.lines.values())
        assert service.desired_count == sum(line.wanted for line in self.lines.values())

    def _place(self, machine: Machine) -> Place:
        line = self.lines.get(machine.instance.instance_id)
        assert (line.task_id if line else None) == (machine.task.task_id if machine.task else None)
        return Place(
            machine.instance.instance_id,
            line,
            machine.task,
            machine.instance,
            matches=machine.fits,
            lacks=() if machine.room else ("RESOURCE:MEMORY",),
        )

    def _check_stops(self, steps: Collection[Step]) -> None:
        after = {**self.lines, **{step.place.instance_id: step.line for step in steps}}
        well = sum(bool(line and line.healthy) for line in after.values())
        wanted = sum(bool(line and line.wanted) for line in after.values())
        for step in steps:
            if step.stop is Verdict.BEHIND and step.place.line and step.place.line.healthy:
                assert well >= bounds(self.service, wanted).least
            assert step.stop is not Verdict.BEHIND or step.place.connected

    def _done(self, step: Step) -> Line | None:
        [machine] = [each for each in self.machines if each.instance.instance_id == step.place.instance_id]
        after = step.line
        if machine.task is not None and machine.task.stopped:
            machine.task = None
        if step.start:
            assert after is not None
            assert machine.task is None, "never two on an instance"
            assert machine.fits
            assert machine.room
            assert machine.instance.agent_connected
            self.made += 1
            machine.task = a_task(
                self.made,
                instance_id=step.place.instance_id,
                deployment_id=self.service.deployment.deployment_id,
                created_at=self.now,
            )
            after = started(after, machine.task)
        if step.stop:
            assert machine.task is not None
            machine.task = request_stop(machine.task, StopCode.SERVICE_SCHEDULER_INITIATED, "", self.now)
        self.lines.pop(step.place.instance_id, None)
        if after is not None:
            self.lines[step.place.instance_id] = after
        return after


def _gone_on(task: Task, now: datetime, *, fails: bool) -> Task:
    stopped = {"last_status": S.STOPPED, "desired_status": DesiredStatus.STOPPED, "stopped_at": now}
    if task.stopped:
        return task
    if task.desired_status is DesiredStatus.STOPPED or fails:
        code = task.stop_code or StopCode.TASK_FAILED_TO_START
        return task.model_copy(update={**stopped, "stop_code": code})
    return task.model_copy(update={"last_status": S.RUNNING, "started_at": task.started_at or now})


happenings = st.lists(
    st.tuples(
        st.sampled_from([*HAPPENINGS, *["joins", "goes on"] * 2, "a deployment"]),
        st.integers(0, 30),
        st.sampled_from(["heard", "heard", "heard", "lost", "twice", "all"]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(happenings, st.sampled_from([0, 50, 75, 99]))
def test_any_fleet(events: list[tuple[str, int, str]], least: int) -> None:
    fleet = Fleet(a_daemon(least, older=()))
    for what, number, how in events:
        if what == "a deployment":
            fleet.deploys()
            fleet.looks_at(None)
            continue
        fleet.happens(what, number)
        named = [number % len(fleet.machines)] if what != "joins" else [len(fleet.machines) - 1]
        for _ in range({"lost": 0, "twice": 2}.get(how, 1)):
            fleet.looks_at(None if how == "all" else named)
    _all_goes_well(fleet)
    newest = fleet.service.deployment.deployment_id
    for machine in fleet.machines:
        if machine.fits:
            assert machine.task is not None
            assert (machine.task.last_status, machine.task.deployment_id) == (S.RUNNING, newest)
    assert fleet.service.steady
    assert fleet.service.desired_count == fleet.service.running_count
    assert fleet.service.older == ()


def _all_goes_well(fleet: Fleet) -> None:
    """Every machine is there again, has room, and does as it is told; and the service may have one down at least."""
    configuration = fleet.service.deployment_configuration.model_copy(update={"minimum_healthy_percent": 0})
    fleet.service = fleet.service.model_copy(update={"deployment_configuration": configuration})
    for machine in fleet.machines:
        machine.instance = machine.instance.model_copy(update={"agent_connected": True})
        machine.room = True
    for _ in range(6):
        fleet.now += timedelta(hours=1)
        fleet.looks_at(None)
        for number in range(len(fleet.machines)):
            fleet.happens("goes on", number)
            fleet.looks_at([number])
