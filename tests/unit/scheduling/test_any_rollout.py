"""Whatever happens to a REPLICA service and its machines: what its scheduler never does, and where it ends.

Tasks fail, fall ill and crash; machines go away, return, fill up and are emptied; deployments, scaling, other bounds,
protection and stops come at any time. The fleet carries out what is planned as flows/schedule_service.py does, in
smaller chunks. What is checked is reckoned here from the tasks alone.
"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.scheduling.aftermath import service_after
from control_plane.domain.scheduling.in_the_way import make_way
from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.rollout import threshold
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.service import (
    CircuitBreaker,
    Deployment,
    DeploymentConfiguration,
    RolloutState,
    Service,
)
from control_plane.domain.task import Task, request_stop
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task

S, H = TaskStatus, HealthStatus
CHUNK = 3
UNCHECKED, CHECKED = "web:1", "web:2"
CHECKS = {CHECKED: frozenset({"main"})}
COUNTS_FOR = {"replace-after=10m": timedelta(minutes=10), "stop-after=10m": timedelta(minutes=10, seconds=30)}
"""By what the tag says, how long a task of a machine that is away is one of those wanted."""
BREAKER = CircuitBreaker(enable=True, rollback=True)


@dataclass
class Machine:
    name: str
    slots: int
    connected: bool = True
    changed_at: datetime = NOW
    draining: bool = False

    @property
    def connection(self) -> Connection:
        return Connection(self.connected, self.changed_at, self.changed_at, draining=self.draining)


@dataclass
class Fleet:
    service: Service
    machines: list[Machine]
    tag: str | None = None
    now: datetime = NOW
    tasks: list[Task] = field(default_factory=list)
    made: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """By deployment, what a circuit breaker may count at most."""

    # --- what happens to it

    def happens(self, what: str, number: int) -> None:
        self.now += timedelta(seconds=20)
        machine = self.machines[number % len(self.machines)]
        match what:
            case "goes away" | "returns":
                machine.connected, machine.changed_at = what == "returns", self.now
            case "drains" | "is active":
                machine.draining = what == "drains"
            case "fills up" | "has room":
                machine.slots = 0 if what == "fills up" else 20
            case "hours pass":
                self.now += timedelta(minutes=number)
            case "deploys" | "deploys the same":
                self.updated(deploys=True, definition=[UNCHECKED, CHECKED][number % 2] if what == "deploys" else None)
            case "scales":
                self.updated(desired_count=number % 7)
            case "bounds":
                self.updated(deployment_configuration=_bounds(BOUNDS[number % len(BOUNDS)], self._breaker))
            case _ if self.alive:
                self._task(self.alive[number % len(self.alive)], what)

    @property
    def alive(self) -> list[Task]:
        return [task for task in self.tasks if not task.stopped]

    @property
    def _breaker(self) -> CircuitBreaker | None:
        return self.service.deployment_configuration.circuit_breaker

    def _task(self, task: Task, what: str) -> None:
        if what == "is protected":
            self._put(task, protected_until=self.now + timedelta(minutes=5))
            return
        if not self._machine(task).connected:
            return
        stopped = {"last_status": S.STOPPED, "desired_status": DesiredStatus.STOPPED, "stopped_at": self.now}
        runs = task.last_status is S.RUNNING
        if task.desired_status is DesiredStatus.STOPPED:
            self._put(task, **stopped)
        elif what in {"fails", "crashes"}:
            code = StopCode.ESSENTIAL_CONTAINER_EXITED if runs else StopCode.TASK_FAILED_TO_START
            soon = runs and bool(self.service.tags) and self.now - (task.started_at or NOW) < timedelta(seconds=60)
            self.failures[task.deployment_id or ""] += not runs or soon
            self._put(task, **stopped, stop_code=code)
        elif what == "goes on" and not runs:
            self._put(task, last_status=S.RUNNING, started_at=self.now)
        elif runs:
            health = H.UNHEALTHY if what == "is ill" else H.HEALTHY
            report = ContainerReport(name="main", last_status=S.RUNNING, health_status=health)
            self._put(task, containers=(report,))

    def _machine(self, task: Task) -> Machine:
        return next(machine for machine in self.machines if machine.name == task.instance_id)

    def _put(self, task: Task, **members: Any) -> None:
        self.tasks = [each.model_copy(update=members) if each is task else each for each in self.tasks]

    def updated(self, *, deploys: bool = False, definition: str | None = None, **members: Any) -> None:
        """As flows/services.py writes it."""
        again = {"failed_starts": 0, "not_before": None, "steady": False, "stuck": False, "planned": False}
        before = self.service
        if deploys:
            self.made += 1
            newest = Deployment(
                deployment_id=f"ecs-svc/{self.made + 1000}",
                task_definition=definition or before.task_definition,
                created_at=self.now,
                updated_at=self.now,
            )
            members |= {"deployment": newest, "older": (before.deployment, *before.older), "short": False}
            members |= {"task_definition": newest.task_definition}
        self.service = before.model_copy(update={**again, **members})

    # --- its scheduler

    def looks(self) -> ServicePlan:
        for _ in range(100):
            planned, more = self._chunk()
            if not more:
                return planned
        raise AssertionError("one look does not end")

    def _chunk(self) -> tuple[ServicePlan, bool]:
        service, stopped = self.service, [task for task in self.tasks if task.stopped]
        places = {machine.name: machine.connection for machine in self.machines}
        planned = plan(service, [*self.alive, *stopped[:CHUNK]], self.now, places, checks=CHECKS)
        open_to_new = [machine for machine in self.machines if machine.connected and not machine.draining]
        free = [machine for machine in open_to_new for _ in range(machine.slots - self._held(machine))]
        wanted = min(planned.start, CHUNK)
        new = [self._new(machine) for machine in free[:wanted]]
        waits = len(new) < wanted
        if waits and not new:
            full = {machine.name for machine in open_to_new if machine.slots == self._held(machine)}
            there = [task for task in (*planned.ailing, *planned.former) if task.instance_id in full]
            planned = make_way(planned, there)
        self._check(planned, len(new), waits=waits)
        stopping = [*planned.stop, *planned.sick, *planned.give_up]
        told = {task.task_id for task in ([] if new else stopping[:CHUNK])}
        sick = tuple(task for task in planned.sick if task.task_id in told)
        self.failures[service.deployment.deployment_id] += len(sick) + waits
        gone = {task.task_id for task in planned.ended}
        self.tasks = [
            request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, "", self.now) if task.task_id in told else task
            for task in self.tasks
            if task.task_id not in gone
        ]
        self.tasks += new
        more = len(stopped) > CHUNK or bool(stopping) or (not waits and len(new) < planned.start) or planned.tripped
        name = service.deployment.deployment_id
        self.service = service_after(
            service,
            _with_sick(planned, sick),
            self.now,
            started={name: len(new)},
            waiting_since={name: (service.waiting_since or self.now) if waits else None},
            more=more,
        )
        self._check_failures(service, planned)
        return planned, more

    def _held(self, machine: Machine) -> int:
        return sum(task.instance_id == machine.name for task in self.alive)

    def _new(self, machine: Machine) -> Task:
        self.made += 1
        deployment = self.service.deployment
        return a_task(
            self.made,
            instance_id=machine.name,
            deployment_id=deployment.deployment_id,
            task_definition=deployment.task_definition,
            disconnect=self.tag,
            created_at=self.now,
        )

    # --- what it never does

    def _missed(self, task: Task) -> bool:
        machine = self._machine(task)
        return self.tag is not None and not machine.connected and self.now >= machine.changed_at + COUNTS_FOR[self.tag]

    def _counts(self, task: Task) -> bool:
        return task.desired_status is DesiredStatus.RUNNING and not self._missed(task)

    def _well(self, task: Task) -> bool:
        health = task.containers[0].health_status if task.containers else H.UNKNOWN
        checked = task.task_definition == CHECKED
        return self._counts(task) and task.last_status is S.RUNNING and (not checked or health is H.HEALTHY)

    def _ill(self, task: Task) -> bool:
        return bool(task.containers) and task.containers[0].health_status is H.UNHEALTHY

    def _check(self, planned: ServicePlan, starts: int, *, waits: bool) -> None:
        wanted, configuration = self.service.desired_count, self.service.deployment_configuration
        well = [task for task in self.alive if self._well(task)]
        least = math.ceil(wanted * configuration.minimum_healthy_percent / 100)
        gone = [task for task in well if task in planned.stop or task in planned.sick]
        assert not gone or len(well) - len(gone) >= least, "a healthy task that is needed stays"
        there = [
            task
            for task in self.alive
            if self._counts(task) or (task.desired_status is DesiredStatus.STOPPED and self._machine(task).connected)
        ]
        most = wanted * configuration.maximum_percent // 100
        assert not starts or len(there) + starts <= most, "no task is started beyond the upper bound"
        shielded = [task for task in planned.stop if task.protected(self.now) and not self._ill(task)]
        assert not shielded, "protection holds"
        single = self.tag == "stop-after=10m"
        may_run = [task for task in self.alive if not self._missed(task)]
        assert not (single and starts) or len(may_run) + starts <= wanted, "of a stop-after task there is one copy"
        others_ill = len(planned.ailing) + len(planned.sick) - 1
        for task in planned.sick:
            full = len(there) + planned.start >= most or waits or single
            assert full or len(well) >= wanted - others_ill, "an ill task stays until another is well in its place"
            assert not self._well(task)

    def _check_failures(self, before: Service, planned: ServicePlan) -> None:
        """What failed is counted once, and ends the deployment when it is too many."""
        counted = {each.deployment_id: each.failed_tasks for each in (self.service.deployment, *self.service.older)}
        name = before.deployment.deployment_id
        assert counted.get(name, 0) <= self.failures[name]
        if planned.tripped:
            assert self.failures[name] >= threshold(before)
            if self.service.deployment.deployment_id != name:
                self.failures[self.service.deployment.deployment_id] = 0


def _with_sick(planned: ServicePlan, sick: tuple[Task, ...]) -> ServicePlan:
    return replace(planned, sick=sick)


BOUNDS = [(100, 200), (50, 200), (0, 200), (50, 150), (50, 100), (0, 100), (100, 150), (99, 101), (34, 134)]
HAPPENINGS = (
    *["goes on"] * 3,
    *["is well", "is ill"] * 2,
    *["fails", "crashes", "is protected"],
    *["goes away", "returns", "drains", "is active", "fills up", "has room", "hours pass"],
    *["deploys", "deploys", "deploys the same", "scales", "bounds"],
)


def _bounds(percents: tuple[int, int], breaker: CircuitBreaker | None) -> DeploymentConfiguration:
    least, most = percents
    return DeploymentConfiguration(minimum_healthy_percent=least, maximum_percent=most, circuit_breaker=breaker)


happenings = st.lists(
    st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 30), st.sampled_from([0, 1, 1, 2])), max_size=60
)


breakers = st.sampled_from([None, BREAKER, BREAKER.model_copy(update={"reset_on_healthy_task": False})])
a_service_of_any_kind = st.builds(
    lambda desired, configuration, grace, tags: a_service(
        desired_count=desired,
        deployment_configuration=configuration,
        health_check_grace_period_seconds=grace,
        tags=tags,
    ),
    st.integers(0, 6),
    st.builds(_bounds, st.sampled_from(BOUNDS), breakers),
    st.sampled_from([None, 60]),
    st.sampled_from([{}, {"ecs-anywhere:circuit-breaker": "count-exits"}]),
)


@settings(max_examples=300, deadline=None)
@given(happenings, a_service_of_any_kind, st.sampled_from([None, *COUNTS_FOR]))
def test_any_rollout(events: list[tuple[str, int, int]], service: Service, tag: str | None) -> None:
    fleet = Fleet(service, [Machine(name * 32, slots=4) for name in "abc"], tag)
    fleet.looks()
    for what, number, looks in events:
        fleet.happens(what, number)
        for _ in range(looks):
            fleet.looks()
    _no_more_failures(fleet)
    if fleet.service.deployment.rollout_state is RolloutState.FAILED:
        fleet.updated(deploys=True)
        _no_more_failures(fleet)
    current = [task for task in fleet.alive if task.deployment_id == fleet.service.deployment.deployment_id]
    assert [fleet._well(task) for task in fleet.alive] == [True] * fleet.service.desired_count
    assert len(current) == fleet.service.desired_count
    assert (fleet.service.steady, fleet.service.older, fleet.service.failed_starts) == (True, (), 0)
    assert fleet.service.deployment.rollout_state is RolloutState.COMPLETED
    assert fleet.service.running_count == fleet.service.deployment.running_count == fleet.service.desired_count


def _no_more_failures(fleet: Fleet) -> None:
    """Every machine is there and has room, and tasks do as they are told and are well; bounds that let nothing move are
    changed, as the service event says."""
    for machine in fleet.machines:
        machine.connected, machine.changed_at, machine.draining, machine.slots = True, fleet.now, False, 40
    for _ in range(60):
        fleet.now += timedelta(minutes=30)
        for what in ("goes on", "is well"):
            for task in fleet.alive:
                fleet._task(task, what)
        planned = fleet.looks()
        if planned.stuck:
            fleet.updated(deployment_configuration=_bounds((0, 200), fleet._breaker))
        leaving = len(fleet.alive) > fleet.service.desired_count
        if (fleet.service.steady and not leaving) or fleet.service.deployment.rollout_state is RolloutState.FAILED:
            return
