"""What reminders bring back: commands that were lost, deregistrations that were cut off, connections that vanished."""

from typing import Any

import pytest

from control_plane.domain.errors import ServerException
from control_plane.domain.inbox import Look
from control_plane.flows import container_instances
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.look_at_container_instance import look_at_container_instances
from control_plane.flows.run_task import run_task
from control_plane.flows.stop_task import stop_task
from control_plane.flows.sweep import sweep
from control_plane.store import keys, tasks
from ecs_protocol.messages import ControlPlaneMessage, Probe, Reconcile, Reconciliation, TaskCommands
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from world import World

TEN_MINUTES_OF_SIX_HOURS = 6 * 6 + 2
"""Until a probe was due, and its answer."""


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition()
    instance_id = world.machine()
    world.agents.take(instance_id)
    return instance_id


def run(world: World) -> str:
    arn: str = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"]
    return arn.rsplit("/", 1)[1]


def a_minute(world: World, machine: str, *, minutes: int = 1) -> list[ControlPlaneMessage]:
    """What the machine is sent because of what is due. The stream brings nothing: it is what got lost."""
    world.pass_time(60 * minutes)
    sweep(world.cp)
    looks, world.queues.looks = world.queues.looks, []
    for _ in range(2):  # a queue may bring each twice
        assert not look_at_container_instances(world.cp, looks)
    return world.agents.take(machine)


def told(messages: list[ControlPlaneMessage]) -> set[tuple[str, str]]:
    return {
        (task.task_id, str(task.desired_status))
        for message in messages
        if isinstance(message, TaskCommands)
        for task in message.tasks
    }


def reconcile(world: World, machine: str) -> None:
    registration = world.table.get(keys.registration("default", machine))
    assert registration is not None
    world.say(machine, Reconcile(request_id="r", digest=registration["digest"]))
    world.agents.take(machine)


def a_deaf_minute(world: World, machine: str) -> list[ControlPlaneMessage]:
    """The machine answers when it is asked whether it is there, but no command reaches it."""
    messages = a_minute(world, machine)
    if Probe() in messages:
        reconcile(world, machine)
    return messages


def test_lost_commands_are_sent_again_with_growing_gaps(world: World, machine: str) -> None:
    task_id = run(world)
    minutes = [minute for minute in range(1, 20) if told(a_deaf_minute(world, machine)) == {(task_id, "RUNNING")}]
    assert minutes == [1, 2, 4, 8, 16]


def test_a_machine_that_answers_neither_its_command_nor_a_probe_is_not_connected(world: World, machine: str) -> None:
    run(world)
    assert Probe() in a_minute(world, machine)
    assert world.instance(machine).agent_connected
    a_minute(world, machine)
    found = world.instance(machine)
    assert not found.agent_connected
    assert found.session_ended_at is None
    probed = [minute for minute in range(3, 40) if Probe() in a_minute(world, machine)]
    assert 3 <= len(probed) <= 6, "it is asked again, ever less often"
    reconcile(world, machine)
    assert world.instance(machine).agent_connected


def test_a_start_that_nobody_heard_is_given_up(world: World, machine: str) -> None:
    task_id = run(world)
    for _ in range(4):
        a_minute(world, machine)
    task = tasks.load(world.table, "default", task_id)
    assert task is not None
    assert (task.desired_status, task.last_status) == (DesiredStatus.STOPPED, TaskStatus.PENDING)
    assert task.stop_code is StopCode.TASK_FAILED_TO_START
    world.agents.take(machine)
    registration = world.table.get(keys.registration("default", machine))
    assert registration is not None
    world.say(machine, Reconcile(request_id="r", digest=registration["digest"]))
    [answer] = world.agents.take(machine)
    assert isinstance(answer, Reconciliation)
    assert [(line.task_id, line.desired_status) for line in answer.tasks] == [(task_id, DesiredStatus.STOPPED)]
    world.report(world.report_of(task_id, TaskStatus.STOPPED, 1, epoch=9), instance_id=machine)
    assert world.instance(machine).tasks == 0


def test_a_command_that_was_answered_is_not_sent_again(world: World, machine: str) -> None:
    task_id = run(world)
    world.report(world.report_of(task_id, TaskStatus.RUNNING, 1), instance_id=machine)
    assert not any(told(a_minute(world, machine)) for _ in range(5))
    stop_task(world.cp, {"task": task_id})
    assert told(a_minute(world, machine)) == {(task_id, "STOPPED")}


def test_each_of_many_silent_tasks_is_sent_as_often_as_if_it_were_alone(world: World, machine: str) -> None:
    """Reminders of tasks that were started one after another must not have each other's tasks sent again."""
    wanted = []
    for _ in range(10):
        wanted.append(run(world))
        world.pass_time(7)
    sent = [each for _ in range(20) for message in a_deaf_minute(world, machine) for each in told([message])]
    assert {task_id for task_id, _ in sent} == set(wanted)
    assert all(2 * 4 <= sent.count((task_id, "RUNNING")) <= 2 * 6 for task_id in wanted)


def test_a_machine_that_is_not_connected_is_left_alone(world: World, machine: str) -> None:
    run(world)
    vanish(world, machine)
    assert not any(a_minute(world, machine) for _ in range(10))


@pytest.mark.parametrize("answers", [pytest.param(True, id="it-answers"), pytest.param(False, id="it-is-gone")])
def test_a_probe_finds_out_whether_an_agent_is_there(world: World, machine: str, *, answers: bool) -> None:
    digest = world.table.get(keys.registration("default", machine))
    assert digest is not None
    for _ in range(TEN_MINUTES_OF_SIX_HOURS):
        if Probe() in a_minute(world, machine, minutes=10) and answers:
            world.say(machine, Reconcile(request_id="r", digest=digest["digest"]))
    assert world.instance(machine).agent_connected is answers


def vanish(world: World, machine: str) -> None:
    """A connection that ended without a trace, as when the emulator is killed."""
    for _ in range(TEN_MINUTES_OF_SIX_HOURS):
        a_minute(world, machine, minutes=10)
    assert not world.instance(machine).agent_connected


def test_an_agent_found_gone_is_probed_on_and_found_again_when_it_asks(world: World, machine: str) -> None:
    digest = world.table.get(keys.registration("default", machine))
    assert digest is not None
    vanish(world, machine)
    world.say(machine, Reconcile(request_id="r", digest=digest["digest"]))
    world.agents.take(machine)
    assert world.instance(machine).agent_connected
    probed = 0
    for _ in range(6 * 6):
        messages = a_minute(world, machine, minutes=10)
        probed += messages.count(Probe())
        if Probe() in messages:
            reconcile(world, machine)
    assert probed == 2  # one, brought twice by the queue


def test_a_deregistration_that_was_cut_off_is_finished(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = run(world)

    def dies(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(container_instances, "retire", dies)
        with pytest.raises(SystemExit):
            deregister_container_instance(world.cp, {"containerInstance": machine, "force": True})
    assert not stopped(world, task_id)
    a_minute(world, machine)
    assert stopped(world, task_id)


def stopped(world: World, task_id: str) -> bool:
    task = tasks.load(world.table, "default", task_id)
    assert task is not None
    return task.stopped


def test_a_look_that_fails_is_brought_again_by_the_queue(world: World, machine: str) -> None:
    task_id = run(world)
    world.pass_time(60)
    sweep(world.cp)
    [look] = world.queues.looks
    assert look.look is Look.COMMANDS
    world.agents.unreachable = True
    assert look_at_container_instances(world.cp, [look]) == {look}
    world.agents.unreachable = False
    assert look_at_container_instances(world.cp, [look]) == set()
    assert told(world.agents.take(machine)) == {(task_id, "RUNNING")}


def test_what_dynamodb_leaves_unprocessed_is_asked_again_and_not_for_ever(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.table._client
    busy = 3
    write = client.batch_write_item

    def throttled(RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
        nonlocal busy
        busy -= 1
        return {"UnprocessedItems": RequestItems} if busy >= 0 else write(RequestItems=RequestItems)

    monkeypatch.setattr(client, "batch_write_item", throttled)
    task_id = run(world)
    assert told(a_minute(world, machine)) == {(task_id, "RUNNING")}
    busy = 10_000
    with pytest.raises(ServerException):
        run(world)
    assert [task.task_id for task in tasks.of_instance(world.table, "default", machine)] == [task_id]


def test_a_sweeper_that_dies_before_it_forgets_hands_on_again(
    world: World, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world)
    world.pass_time(60)
    with monkeypatch.context() as patch:
        patch.setattr(world.table, "delete_many", lambda _keys: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            sweep(world.cp)
    assert sweep(world.cp) == {"containerInstances": 1, "services": 0, "events": 0}
    assert sweep(world.cp) == {"containerInstances": 0, "services": 0, "events": 0}
    assert {look.instance_id for look in world.queues.looks} == {machine}
