"""Whatever happens to a fleet, and whatever is heard of it: what a DAEMON service never does, and where it ends."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.scheduling.daemon import Place, Step, Verdict, plan_daemons
from control_plane.domain.scheduling.daemon_aftermath import after_chunk, may_stop
from control_plane.domain.scheduling.daemon_line import Line, started, total
from control_plane.domain.scheduling.rollout import bounds
from control_plane.domain.service import RolloutState, Service
from control_plane.domain.task import Task, request_stop
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_task, an_instance
from unit.scheduling.test_daemon import a_daemon

S = TaskStatus
CHUNK = 3
HAPPENINGS = (
    *("joins", "goes away", "returns", "matches", "stops matching", "drains", "drains with others", "is active"),
    *("others leave", "is protected", "goes on", "fails"),
)


@dataclass
class Machine:
    instance: ContainerInstance
    matches: bool = True
    room: bool = True
    others: bool = False
    """Tasks of other services are on it."""
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
    reminders: set[tuple[datetime, int]] = field(default_factory=set)
    """Times, and whom they are about."""

    def happens(self, what: str, number: int) -> None:
        self.now += timedelta(seconds=20)
        if what == "joins" or not self.machines:
            self.machines.append(Machine(an_instance(instance_id=f"{len(self.machines):032x}"), room=number % 5 != 0))
            return
        machine = self.machines[number % len(self.machines)]
        status = InstanceStatus.ACTIVE if what == "is active" else InstanceStatus.DRAINING
        match what:
            case "goes away" | "returns":
                machine.instance = machine.instance.model_copy(update={"agent_connected": what == "returns"})
            case "matches" | "stops matching":
                machine.matches = what == "matches"
            case "drains" | "drains with others" | "is active":
                machine.instance = machine.instance.model_copy(update={"status": status})
                machine.others = what == "drains with others"
            case "others leave":
                machine.others = False
            case "is protected" if machine.task is not None:
                until = self.now + timedelta(minutes=2)
                machine.task = machine.task.model_copy(update={"protected_until": until})
            case _ if machine.instance.agent_connected and machine.task is not None:
                machine.task = _gone_on(machine.task, self.now, fails=what == "fails")

    def deploys(self) -> None:
        self.made += 1
        newest = self.service.deployment.model_copy(
            update={"deployment_id": f"ecs-svc/{self.made + 2}", "rollout_state": RolloutState.IN_PROGRESS}
        )
        older = (self.service.deployment, *self.service.older)
        self.service = self.service.model_copy(update={"deployment": newest, "older": older, "planned": False})

    def looks_at(self, some: Collection[int] | None, *, dies_after: int = 99) -> None:
        """As flows/schedule_daemon.py does it, with smaller transactions; it may die between two of them."""
        more = self._looks(some, dies_after)
        while more:
            more = self._looks((), dies_after)

    def time_comes(self) -> None:
        """For all that there is a reminder of; whole looks are not among them."""
        while self.reminders:
            at, number = min(self.reminders)
            self.reminders.remove((at, number))
            self.now = max(self.now, at)
            self.looks_at([number])

    def _looks(self, some: Collection[int] | None, dies_after: int) -> bool:
        service = self.service
        whole = some is None or not service.planned or service.tally is None
        also = [] if whole else self._behind(min(CHUNK, may_stop(service)))
        seen = [each for number, each in enumerate(self.machines) if whole or number in {*(some or ()), *also}]
        places = [self._place(machine) for machine in seen]
        here = total(place.line for place in places if place.line)
        counts = here if whole else Counter(service.tally)
        planned = plan_daemons(service, places, self.now, elsewhere=counts - here)
        self._check_stops(planned.steps)
        before = service
        chunks = [planned.steps[at : at + CHUNK] for at in range(0, len(planned.steps), CHUNK)] or [()]
        for number, steps in enumerate(chunks, start=1):
            for step in steps:
                after = self._done(step)
                counts = counts - total([step.place.line] if step.place.line else [])
                counts = counts + total([after] if after else [])
            last = number == len(chunks)
            service = after_chunk(service, planned, steps, counts, self.now, whole=whole, last=last)
            service = service.model_copy(update={"rolled_up_to": self._id(also[-1]) if also else service.rolled_up_to})
            if number == dies_after:
                break
        self.service = service
        assert counts == total(self.lines.values())
        assert service.desired_count == sum(line.wanted for line in self.lines.values())
        goes_on = not whole and may_stop(service) > 0 and dies_after > len(chunks)
        assert not goes_on or service != before, "what goes on gets further"
        return goes_on

    def _behind(self, count: int) -> list[int]:
        """The next ones, round and round, as store/daemons.py finds them."""
        last = self.service.rolled_up_to or ""
        found = [number for number, each in enumerate(self.machines) if self._is_behind(each.instance.instance_id)]
        in_order = sorted(found, key=lambda number: (self._id(number) <= last, self._id(number)))
        return in_order[:count]

    def _is_behind(self, instance_id: str) -> bool:
        return instance_id in self.lines and self.lines[instance_id].behind

    def _id(self, number: int) -> str:
        return self.machines[number].instance.instance_id

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
            others=machine.others,
        )

    def _check_stops(self, steps: Collection[Step]) -> None:
        after = {**self.lines, **{step.place.instance_id: step.line for step in steps}}
        well = sum(bool(line and line.healthy) for line in after.values())
        wanted = sum(bool(line and line.wanted) for line in after.values())
        for step in steps:
            if step.stop is Verdict.BEHIND and step.place.line and step.place.line.healthy:
                assert well >= bounds(self.service, wanted).least
            assert not step.stop or step.place.connected, "never on a machine that is away"
            assert not (step.stop and step.place.others and self._drains(step.place)), "it is the last to stop"
            assert not (step.stop and step.place.task and step.place.task.protected(self.now))

    def _drains(self, place: Place) -> bool:
        return place.instance is not None and place.instance.status is InstanceStatus.DRAINING

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
            if after.look_at is not None:
                self.reminders.add((after.look_at, self.machines.index(machine)))
        return after


def _gone_on(task: Task, now: datetime, *, fails: bool) -> Task:
    stopped = {"last_status": S.STOPPED, "desired_status": DesiredStatus.STOPPED, "stopped_at": now}
    if task.stopped:
        return task
    if task.desired_status is DesiredStatus.STOPPED or fails:
        code = task.stop_code or StopCode.TASK_FAILED_TO_START
        return task.model_copy(update={**stopped, "stop_code": code})
    return task.model_copy(update={"last_status": S.RUNNING, "started_at": task.started_at or now})


def a_running_fleet(least: int, size: int) -> Fleet:
    fleet = Fleet(a_daemon(least, older=()))
    fleet.looks_at(None)
    for number in range(size):
        for what in ("joins", "goes on"):
            fleet.happens(what, number)
            fleet.looks_at([number])
    return fleet


kinds = st.sampled_from([*HAPPENINGS, *["goes on"] * 2, *["a deployment"] * 2])
heard = st.sampled_from(["heard", "heard", "heard", "lost", "twice", "all", "dies"])
happenings = st.lists(st.tuples(kinds, st.integers(0, 30), heard), max_size=40)


@settings(max_examples=200, deadline=None)
@given(happenings, st.sampled_from([0, 50, 75, 99]), st.integers(0, 8))
def test_any_fleet(events: list[tuple[str, int, str]], least: int, size: int) -> None:
    fleet = a_running_fleet(least, size)
    for what, number, how in events:
        dies_after = 1 if how == "dies" else 99
        if what == "a deployment":
            fleet.deploys()
            fleet.looks_at(None, dies_after=dies_after)
            continue
        fleet.happens(what, number)
        named = [number % len(fleet.machines)] if what != "joins" else [len(fleet.machines) - 1]
        for _ in range({"lost": 0, "twice": 2}.get(how, 1)):
            fleet.looks_at(None if how == "all" else named, dies_after=dies_after)
    _all_goes_well(fleet)
    _has_come_to_rest(fleet)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(kinds, st.integers(0, 30)), max_size=30), st.sampled_from([0, 50, 75]), st.integers(1, 8))
def test_if_all_is_heard_all_are_looked_at_only_when_somebody_changes_the_service(
    events: list[tuple[str, int]], least: int, size: int
) -> None:
    """Of what happens on an instance, or is due there, that instance alone is named."""
    fleet = a_running_fleet(least, size)
    for what, number in events:
        if what == "a deployment":
            fleet.deploys()
            fleet.looks_at(None)
            continue
        for _ in range(4 if what == "fails" else 1):
            fleet.happens(what, number)
            fleet.looks_at([number % len(fleet.machines)] if what != "joins" else [len(fleet.machines) - 1])
    for number, machine in enumerate(fleet.machines):
        machine.room = True
        for what in ("others leave", "returns"):
            fleet.happens(what, number)
            fleet.looks_at([number])
    _nothing_happens_but_what_it_does(fleet)
    if fleet.service.stuck:
        well = sum(line.healthy for line in fleet.lines.values())
        assert well == bounds(fleet.service, fleet.service.desired_count).least, "none may be down"
    else:
        _has_come_to_rest(fleet)


def _nothing_happens_but_what_it_does(fleet: Fleet) -> None:
    """Machines do as they are told, and say so, and reminders come."""
    for _ in range(4 * len(fleet.machines)):
        fleet.time_comes()
        for number, machine in enumerate(fleet.machines):
            before = machine.task
            fleet.happens("goes on", number)
            if machine.task != before:
                fleet.looks_at([number])


def _has_come_to_rest(fleet: Fleet) -> None:
    newest = fleet.service.deployment.deployment_id
    for machine in fleet.machines:
        if machine.fits:
            assert machine.task is not None
            assert (machine.task.last_status, machine.task.deployment_id) == (S.RUNNING, newest)
        else:
            assert machine.task is None
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
        machine.others = False
    for _ in range(6):
        fleet.now += timedelta(hours=1)
        fleet.looks_at(None)
        for number in range(len(fleet.machines)):
            fleet.happens("goes on", number)
            fleet.looks_at([number])
