"""What a machine does about ends while it is cut off, and once it no longer is."""

from dataclasses import replace
from typing import Any

import pytest

from ecs_anywhere_agent.core import Rules
from ecs_anywhere_agent.core.actions import PublishReports
from ecs_anywhere_agent.core.desired import NO_TRACE
from ecs_anywhere_agent.core.events import Attempt, Condition, ContainerChanged, NotConnected
from ecs_anywhere_agent.core.values import ContainerRef, State
from ecs_protocol.messages import Reconciliation, TaskReport, TaskStateChanges
from ecs_protocol.statuses import HealthStatus, StopCode, TaskStatus
from unit.agent.world import DEFINITION, Cloud, CrashedError, FakeContainer, Machine, task_id

APP, SIDECAR = ContainerRef(task_id(1), "app"), ContainerRef(task_id(1), "sidecar")
RUNNING, STOPPED = TaskStatus.RUNNING, TaskStatus.STOPPED
SERVICE: dict[str, Any] = {"restart": "offline"}


def running(cloud: Cloud | None = None, **members: Any) -> Machine:
    machine = Machine(cloud or Cloud())
    machine.boot()
    machine.connect()
    machine.drain()
    machine.deliver(machine.cloud.run(1, **members))
    machine.drain()
    assert machine.cloud.tasks[task_id(1)].last_status is RUNNING
    return machine


def end(machine: Machine, ref: ContainerRef = APP, code: int = 3) -> None:
    machine.take(ContainerChanged(machine.runtime.end(ref, code)))
    machine.drain()


def report(machine: Machine) -> TaskReport:
    found = machine.cloud.tasks[task_id(1)].report
    assert found is not None
    return found


def is_running(machine: Machine, ref: ContainerRef = APP) -> bool:
    container = machine.runtime.containers.get(ref)
    return container is not None and container.condition is Condition.RUNNING


def status(machine: Machine) -> TaskStatus:
    return machine.state.tasks[task_id(1)].last_status


# --- a state that is lost, or older than the machine -----------------------------------------------------------


def lose_state(machine: Machine, stored: State | None = None) -> None:
    """The file cannot be read any more, or the disk was restored to what it was."""
    machine.disconnect()
    machine.stored = stored or State()
    machine.boot()


def without_its_image(machine: Machine) -> None:
    """It has joined, and the image that it is to run cannot be pulled."""
    machine.boot()
    machine.connect()
    machine.drain()
    machine.runtime.failures = {"app": Attempt.PULL}


def runs_while_cut_off(machine: Machine) -> None:
    """Its image can be pulled again."""
    machine.runtime.failures = {}
    machine.settle(20)
    assert is_running(machine)


def finds_it_running(machine: Machine, older: State | None) -> None:
    lose_state(machine, older)
    machine.connect()
    machine.settle(10)
    assert is_running(machine)
    assert report(machine).last_status is RUNNING


def test_an_older_state_that_never_saw_a_container_run_finds_it_running() -> None:
    """When the disk was copied, its image could not be pulled, and the task waited to be tried again."""
    machine = Machine(Cloud())
    without_its_image(machine)
    machine.deliver(machine.cloud.run(1, **SERVICE))
    machine.disconnect()
    machine.settle(2)
    older = machine.stored
    runs_while_cut_off(machine)
    finds_it_running(machine, older)


def test_an_older_state_in_which_a_task_had_ended_before_it_ever_ran_finds_it_running() -> None:
    """The connection was lost before its end was told, so that it was taken back, and its image was there then."""
    machine = Machine(Cloud())
    without_its_image(machine)
    machine.lose = lambda message: isinstance(message, PublishReports | TaskStateChanges)
    machine.deliver(machine.cloud.run(1, **SERVICE))
    machine.drain()
    assert status(machine) is STOPPED
    older = machine.stored
    machine.disconnect()
    runs_while_cut_off(machine)
    machine.lose = lambda _: False
    finds_it_running(machine, older)


def test_without_its_state_and_cut_off_it_starts_again_what_the_labels_say() -> None:
    machine = running(**SERVICE)
    lose_state(machine)
    machine.settle(61)
    end(machine)
    machine.settle(1)
    assert is_running(machine)
    assert is_running(machine, SIDECAR)
    machine.connect()
    machine.settle(5)
    assert report(machine).last_status is RUNNING
    assert report(machine).restarts is not None


def test_without_its_state_what_had_ended_starts_again_too() -> None:
    machine = running(**SERVICE)
    machine.runtime.reboot()
    lose_state(machine)
    machine.settle(62)
    assert is_running(machine)


def test_without_its_state_a_task_that_does_not_ask_for_it_ends() -> None:
    machine = running()
    lose_state(machine)
    machine.settle(61)
    end(machine)
    machine.settle(10)
    assert not is_running(machine)
    assert status(machine) is STOPPED


def test_without_its_state_nobody_knows_of_a_contact() -> None:
    """Its stop-after may have passed long ago, and its replacement run."""
    machine = running(**SERVICE, stop_after=600)
    lose_state(machine)
    machine.drain()
    assert not is_running(machine)


def test_restored_to_before_a_task_was_stopped_it_is_not_started_by_a_command_that_comes_again() -> None:
    machine = running()
    before = State()
    command = machine.cloud.again(1)
    machine.deliver(machine.cloud.stop(1))
    machine.settle(1)
    machine.runtime.containers.clear()
    lose_state(machine, before)
    machine.lose = lambda message: isinstance(message, Reconciliation)
    machine.connect()
    machine.deliver(command)
    machine.drain()
    assert not is_running(machine), "the list may say that it must not"
    machine.lose = lambda _: False
    machine.settle(10)
    assert not is_running(machine)


def test_restored_to_before_a_task_came_and_nothing_left_of_it_its_end_is_told() -> None:
    machine = running(**SERVICE)
    machine.runtime.containers.clear()
    lose_state(machine)
    machine.connect()
    machine.settle(5)
    assert machine.runtime.starts == {APP: 1, SIDECAR: 1}, "what was made once is not made again under the same ARN"
    assert report(machine).last_status is STOPPED
    assert report(machine).stopped_reason == NO_TRACE


def test_restored_to_an_older_state_it_goes_on_with_what_runs() -> None:
    machine = running(**SERVICE)
    before = machine.stored
    machine.deliver(machine.cloud.run(2, **SERVICE))
    machine.settle(5)
    end(machine, SIDECAR)
    machine.settle(5)
    lose_state(machine, before)
    machine.connect()
    machine.settle(5)
    assert {name: task.last_status for name, task in machine.cloud.tasks.items()} == {
        task_id(1): RUNNING,
        task_id(2): RUNNING,
    }
    assert set(machine.runtime.starts.values()) == {1}
    assert [container.last_status for container in report(machine).containers] == [RUNNING, STOPPED]


@pytest.mark.parametrize("connected", [True, False])
def test_restored_to_the_middle_of_a_start_it_hears_the_control_plane_first(connected: bool) -> None:
    machine = Machine(Cloud())
    machine.boot()
    machine.connect()
    machine.drain()
    machine.deliver(machine.cloud.run(1))
    before = machine.stored
    machine.drain()
    machine.deliver(machine.cloud.stop(1))
    machine.settle(4 * 3600)
    machine.runtime.starts.clear()
    lose_state(machine, before)
    if connected:
        machine.connect()
    machine.settle(61)
    assert bool(machine.runtime.starts) is not connected, "cut off, work that is stored is done"


@pytest.mark.parametrize("ended", [False, True], ids=["runs", "has-ended"])
def test_restored_to_before_a_restart_it_sees_the_newer_run(ended: bool) -> None:
    machine = running(**SERVICE)
    before = machine.stored
    machine.disconnect()
    end(machine, code=3)
    machine.settle(5)
    if ended:
        machine.runtime.end(APP, 4)
    lose_state(machine, before)
    machine.connect()
    machine.settle(5)
    (app, _) = report(machine).containers
    assert (report(machine).last_status, app.exit_code) == ((STOPPED, 4) if ended else (RUNNING, None))


# --- cut off ----------------------------------------------------------------------------------------------------


def test_cut_off_the_same_containers_of_a_service_task_start_again() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    end(machine)
    assert not is_running(machine, SIDECAR), "its other containers are stopped"
    assert status(machine) is RUNNING
    machine.settle(1)
    assert is_running(machine)
    assert is_running(machine, SIDECAR)
    assert machine.runtime.starts == {APP: 1, SIDECAR: 1}
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}

    machine.connect()
    machine.settle(1)
    told = report(machine)
    assert told.last_status is RUNNING
    assert told.restarts is not None
    assert (told.restarts.count, told.restarts.exit_codes["app"]) == (1, 3)
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}, "a healthy task is never restarted for a reconnect"


@pytest.mark.parametrize("members", [{}, {"restart": "never"}], ids=["by-default", "told-so"])
def test_a_task_that_does_not_ask_for_it_ends(members: dict[str, Any]) -> None:
    machine = running(**members)
    machine.disconnect()
    end(machine)
    machine.settle(400)
    assert status(machine) is STOPPED
    assert machine.runtime.restarts == {}
    machine.connect()
    machine.settle(1)
    assert report(machine).stop_code is StopCode.ESSENTIAL_CONTAINER_EXITED


def test_connected_the_rule_of_ecs_holds() -> None:
    machine = running(**SERVICE)
    end(machine)
    machine.settle(400)
    assert report(machine).last_status is STOPPED
    assert machine.runtime.restarts == {}


def test_the_gaps_grow_to_five_minutes_and_never_end() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    gaps = []
    for _ in range(14):
        end(machine)
        before = machine.now
        machine.settle(300)
        at = machine.state.tasks[task_id(1)]
        assert at.restarts is not None
        gaps.append(round((at.restarts.last_at - machine.start_of_time).total_seconds() - before))
        machine.now -= 300 - gaps[-1]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300]


def test_after_a_long_run_the_gaps_begin_anew() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    for _ in range(4):
        end(machine)
        machine.settle(20)
    machine.settle(600)
    end(machine)
    machine.settle(1)
    assert is_running(machine)


def test_an_unhealthy_container_counts_as_ended() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.runtime.containers[APP].health = HealthStatus.UNHEALTHY
    machine.take(ContainerChanged(machine.runtime.snapshot(APP)))
    machine.settle(2)
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}
    assert is_running(machine)


def test_connected_an_unhealthy_container_is_only_reported() -> None:
    machine = running(**SERVICE)
    machine.runtime.containers[APP].health = HealthStatus.UNHEALTHY
    machine.take(ContainerChanged(machine.runtime.snapshot(APP)))
    machine.settle(5)
    assert machine.runtime.restarts == {}
    assert {each.name: each.health_status for each in report(machine).containers}["app"] is HealthStatus.UNHEALTHY


def test_a_container_that_is_gone_is_made_anew() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    del machine.runtime.containers[APP]
    machine.take(ContainerChanged(machine.runtime.snapshot(APP)))
    machine.settle(3)
    assert is_running(machine)
    assert machine.runtime.starts[APP] == 2
    assert machine.runtime.restarts == {SIDECAR: 1}


def test_an_image_that_cannot_be_had_while_cut_off_is_tried_again_for_ever() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    del machine.runtime.containers[APP]
    machine.runtime.failures = {"app": Attempt.PULL}
    machine.take(ContainerChanged(machine.runtime.snapshot(APP)))
    machine.settle(3000)
    assert status(machine) is RUNNING
    machine.runtime.failures = {}
    machine.settle(301)
    assert is_running(machine)


def test_a_late_word_of_the_former_run_does_not_end_the_new_one() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    end(machine)
    late = machine.runtime.snapshot(APP)
    machine.settle(1)
    machine.take(ContainerChanged(late))
    machine.settle(0.5)
    assert is_running(machine)
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}


def test_back_online_while_it_waits_the_task_ends_and_is_told() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    for _ in range(5):
        end(machine)
        machine.settle(16)
    end(machine)
    machine.connect()
    machine.settle(1)
    assert report(machine).last_status is STOPPED
    restarts = dict(machine.runtime.restarts)
    machine.settle(400)
    assert machine.runtime.restarts == restarts


def test_told_to_stop_meanwhile_it_is_not_started_again() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    end(machine)
    machine.cloud.stop(1)
    machine.connect()
    machine.settle(400)
    assert machine.runtime.restarts == {}
    assert report(machine).last_status is STOPPED


# --- the unsure minute ------------------------------------------------------------------------------------------


def unsure(machine: Machine, *, arrives: bool) -> list[PublishReports]:
    """The container ends while nobody knows yet that the link is dead; no PUBACK comes."""
    kept: list[PublishReports] = []

    def lose(message: object) -> bool:
        if isinstance(message, PublishReports):
            kept.append(message)
            return True
        return not arrives and not isinstance(message, PublishReports)

    machine.lose = lose
    end(machine)
    machine.lose = lambda _: False
    return kept


def test_the_end_was_never_heard_and_the_task_runs_on() -> None:
    machine = running(**SERVICE)
    unsure(machine, arrives=False)
    assert status(machine) is STOPPED
    machine.disconnect()
    machine.settle(1)
    assert is_running(machine)
    machine.connect()
    machine.settle(2)
    told = report(machine)
    assert told.last_status is RUNNING
    assert told.restarts is not None
    assert is_running(machine)


def test_the_end_was_heard_first_and_what_came_back_is_stopped() -> None:
    machine = running(**SERVICE)
    unsure(machine, arrives=True)
    assert machine.cloud.tasks[task_id(1)].last_status is STOPPED
    machine.disconnect()
    machine.settle(1)
    assert is_running(machine)
    machine.connect()
    machine.settle(10)
    assert not is_running(machine)
    assert status(machine) is STOPPED


def test_the_end_is_heard_after_the_task_was_said_to_run_again() -> None:
    machine = running(**SERVICE)
    late: list[TaskReport] = []
    take = machine.cloud.take

    def delay(report: TaskReport) -> Any:
        late.append(report)
        return []

    machine.cloud.take = delay  # type: ignore[method-assign]
    unsure(machine, arrives=True)
    machine.cloud.take = take  # type: ignore[method-assign]
    machine.disconnect()
    machine.settle(1)
    machine.connect()
    machine.settle(5)
    for each in late:
        assert take(each) == []
    assert late[-1].last_status is STOPPED
    machine.settle(70)
    assert report(machine).last_status is RUNNING
    assert is_running(machine)


def test_an_end_that_was_acknowledged_stands() -> None:
    machine = running(**SERVICE)
    end(machine)
    machine.disconnect()
    machine.settle(400)
    assert status(machine) is STOPPED
    assert machine.runtime.restarts == {}


# --- the agent's death and reboots ------------------------------------------------------------------------------


def test_rebooted_without_network_it_waits_a_minute_and_starts_what_should_run() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.boot(rebooted=True)
    machine.settle(59)
    assert machine.runtime.restarts == {}
    machine.settle(3)
    assert is_running(machine)
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}


def test_rebooted_in_1970_it_does_not_wait_for_a_connection_that_cannot_come_about() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.boot(rebooted=True)
    machine.take(NotConnected("the network is not up yet"))
    machine.settle(5)
    assert machine.runtime.restarts == {}
    machine.take(NotConnected("certificate is not yet valid", clock_unset=True))
    machine.settle(3)
    assert is_running(machine)
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}

    machine.connect()
    machine.settle(100)
    assert report(machine).last_status is RUNNING
    assert machine.runtime.restarts == {APP: 1, SIDECAR: 1}


def test_in_1970_a_task_that_must_have_contact_is_not_started() -> None:
    machine = running(**SERVICE, stop_after=60)
    machine.disconnect()
    machine.boot(rebooted=True)
    machine.take(NotConnected("certificate is not yet valid", clock_unset=True))
    machine.settle(300)
    assert machine.runtime.restarts == {}


def test_rebooted_and_connected_in_time_ended_tasks_are_told() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.boot(rebooted=True)
    machine.settle(30)
    machine.connect()
    machine.settle(100)
    assert report(machine).last_status is STOPPED
    assert machine.runtime.restarts == {}


def test_a_connection_that_nobody_answers_over_is_none() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.boot(rebooted=True)
    machine.lose = lambda _: True
    machine.connect()
    machine.settle(70)
    assert is_running(machine)


def test_an_agent_that_starts_again_offline_adopts_and_starts_what_ended_meanwhile() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.runtime.end(APP, 1)
    machine.boot()
    machine.settle(70)
    assert is_running(machine)
    assert machine.runtime.restarts[APP] == 1


def crash_while_cut_off(crash_at: int) -> Machine:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.crash_at = machine.points + crash_at
    try:
        end(machine)
        machine.settle(3)
    except CrashedError:
        machine.crash_at = None
        machine.boot()
        machine.settle(62)
    return machine


@pytest.mark.parametrize("crash_at", range(1, 10))
def test_killed_at_any_point_of_a_restart_it_runs_in_the_end(crash_at: int) -> None:
    machine = crash_while_cut_off(crash_at)
    machine.settle(5)
    assert is_running(machine)
    assert is_running(machine, SIDECAR)
    machine.connect()
    machine.settle(10)
    assert report(machine).last_status is RUNNING
    assert is_running(machine)


# --- a container's own restart policy ---------------------------------------------------------------------------


def with_policy(**policy: Any) -> Cloud:
    containers = [{**each} for each in DEFINITION["containerDefinitions"]]
    containers[0]["restartPolicy"] = {"enabled": True, "restartAttemptPeriod": 60, **policy}
    return Cloud(definition={**DEFINITION, "containerDefinitions": containers})


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "cut-off"])
def test_a_restart_policy_comes_first(connected: bool) -> None:
    machine = running(with_policy(), **SERVICE)
    if not connected:
        machine.disconnect()
    machine.settle(61)
    end(machine)
    assert machine.runtime.restarts == {APP: 1}, "at once, and the others are left alone"
    assert is_running(machine, SIDECAR)
    assert machine.state.tasks[task_id(1)].restarts is None
    if connected:
        assert report(machine).last_status is RUNNING


def test_a_container_that_ends_too_soon_is_not_restarted() -> None:
    machine = running(with_policy())
    machine.settle(59)
    end(machine)
    assert machine.runtime.restarts == {}
    assert report(machine).last_status is STOPPED


def test_it_is_not_restarted_later_either() -> None:
    """The task goes on without it: what counts is how long it ran, not when somebody looks."""
    cloud = with_policy()
    cloud.definition["containerDefinitions"][0]["essential"] = False
    machine = running(cloud)
    machine.settle(59)
    end(machine)
    machine.settle(100)
    end(machine, SIDECAR, 0)
    assert machine.runtime.restarts == {}


def test_each_run_must_be_long_enough() -> None:
    machine = running(with_policy())
    machine.settle(61)
    end(machine)
    machine.settle(30)
    end(machine)
    assert machine.runtime.restarts == {APP: 1}
    assert report(machine).last_status is STOPPED


def test_an_exit_code_that_is_ignored_ends_the_container() -> None:
    machine = running(with_policy(ignoredExitCodes=[3]))
    machine.settle(61)
    end(machine)
    assert machine.runtime.restarts == {}


def test_what_cannot_be_restarted_is_not_tried_again_and_again() -> None:
    """It did not run for its restartAttemptPeriod."""
    machine = running(with_policy())
    machine.settle(61)
    machine.runtime.failures = {"app": Attempt.START}
    end(machine)
    assert machine.runtime.begun.count("restart app") == 1
    assert report(machine).last_status is STOPPED


def test_a_container_of_which_only_the_beginning_is_left_is_started() -> None:
    """Its runtime was killed between forgetting the former run and beginning the next."""
    machine = running(**SERVICE)
    machine.disconnect()
    end(machine)
    machine.settle(0.5)
    machine.runtime.containers[APP] = FakeContainer(machine.runtime.containers[APP].origin)
    machine.settle(1)
    assert is_running(machine)


# --- stop-after -------------------------------------------------------------------------------------------------

LIMITED: dict[str, Any] = {"restart": "offline", "stop_after": 600}


def test_without_contact_for_so_long_the_machine_stops_the_task() -> None:
    machine = running(**LIMITED)
    machine.settle(100)
    last = machine.state.contact
    machine.disconnect()
    machine.settle(last + 599 - machine.now)
    assert is_running(machine)
    machine.settle(2)
    assert not is_running(machine)
    machine.settle(3000)
    assert status(machine) is STOPPED
    machine.connect()
    machine.settle(2)
    told = report(machine)
    assert (told.last_status, told.stop_code) == (STOPPED, StopCode.SERVICE_SCHEDULER_INITIATED)
    assert machine.runtime.restarts == {}


def test_a_living_connection_is_asked_before_the_time_is_up() -> None:
    machine = running(**LIMITED)
    machine.settle(6000)
    assert is_running(machine)
    assert machine.published < 30


def test_a_connection_that_brings_no_answers_is_no_contact() -> None:
    machine = running(**LIMITED)
    machine.lose = lambda _: True
    machine.settle(700)
    assert not is_running(machine)


def test_a_restarted_agent_resumes_the_deadline() -> None:
    machine = running(**LIMITED)
    machine.disconnect()
    machine.settle(500)
    machine.boot()
    machine.settle(99)
    assert is_running(machine)
    machine.settle(2)
    assert not is_running(machine)


def test_until_the_deadline_it_is_restarted_in_place() -> None:
    machine = running(**LIMITED)
    machine.disconnect()
    end(machine)
    machine.settle(2)
    assert is_running(machine)


def test_after_a_reboot_without_contact_it_does_not_start() -> None:
    machine = running(**LIMITED)
    machine.disconnect()
    machine.boot(rebooted=True)
    machine.settle(3000)
    assert not is_running(machine)
    assert machine.runtime.restarts == {}
    machine.connect()
    machine.settle(2)
    assert report(machine).last_status is STOPPED


def test_a_shorter_run_than_the_rules_say() -> None:
    """The rules are data."""
    machine = running(**SERVICE)
    machine.rules = replace(Rules(), first_restart_gap=7)
    machine.disconnect()
    end(machine)
    machine.settle(6)
    assert not is_running(machine)
    machine.settle(1)
    assert is_running(machine)


def test_a_container_that_will_not_start_again_is_tried_again() -> None:
    machine = running(**SERVICE)
    machine.disconnect()
    machine.runtime.failures = {"app": Attempt.START}
    end(machine)
    machine.settle(20)
    assert status(machine) is RUNNING
    machine.runtime.failures = {}
    machine.settle(40)
    assert is_running(machine)
