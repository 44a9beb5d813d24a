"""Machines that go away: what becomes of their tasks, and of the services that these belong to."""

from collections.abc import Sequence
from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.task import Task
from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.flows.clusters import create_cluster
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, delete_service, describe_services, update_service
from control_plane.flows.stop_task import stop_task
from control_plane.flows.tasks import describe_tasks
from control_plane.store import keys, tasks
from ecs_protocol.messages import ContainerReport, DescribeTasks, Probe, Reconcile, RestartsInPlace, TaskCommands
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from world import World

S = TaskStatus
DISCONNECT = "ecs-anywhere:disconnect"


@pytest.fixture
def machines(world: World) -> Sequence[str]:
    world.cluster()
    world.task_definition()
    return [world.machine() for _ in range(3)]


def serve(world: World, disconnect: str | None, desired: int = 3, **members: Any) -> None:
    tags = [{"key": DISCONNECT, "value": disconnect}] if disconnect else []
    request = {"serviceName": "web", "taskDefinition": "web", "desiredCount": desired, "tags": tags, **members}
    create_service(world.cp, request)
    world.deliver()


def do_as_told(world: World, *machines: str) -> None:
    """What these machines are to run runs, and what they are to stop has stopped."""
    for machine in machines:
        epoch = world.instance(machine).epoch
        for task in on(world, machine):
            status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
            number = task.report_number + 1 if task.report_epoch == epoch else 1
            container = ContainerReport(name="main", last_status=status)
            report = world.report_of(task.task_id, status, number, epoch=epoch, containers=(container,))
            world.report(report, instance_id=machine)
    world.deliver()


def on(world: World, *machines: str) -> list[Task]:
    return [task for machine in machines for task in tasks.of_instance(world.table, "default", machine)]


def to_run(world: World, *machines: str) -> list[Task]:
    return [task for task in on(world, *machines) if task.desired_status is DesiredStatus.RUNNING]


def service(world: World) -> dict[str, Any]:
    answer: dict[str, Any] = describe_services(world.cp, {"services": ["web"], "include": ["TAGS"]})["services"][0]
    return answer


def events(world: World) -> list[str]:
    return [event["message"] for event in reversed(service(world)["events"])]


def running_service(world: World, machines: Sequence[str], disconnect: str | None, desired: int = 3) -> None:
    serve(world, disconnect, desired)
    do_as_told(world, *machines)
    assert service(world)["runningCount"] == desired


def test_kept_tasks_count_for_ever(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "keep")
    world.disconnects(machines[0])
    world.minutes(120, sweeps_each=10)
    assert len(to_run(world, *machines)) == 3
    assert service(world)["runningCount"] == 3
    [task] = on(world, machines[0])
    arn = world.cp.arns.task("default", task.task_id)
    assert describe_tasks(world.cp, {"tasks": [arn]})["tasks"][0]["connectivity"] == "DISCONNECTED"


@pytest.mark.parametrize(
    ("prefer", "stays"),
    [pytest.param("", 0, id="the-original"), pytest.param(" prefer=replacement", 1, id="the-replacement")],
)
def test_a_task_that_is_away_for_too_long_is_replaced_and_the_surplus_goes(
    world: World, machines: Sequence[str], prefer: str, stays: int
) -> None:
    running_service(world, machines, f"replace-after=10m{prefer}")
    gone, *others = machines
    world.disconnects(gone)
    world.minutes(9)
    assert len(to_run(world, *others)) == 2
    world.minutes(2)
    do_as_told(world, *others)
    assert len(to_run(world, *others)) == 3
    [substitute] = [task for task in on(world, *others) if task.substitute]
    [original] = on(world, gone)
    assert original.desired_status is DesiredStatus.RUNNING
    assert any("does not count 1 tasks any more" in message for message in events(world))
    world.minutes(20)
    assert len(to_run(world, *others)) == 3, "one substitute, and no more"

    world.connects(gone)
    do_as_told(world, *machines)
    left = {task.task_id for task in on(world, *machines)}
    assert len(left) == 3
    assert ((original, substitute)[stays].task_id in left, (original, substitute)[1 - stays].task_id in left) == (
        True,
        False,
    )


def test_a_stop_after_task_has_one_copy(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "stop-after=10m")
    gone, *others = machines
    world.disconnects(gone)
    world.minutes(10)
    assert len(to_run(world, *others)) == 2
    world.minutes(2)
    assert len(to_run(world, *others)) == 3, "10 minutes, 30 seconds to stop, 30 seconds more"
    [original] = on(world, gone)
    assert original.desired_status is DesiredStatus.STOPPED
    world.agents.sent.clear()
    world.connects(gone)
    do_as_told(world, *machines)
    assert on(world, gone) == []
    assert len(to_run(world, *others)) == 3


def test_silence_never_starts_the_clock_of_a_stop_after_task(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "stop-after=10m")
    gone = machines[0]
    world.silent.add(gone)
    world.minutes(8 * 60, sweeps_each=10)
    assert not world.instance(gone).agent_connected, "it answers no probe"
    assert len(to_run(world, *machines)) == 3
    assert len(on(world, *machines)) == 3


def test_a_session_that_ends_after_the_silence_starts_the_clock(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "stop-after=10m")
    gone, *others = machines
    world.silent.add(gone)
    world.minutes(8 * 60, sweeps_each=10)
    assert not world.instance(gone).agent_connected
    world.disconnects(gone)
    world.minutes(12)
    assert len(to_run(world, *others)) == 3


def test_a_message_from_before_the_end_of_its_session_proves_nothing(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "stop-after=10m")
    gone, *others = machines
    registration = world.table.get(keys.registration("default", gone))
    assert registration is not None
    late = world.envelope(gone, Reconcile(request_id="late", digest=registration["digest"]))
    asked = world.envelope(gone, DescribeTasks(request_id="late"))
    world.pass_time(5)
    world.disconnects(gone)
    epoch = world.instance(gone).epoch
    for envelope in (late, asked):
        answer_agent_request(world.cp, envelope)
    world.deliver()
    assert (world.instance(gone).agent_connected, world.instance(gone).epoch) == (False, epoch + 1)
    assert [message for to, message in world.agents.sent if to == gone].count(Probe()) >= 2, "it is asked, in case"
    world.minutes(12)
    assert len(to_run(world, *others)) == 3


@pytest.mark.parametrize("disconnect", ["keep", "replace-after=10m", "stop-after=10m"])
def test_stopped_by_its_user_while_away(world: World, machines: Sequence[str], disconnect: str) -> None:
    running_service(world, machines, disconnect)
    gone = machines[0]
    world.disconnects(gone)
    [task] = on(world, gone)
    stop_task(world.cp, {"task": task.task_id})
    world.deliver()
    replaced = len(to_run(world, *machines)) == 3
    assert replaced is (disconnect != "stop-after=10m")
    world.minutes(12)
    assert len(to_run(world, *machines)) == 3


def test_what_the_tag_said_when_a_task_was_started_holds(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "replace-after=10m")
    assert {task.disconnect for task in on(world, *machines)} == {"replace-after=10m"}
    [command] = [
        message
        for to, message in world.agents.sent
        if isinstance(message, TaskCommands) and to == machines[0]
        if message.tasks[0].restart == "offline"
    ][-1:]
    assert command.tasks[0].stop_after is None


def test_a_machine_is_told_when_to_stop_by_itself(world: World, machines: Sequence[str]) -> None:
    tags = [{"key": DISCONNECT, "value": "stop-after=5m"}]
    answer = run_task(world.cp, {"taskDefinition": "web", "tags": tags})
    assert answer["tasks"][0]["tags"] == tags
    world.deliver()
    [command] = [message for _, message in world.agents.sent if isinstance(message, TaskCommands)]
    assert (command.tasks[0].stop_after, command.tasks[0].restart) == (300, None)


def test_nobody_replaces_a_task_of_its_own(world: World, machines: Sequence[str]) -> None:
    tags = [{"key": DISCONNECT, "value": "replace-after=5m"}]
    with pytest.raises(InvalidParameterException, match="replace-after is for services"):
        run_task(world.cp, {"taskDefinition": "web", "tags": tags})


def test_an_unknown_word_makes_no_service(world: World, machines: Sequence[str]) -> None:
    with pytest.raises(InvalidParameterException, match="is not understood"):
        serve(world, "whenever")
    assert describe_services(world.cp, {"services": ["web"]})["services"] == []


def test_tags_are_shown_when_asked_for_and_propagated_when_told(world: World, machines: Sequence[str]) -> None:
    serve(world, "keep", 1, propagateTags="SERVICE")
    assert service(world)["tags"] == [{"key": DISCONNECT, "value": "keep"}]
    assert service(world)["propagateTags"] == "SERVICE"
    [task] = on(world, *machines)
    asked = describe_tasks(world.cp, {"tasks": [task.task_id], "include": ["TAGS"]})["tasks"][0]
    assert asked["tags"] == [{"key": DISCONNECT, "value": "keep"}]
    assert describe_tasks(world.cp, {"tasks": [task.task_id]})["tasks"][0]["tags"] == []


def test_a_start_that_nobody_heard_is_replaced_after_a_minute(world: World, machines: Sequence[str]) -> None:
    serve(world, None)
    gone, *others = machines
    do_as_told(world, *others)
    world.disconnects(gone)
    world.minutes(3)
    assert len(to_run(world, *others)) == 3
    [unheard] = on(world, gone)
    assert (unheard.desired_status, unheard.stop_code) == (
        DesiredStatus.STOPPED,
        StopCode.SERVICE_SCHEDULER_INITIATED,
    )
    assert service(world)["deployments"][0]["failedTasks"] == 0


def test_a_deployment_does_not_wait_for_a_machine_that_is_away(world: World, machines: Sequence[str]) -> None:
    serve(world, "keep")
    gone, *others = machines
    [task] = on(world, gone)
    container = ContainerReport(name="main", last_status=S.PENDING)
    heard = world.report_of(task.task_id, S.PENDING, 1, containers=(container,))
    world.report(heard, instance_id=gone)
    do_as_told(world, *others)
    assert service(world)["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    world.disconnects(gone)
    update_service(world.cp, {"service": "web", "desiredCount": 3})
    world.deliver()
    deployment = service(world)["deployments"][0]
    assert deployment["rolloutState"] == "COMPLETED"
    assert "1 of its tasks are on disconnected container instances" in deployment["rolloutStateReason"]


def test_a_deleted_service_becomes_inactive_though_a_machine_is_away(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "replace-after=10m")
    gone, *others = machines
    world.disconnects(gone)
    delete_service(world.cp, {"service": "web", "force": True})
    world.deliver()
    do_as_told(world, *others)
    assert service(world)["status"] == "INACTIVE"
    serve(world, None, 2)
    do_as_told(world, *others)
    assert service(world)["runningCount"] == 2
    world.connects(gone)
    do_as_told(world, *machines)
    assert on(world, gone) == []
    assert service(world)["runningCount"] == 2


def test_a_service_deleted_long_after_a_machine_has_gone(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "replace-after=10m")
    gone, *others = machines
    world.disconnects(gone)
    world.minutes(12)
    do_as_told(world, *others)
    delete_service(world.cp, {"service": "web", "force": True})
    world.deliver()
    do_as_told(world, *others)
    assert service(world)["status"] == "INACTIVE"
    world.connects(gone)
    do_as_told(world, *machines)
    assert on(world, *machines) == []


def test_a_deregistered_machine_may_still_run_its_stop_after_task(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "stop-after=10m")
    gone, *others = machines
    deregister_container_instance(world.cp, {"containerInstance": gone, "force": True})
    world.deliver()
    assert len(to_run(world, *others)) == 2
    world.disconnects(gone)
    world.minutes(10)
    assert len(to_run(world, *others)) == 2
    world.minutes(4)
    do_as_told(world, *others)
    assert len(to_run(world, *others)) == 3
    assert on(world, gone) == []


@pytest.mark.parametrize("apart", [0, 60])
def test_too_many_at_once_are_not_replaced_until_an_operator_says_so(
    world: World, machines: Sequence[str], apart: float
) -> None:
    running_service(world, machines, "replace-after=10m")
    first, second, last = machines
    for machine in (first, second):
        world.pass_time(apart)
        world.silent.add(machine)
        world.presence(machine, "disconnected")
    world.deliver()
    world.minutes(30)
    assert len(to_run(world, last)) == 1
    assert sum("starts nothing in place of 2 tasks" in message for message in events(world)) == 1
    assert operate(world.cp, {"operation": "Resume", "cluster": "default"}) == {"cluster": "default"}
    world.minutes(3)
    assert len(to_run(world, last)) == 3


def test_resuming_a_cluster_that_is_not_there(world: World) -> None:
    assert operate(world.cp, {"operation": "Resume", "cluster": "other"})["error"] == "ClusterNotFoundException"


def test_too_many_at_once_and_back_again(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, "replace-after=10m")
    first, second, _ = machines
    world.disconnects(first)
    world.disconnects(second)
    world.minutes(12)
    world.connects(second)
    world.minutes(2)
    assert len(to_run(world, *machines[1:])) == 3, "one machine alone is no mass"


def test_a_large_fleet_is_written_off_a_tenth_a_minute(world: World) -> None:
    create_cluster(world.cp, {"clusterName": "default"})
    world.task_definition()
    fleet = [world.machine() for _ in range(12)]
    running_service(world, fleet, "replace-after=10m", desired=12)
    gone = fleet[:3]
    for machine in gone:
        world.disconnects(machine)
    counts = []
    world.minutes(9)
    for _ in range(5):
        world.minutes(1)
        counts.append(len([task for task in on(world, *fleet) if task.substitute]))
    assert counts == [1, 2, 3, 3, 3]


def test_what_a_machine_did_while_it_was_cut_off_is_told(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, None, desired=1)
    [task] = on(world, *machines)
    restarts = RestartsInPlace(count=4, exit_codes={"main": 137}, first_at=world.now, last_at=world.now)
    for number in (2, 3):
        report = world.report_of(task.task_id, S.RUNNING, number, restarts=restarts)
        world.report(report, instance_id=task.instance_id)
    world.deliver()
    described = describe_tasks(world.cp, {"tasks": [task.task_id]})["tasks"][0]
    assert described["attributes"] == [
        {"name": "ecs-anywhere.restarts", "value": "4"},
        {"name": "ecs-anywhere.lastExitCode", "value": "main=137"},
    ]
    assert sum("was started again by its container instance 4 times" in message for message in events(world)) == 1
    assert service(world)["deployments"][0]["failedTasks"] == 0


def test_what_had_stopped_and_runs_again_is_stopped(world: World, machines: Sequence[str]) -> None:
    """The unsure minute: the end was heard first."""
    running_service(world, machines, None, desired=1)
    [task] = on(world, *machines)
    machine = task.instance_id
    world.report(world.report_of(task.task_id, S.STOPPED, 2), instance_id=machine)
    world.deliver()
    world.report(world.report_of(task.task_id, S.RUNNING, 1, epoch=2), instance_id=machine)
    assert [key["taskId"] for key in world.queues.commands] == [task.task_id]


def test_what_was_ending_and_runs_again_is_stopped(world: World, machines: Sequence[str]) -> None:
    running_service(world, machines, None, desired=1)
    [task] = on(world, *machines)
    machine = task.instance_id
    world.report(world.report_of(task.task_id, S.STOPPING, 2), instance_id=machine)
    world.report(world.report_of(task.task_id, S.RUNNING, 1, epoch=2), instance_id=machine)
    found = tasks.load(world.table, "default", task.task_id)
    assert found is not None
    assert (found.desired_status, found.last_status) == (DesiredStatus.STOPPED, S.STOPPING)
    world.agents.sent.clear()
    world.deliver()
    assert any(
        line.task_id == task.task_id and line.desired_status is DesiredStatus.STOPPED
        for _, message in world.agents.sent
        if isinstance(message, TaskCommands)
        for line in message.tasks
    )
