"""The agent is killed between each pair of stored and done steps of a scenario; every point is generated."""

from collections.abc import Callable

import pytest

from ecs_anywhere_agent.core.events import ContainerChanged
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_protocol.statuses import TaskStatus
from unit.agent.world import Cloud, CrashedError, Machine, task_id

APP, SIDECAR = ContainerRef(task_id(1), "app"), ContainerRef(task_id(1), "sidecar")


def run_and_stop(machine: Machine) -> None:
    """One task told to run and told to stop, and another one whose essential container ends by itself."""
    machine.deliver(machine.cloud.run(1))
    machine.drain()
    machine.deliver(machine.cloud.run(2))
    machine.settle(3)
    ref = ContainerRef(task_id(2), "app")
    if ref in machine.runtime.containers:
        machine.take(ContainerChanged(machine.runtime.end(ref, 3)))
    machine.drain()
    machine.deliver(machine.cloud.stop(1))
    machine.settle(10)


def restarted(machine: Machine) -> None:
    """After the crash everything works again; the cloud repeats what was not answered."""
    machine.crash_at = None
    machine.boot()
    machine.drain()
    machine.connect()
    machine.settle(10)
    for number in machine.cloud.unanswered():
        machine.deliver(machine.cloud.again(number))
        machine.settle(10)


def finish(machine: Machine) -> None:
    """What the scenario had not come to when the agent was killed."""
    for number in (1, 2):
        if task_id(number) not in machine.cloud.tasks:
            machine.deliver(machine.cloud.run(number))
            machine.settle(10)
    ref = ContainerRef(task_id(2), "app")
    machine.take(ContainerChanged(machine.runtime.end(ref, 3)))
    machine.settle(10)
    machine.deliver(machine.cloud.stop(1))
    machine.settle(10)


def start(crash_at: int | None) -> Machine:
    machine = Machine(Cloud())
    machine.crash_at = crash_at
    return machine


def crash_points(scenario: Callable[[Machine], None]) -> int:
    machine = start(None)
    play(machine, scenario)
    return machine.points


def play(machine: Machine, scenario: Callable[[Machine], None]) -> None:
    machine.boot()
    machine.connect()
    machine.drain()
    scenario(machine)


POINTS = crash_points(run_and_stop)


def test_the_scenario_has_points_to_crash_at() -> None:
    assert POINTS > 50


@pytest.mark.parametrize("crash_at", range(1, POINTS + 1))
def test_killed_at_any_point_the_agent_ends_where_it_was_to_end(crash_at: int) -> None:
    machine = start(crash_at)
    with pytest.raises(CrashedError):
        play(machine, run_and_stop)
    restarted(machine)
    finish(machine)

    cloud = machine.cloud
    assert [task.last_status for task in cloud.tasks.values()] == [TaskStatus.STOPPED] * 2
    assert set(machine.runtime.starts.values()) <= {1}
    assert machine.started_after_stop == []
    stopped_alone = cloud.tasks[task_id(2)].report
    assert stopped_alone is not None
    assert stopped_alone.stop_code == "EssentialContainerExited"
    assert [container.exit_code for container in stopped_alone.containers if container.name == "app"] == [3]

    machine.settle(4 * 3600)
    machine.disconnect()
    machine.connect()
    machine.settle(10)
    assert machine.runtime.containers == {}
    assert machine.state.tasks == {}
    assert set(machine.state.ended) == {task_id(1), task_id(2)}
