"""Whatever happens while instances are emptied: what a REPLICA service never does, and where it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.rollout import bounds
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.service import DeploymentConfiguration, RolloutState, Service
from control_plane.domain.task import Task, request_stop
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task

S = TaskStatus
MACHINES = tuple(letter * 32 for letter in "abcd")
"""The last one is neither drained nor goes away, so that there is always room."""


@dataclass
class Fleet:
    service: Service
    tasks: list[Task] = field(default_factory=list)
    now: datetime = NOW
    draining: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    made: int = 0

    @property
    def places(self) -> Mapping[str, Connection]:
        return {
            name: Connection(connected=name not in self.away, changed_at=NOW, draining=name in self.draining)
            for name in MACHINES
        }

    @property
    def alive(self) -> list[Task]:
        return [task for task in self.tasks if not task.stopped]

    def looks(self) -> ServicePlan:
        planned = plan(self.service, self.tasks, self.now, self.places)
        self.check(planned)
        stopping = {task.task_id for task in (*planned.stop, *planned.sick, *planned.give_up)}
        ended = {task.task_id for task in planned.ended}
        self.tasks = [self._told(each, stopping) for each in self.tasks if each.task_id not in ended]
        for _ in range(planned.start):
            self._starts()
        self.service = self.service.model_copy(
            update={
                "deployment": planned.deployment,
                "older": planned.older,
                "failed_starts": planned.failed_starts,
                "not_before": planned.not_before,
            }
        )
        return planned

    def check(self, planned: ServicePlan) -> None:
        limits = bounds(self.service, self.service.desired_count)
        healthy = {task.task_id for task in self.alive if _runs(task)}
        lost = {task.task_id for task in (*planned.stop, *planned.sick)} & healthy
        assert not lost or len(healthy - lost) >= limits.least, "it kills more than may be down"
        assert not [task for task in planned.stop if task.protected(self.now)]
        occupied = [task for task in self.alive if _occupies(task, self.away)]
        assert not planned.start or len(occupied) + planned.start <= limits.most

    def _told(self, task: Task, stopping: set[str]) -> Task:
        if task.task_id not in stopping:
            return task
        return request_stop(task, StopCode.SERVICE_SCHEDULER_INITIATED, "", self.now)

    def _starts(self) -> None:
        self.made += 1
        free = [name for name in MACHINES if name not in self.draining | self.away]
        self.tasks.append(
            a_task(
                self.made,
                instance_id=free[self.made % len(free)],
                deployment_id=self.service.deployment.deployment_id,
                created_at=self.now,
            )
        )

    def happens(self, what: str, number: int) -> None:
        self.now += timedelta(seconds=7)
        machine = MACHINES[number % (len(MACHINES) - 1)]
        match what:
            case "drains":
                self.draining.add(machine)
            case "is active":
                self.draining.discard(machine)
            case "goes away":
                self.away.add(machine)
            case "is back":
                self.away.discard(machine)
            case "is scaled":
                self.service = self.service.model_copy(update={"desired_count": number % 6})
            case "a deployment":
                self.made += 1
                newest = self.service.deployment.model_copy(
                    update={"deployment_id": f"ecs-svc/{self.made + 10}", "rollout_state": RolloutState.IN_PROGRESS}
                )
                older = (self.service.deployment, *self.service.older)
                self.service = self.service.model_copy(update={"deployment": newest, "older": older})
            case _:
                self._of_a_task(what, number)

    def _of_a_task(self, what: str, number: int) -> None:
        there = [task for task in self.alive if task.instance_id not in self.away or what == "is protected"]
        if there:
            task = there[number % len(there)]
            after = self._protected(task) if what == "is protected" else self._went_on(task, fails=what == "fails")
            self.tasks = [after if each is task else each for each in self.tasks]

    def _protected(self, task: Task) -> Task:
        return task.model_copy(update={"protected_until": self.now + timedelta(seconds=60)})

    def _went_on(self, task: Task, *, fails: bool) -> Task:
        end: dict[str, Any] = {"last_status": S.STOPPED, "desired_status": DesiredStatus.STOPPED}
        if task.desired_status is DesiredStatus.STOPPED:
            return task.model_copy(update={**end, "stopped_at": self.now})
        if fails:
            code = StopCode.ESSENTIAL_CONTAINER_EXITED if task.started_at else StopCode.TASK_FAILED_TO_START
            return task.model_copy(update={**end, "stopped_at": self.now, "stop_code": code})
        members = {"last_status": S.RUNNING, "started_at": task.started_at or self.now, "awaiting": None}
        return task.model_copy(update=members)


def _runs(task: Task) -> bool:
    return task.last_status is S.RUNNING and task.desired_status is DesiredStatus.RUNNING


def _occupies(task: Task, away: set[str]) -> bool:
    """What is told to stop, on a machine that is away, holds up nobody."""
    return task.desired_status is DesiredStatus.RUNNING or task.instance_id not in away


kinds = st.sampled_from(
    ["drains", "drains", "is active", "goes away", "is back", "is scaled", "a deployment", "is protected", "fails"]
    + ["goes on"] * 4
)
percents = st.sampled_from([(100, 200), (50, 200), (0, 200), (50, 150), (50, 100), (0, 100), (100, 150), (100, 100)])


def a_running_fleet(desired: int, percent: tuple[int, int]) -> Fleet:
    least, most = percent
    configuration = DeploymentConfiguration(minimum_healthy_percent=least, maximum_percent=most)
    fleet = Fleet(a_service(desired_count=desired, deployment_configuration=configuration))
    _goes_well(fleet)
    return fleet


def _goes_well(fleet: Fleet) -> ServicePlan:
    """Nothing fails any more, and protection ends."""
    planned = fleet.looks()
    for _ in range(60):
        leaving = [task for task in fleet.alive if task.desired_status is DesiredStatus.STOPPED]
        if (planned.steady or planned.stuck) and not leaving:
            break
        fleet.now += timedelta(seconds=1000)
        fleet.tasks = [fleet._went_on(task, fails=False) for task in fleet.tasks if not task.stopped]
        planned = fleet.looks()
    return planned


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 6), percents, st.lists(st.tuples(kinds, st.integers(0, 30), st.booleans()), max_size=40))
def test_an_instance_is_emptied_within_the_bounds_and_in_the_end(
    desired: int, percent: tuple[int, int], events: Sequence[tuple[str, int, bool]]
) -> None:
    fleet = a_running_fleet(desired, percent)
    for what, number, heard in events:
        fleet.happens(what, number)
        if heard:
            fleet.looks()
    fleet.away.clear()
    planned = _goes_well(fleet)
    limits = bounds(fleet.service, fleet.service.desired_count)
    if planned.stuck:
        assert limits.least == limits.most == fleet.service.desired_count, "only bounds that leave no room"
        return
    assert planned.steady
    assert [task for task in fleet.alive if task.instance_id in fleet.draining] == []
    assert [_runs(task) for task in fleet.alive] == [True] * fleet.service.desired_count
    assert fleet.service.older == ()
