"""Whatever the network, the machine and the agent's death do: what must never happen does not, and once all is quiet
cloud and machine agree."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecs_anywhere_agent.core.actions import Action, PublishReports, PublishRequest
from ecs_anywhere_agent.core.events import Condition, ContainerChanged, MessageReceived, ReportAcknowledged
from ecs_anywhere_agent.core.values import ContainerRef, State
from ecs_protocol.messages import ControlPlaneMessage
from ecs_protocol.statuses import DesiredStatus, HealthStatus, TaskStatus
from unit.agent.world import DEFINITION, Cloud, CrashedError, Machine, task_id

TASKS = 3
KINDS: dict[int, dict[str, Any]] = {
    1: {},
    2: {"restart": "offline"},
    3: {"restart": "offline", "stop_after": 120},
}
"""Three tasks: one ends with its containers; a machine that is cut off starts the second again, and stops the third
in the end."""


def _after(condition: str) -> dict[str, Any]:
    app, sidecar = DEFINITION["containerDefinitions"]
    return {
        **DEFINITION,
        "containerDefinitions": [
            {**app, "dependsOn": [{"containerName": "sidecar", "condition": condition}]},
            {**sidecar, "healthCheck": {"command": ["CMD", "true"]}, "startTimeout": 30},
        ],
    }


DEFINITIONS = {"at once": DEFINITION, **{condition: _after(condition) for condition in ("START", "HEALTHY")}}
"""When `app` may start: whatever `sidecar` does, after it has started, once it is well."""


class StormyMachine(Machine):
    """Messages wait in the network, in both directions, until something becomes of them."""

    def __init__(self, definition: dict[str, Any] = DEFINITION) -> None:
        super().__init__(Cloud(definition=definition))
        self.down: list[ControlPlaneMessage] = []
        self.up: list[PublishRequest | PublishReports] = []
        self.snapshot = State()
        self.heard_at = 0.0
        """When broker or cloud last heard of the machine."""

    def connect(self) -> None:
        super().connect()
        self.heard_at = self.now

    def deliver(self, message: ControlPlaneMessage) -> None:
        self.down.append(message)

    def arrive(self, at: int, *, keep: bool) -> None:
        """One message reaches the agent; kept, it will come again."""
        if self.down:
            message = self.down[at % len(self.down)]
            if not keep:
                self.down.remove(message)
            if self.connected:
                self.take(MessageReceived(message))

    def reach(self, at: int, *, keep: bool) -> None:
        """One message reaches the cloud."""
        if self.up:
            self.heard_at = self.now
            action = self.up[at % len(self.up)]
            if not keep:
                self.up.remove(action)
            if isinstance(action, PublishRequest):
                self.down.extend(self.cloud.answer(action.message))
            else:
                for report in action.message.reports:
                    self.down.extend(self.cloud.take(report))

    def acknowledge(self, at: int) -> None:
        """The broker has a report; when the cloud gets it is another matter."""
        tokens = [action.token for action in self.up if isinstance(action, PublishReports)]
        if tokens and self.connected:
            self.heard_at = self.now
            self.take(ReportAcknowledged(tokens[at % len(tokens)]))

    def happen(self, at: int) -> None:
        """One of the things that the runtime has to tell."""
        if self.events:
            self.take(self.events.pop(at % len(self.events)))

    def lose_up(self, *, acknowledged: bool) -> None:
        """What waits for the cloud is lost for ever, whether the broker has acknowledged it or not."""
        if acknowledged:
            self.acknowledge(-1)
        self.up.clear()

    def lose_down(self) -> None:
        self.down.clear()

    def long_quiet(self) -> None:
        self.flow(1000)
        self.settle(4 * 3600)
        self.flow(1000)

    def flow(self, messages: int) -> None:
        """A good moment: what waits arrives in order."""
        for _ in range(messages):
            if self.events:
                self.happen(0)
            elif self.down:
                self.arrive(0, keep=False)
            elif self.up:
                self.acknowledge(0)
                self.reach(0, keep=False)

    def runs(self, task: str) -> bool:
        return any(
            container.condition is Condition.RUNNING and ref.task_id == task
            for ref, container in self.runtime.containers.items()
        )

    def crash(self, after: int) -> None:
        """At one of the next points."""
        self.crash_at = self.points + 1 + after

    def _do(self, action: Action) -> None:
        if isinstance(action, PublishRequest | PublishReports):
            self.up.append(action)
        else:
            super()._do(action)

    def calm(self) -> None:
        """No more faults; everything that is still on its way arrives, and unanswered commands are repeated."""
        self.crash_at = None
        if not self.connected:
            self.connect()
        for _ in range(6):
            self._flow()
            for number in self.cloud.unanswered():
                self.deliver(self.cloud.again(number))
            self._flow()
            self.settle(70)
        self.disconnect()
        self.connect()
        self._flow()

    def _flow(self) -> None:
        while self.up or self.down or self.events:
            self.drain()
            for action in [each for each in self.up if isinstance(each, PublishReports)]:
                self.take(ReportAcknowledged(action.token))
            if self.up:
                self.reach(0, keep=False)
            elif self.down:
                self.arrive(0, keep=False)


Step = Callable[[StormyMachine], None]


def run(number: int) -> Step:
    def do(machine: StormyMachine) -> None:
        if task_id(number) not in machine.cloud.tasks:
            machine.deliver(machine.cloud.run(number, **KINDS[number]))

    return do


def stop(number: int) -> Step:
    def do(machine: StormyMachine) -> None:
        if task_id(number) in machine.cloud.tasks:
            machine.deliver(machine.cloud.stop(number))

    return do


def repeat(number: int) -> Step:
    def do(machine: StormyMachine) -> None:
        if task_id(number) in machine.cloud.tasks:
            machine.deliver(machine.cloud.again(number))

    return do


def end(number: int, name: str) -> Step:
    def do(machine: StormyMachine) -> None:
        ref = ContainerRef(task_id(number), name)
        if ref in machine.runtime.containers:
            machine.events.append(ContainerChanged(machine.runtime.end(ref, number)))

    return do


def switch(machine: StormyMachine) -> None:
    if machine.connected:
        machine.disconnect()
    else:
        machine.connect()


def reboot(machine: StormyMachine) -> None:
    machine.boot(rebooted=True)


def snapshot(machine: StormyMachine) -> None:
    machine.snapshot = machine.stored


def restore(machine: StormyMachine) -> None:
    """The agent's state is as it was at the snapshot, or lost if there was none; its containers are as they are."""
    machine.stored = machine.snapshot
    for ref in set(machine.runtime.starts) - set(machine.runtime.containers):
        del machine.runtime.starts[ref]  # the machine cannot know any more that it has run
    machine.boot()


def feel(number: int, name: str, health: HealthStatus) -> Step:
    def do(machine: StormyMachine) -> None:
        ref = ContainerRef(task_id(number), name)
        container = machine.runtime.containers.get(ref)
        if container is not None and container.condition is Condition.RUNNING:
            container.health = health
            machine.events.append(ContainerChanged(machine.runtime.snapshot(ref)))

    return do


def disobey(machine: StormyMachine) -> None:
    """Its containers do not end when they are asked to, from now on: they must be killed."""
    machine.runtime.obedient = False


def flow(messages: int) -> Step:
    return lambda machine: machine.flow(messages)


def settle(seconds: int) -> Step:
    return lambda machine: machine.settle(seconds)


def arrive(at: int) -> Step:
    return lambda machine: machine.arrive(at, keep=False)


def crash(after: int) -> Step:
    return lambda machine: machine.crash(after)


def lose_up(machine: StormyMachine) -> None:
    machine.lose_up(acknowledged=False)


SIDECAR_IS_WELL = feel(2, "sidecar", HealthStatus.HEALTHY)
ALL_RUNS = [run(2), flow(30), SIDECAR_IS_WELL, flow(30)]
"""What most storms take long to come to: the second task runs, with all its containers, and the cloud knows."""

numbers = st.integers(1, TASKS)
places = st.integers(0, 10)
flags = st.booleans()
steps = st.one_of(
    st.builds(run, numbers),
    st.builds(stop, numbers),
    st.builds(repeat, numbers),
    st.builds(end, numbers, st.sampled_from(["app", "sidecar"])),
    st.builds(feel, numbers, st.sampled_from(["app", "sidecar"]), st.sampled_from(HealthStatus)),
    st.builds(feel, numbers, st.just("sidecar"), st.just(HealthStatus.HEALTHY)),
    st.just(switch),
    st.just(switch),
    st.just(reboot),
    st.just(snapshot),
    st.just(restore),
    st.builds(flow, st.integers(1, 30)),
    st.builds(flow, st.integers(1, 30)),
    st.builds(lambda acknowledged: lambda machine: machine.lose_up(acknowledged=acknowledged), flags),
    st.just(StormyMachine.lose_down),
    st.just(StormyMachine.long_quiet),
    st.just(StormyMachine.drain),
    st.builds(lambda at, keep: lambda machine: machine.arrive(at, keep=keep), places, flags),
    st.builds(lambda at, keep: lambda machine: machine.reach(at, keep=keep), places, flags),
    st.builds(lambda at: lambda machine: machine.acknowledge(at), places),
    st.builds(lambda at: lambda machine: machine.happen(at), places),
    st.builds(settle, st.sampled_from([0, 1, 3, 70, 130])),
    st.builds(crash, st.integers(0, 8)),
    st.just(disobey),
)


def weather(script: list[Step], when: str) -> StormyMachine:
    """A machine after the storm."""
    machine = StormyMachine(DEFINITIONS[when])
    machine.boot()
    machine.connect()
    machine.flow(10)
    run(1)(machine)
    for each in script:
        try:
            each(machine)
        except CrashedError:
            machine.crash_at = None
            machine.boot()
            machine.connect()
        in_time = machine.now <= machine.heard_at + KINDS[3]["stop_after"]
        assert in_time or not machine.runs(task_id(3)) or not machine.runtime.obedient
    machine.calm()
    return machine


def check_agreement(machine: StormyMachine, when: str) -> None:
    assert set(machine.runtime.starts.values()) <= {1}
    assert all(ref.task_id != task_id(1) for ref in machine.runtime.restarts)
    assert machine.started_after_stop == []
    for name, known in machine.cloud.tasks.items():
        runs = [
            ref.name
            for ref, container in machine.runtime.containers.items()
            if ref.task_id == name and container.condition is Condition.RUNNING
        ]
        assert known.report is not None
        told = [each.name for each in known.report.containers if each.last_status is TaskStatus.RUNNING]
        assert sorted(told) == sorted(runs)
        if when != "at once" and ContainerRef(name, "app") in machine.runtime.starts:
            assert ContainerRef(name, "sidecar") in machine.runtime.starts
        if known.desired is DesiredStatus.STOPPED:
            assert known.last_status is TaskStatus.STOPPED
        waits = when == "HEALTHY" and runs == ["sidecar"]
        assert waits or (known.last_status is TaskStatus.RUNNING) == ("app" in runs)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([[], ALL_RUNS]), st.lists(steps, min_size=8, max_size=60), st.sampled_from(sorted(DEFINITIONS)))
def test_cloud_and_machine_agree_once_all_is_quiet(begin: list[Step], script: list[Step], when: str) -> None:
    check_agreement(weather([*begin, *script], when), when)


def test_a_storm_without_faults_is_a_calm_day() -> None:
    machine = StormyMachine()
    machine.boot()
    machine.connect()
    run(1)(machine)
    machine.calm()
    assert machine.cloud.tasks[task_id(1)].last_status is TaskStatus.RUNNING


@pytest.mark.parametrize("number", range(1, TASKS + 1))
def test_a_stop_overtakes_its_start(number: int) -> None:
    machine = StormyMachine()
    machine.boot()
    machine.connect()
    run(number)(machine)
    stop(number)(machine)
    machine.down.reverse()
    machine.calm()
    assert machine.runtime.starts == {}
    assert machine.cloud.tasks[task_id(number)].last_status is TaskStatus.STOPPED


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            [switch, run(2), switch, flow(12), reboot, snapshot, settle(70), restore, StormyMachine.long_quiet],
            id="what-an-older-state-takes-for-ended-runs-again",
        ),
        pytest.param(
            [run(2), arrive(1), settle(0), reboot, snapshot, StormyMachine.long_quiet, restore, settle(70)],
            id="its-time-to-be-removed-has-passed",
        ),
        pytest.param(
            [
                *(switch, switch, StormyMachine.lose_down, run(3), lose_up),
                *(StormyMachine.long_quiet, switch, StormyMachine.long_quiet),
            ],
            id="stop-after-comes-while-it-waits-to-start-again",
        ),
        pytest.param(
            [
                *(*ALL_RUNS, snapshot, switch, end(2, "app"), settle(3), switch, flow(5)),
                *(SIDECAR_IS_WELL, flow(15), restore),
            ],
            id="what-an-older-state-takes-for-told-was-told-otherwise-since",
        ),
        pytest.param(
            [
                *(run(2), flow(30), reboot, snapshot, StormyMachine.long_quiet, restore),
                *(switch, StormyMachine.long_quiet, switch, settle(3)),
            ],
            id="an-end-that-was-taken-back-and-came-again-is-told-as-one",
        ),
        pytest.param(
            [
                *(*ALL_RUNS, switch, end(2, "app"), settle(3), SIDECAR_IS_WELL, flow(25), end(2, "app"), settle(1)),
                *(snapshot, settle(3), SIDECAR_IS_WELL, flow(2), restore),
            ],
            id="an-older-state-waits-to-start-again-what-runs",
        ),
        pytest.param(
            [*ALL_RUNS, end(2, "app"), restore, snapshot, settle(130), restore],
            id="an-older-state-would-have-killed-by-now-what-was-started-since",
        ),
        pytest.param(
            [
                *(*ALL_RUNS, switch, feel(2, "app", HealthStatus.UNHEALTHY), crash(1), StormyMachine.drain),
                StormyMachine.long_quiet,
            ],
            id="an-agent-dies-while-it-stops-what-is-ill",
        ),
        pytest.param(
            [
                *(*ALL_RUNS, disobey, switch, feel(2, "app", HealthStatus.UNHEALTHY), StormyMachine.drain, switch),
                *(flow(30), settle(70)),
            ],
            id="a-connection-comes-while-what-is-ill-does-not-end",
        ),
    ],
)
def test_what_was_found_by_chance(script: list[Step]) -> None:
    check_agreement(weather(script, "HEALTHY"), "HEALTHY")
