"""The rules of the core, one case each."""

from dataclasses import replace
from typing import Any

import pytest

from ecs_anywhere_agent.core import Rules, State, next_due, step
from ecs_anywhere_agent.core.actions import (
    Action,
    PublishReports,
    PublishRequest,
    RemoveContainer,
)
from ecs_anywhere_agent.core.events import (
    AgentStarted,
    Attempt,
    Condition,
    Connected,
    ContainerChanged,
    ContainerSnapshot,
    Event,
    InventoryTaken,
    MessageReceived,
    ReportAcknowledged,
    StopAsked,
    TimerFired,
)
from ecs_anywhere_agent.core.values import ContainerRef, Orphan, Phase
from ecs_protocol.messages import (
    DescribeTasks,
    ListedTask,
    OrphansNoted,
    Probe,
    Reconcile,
    Reconciliation,
    Refused,
    RegisterContainerInstance,
    RegistrationRequired,
    ReportOrphans,
    TaskCommand,
    TaskCommands,
    TaskReport,
)
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from unit.agent.world import ARN, DEFINITION, Cloud, Machine, command, instant, registration, task_id

APP, SIDECAR = ContainerRef(task_id(1), "app"), ContainerRef(task_id(1), "sidecar")
RUNNING, STOPPED = TaskStatus.RUNNING, TaskStatus.STOPPED


@pytest.fixture
def machine() -> Machine:
    machine = Machine(Cloud())
    machine.boot()
    machine.connect()
    machine.drain()
    return machine


def published(machine: Machine) -> int:
    """Messages since the last call."""
    count, machine.published = machine.published, 0
    return count


def running(machine: Machine, number: int = 1) -> None:
    machine.deliver(machine.cloud.run(number))
    machine.drain()
    assert machine.cloud.tasks[task_id(number)].last_status is RUNNING


def report(machine: Machine, number: int = 1) -> TaskReport:
    found = machine.cloud.tasks[task_id(number)].report
    assert found is not None
    return found


class Script:
    """The core alone: events in, actions out, every message written by hand."""

    def __init__(self) -> None:
        self.state = State()
        self.now = 0.0
        self.give(AgentStarted(ARN))
        self.give(InventoryTaken(()))

    def give(self, event: Event, after: float = 0.0) -> tuple[Action, ...]:
        self.now += after
        self.state, actions = step(self.state, event, instant(self.now))
        return actions

    def connect(self) -> str:
        (request,) = requests(self.give(Connected("s", registration())))
        return str(request.request_id)

    def list(self, request_id: str, *lines: ListedTask, version: int = 1, epoch: int = 1) -> tuple[Action, ...]:
        page = Reconciliation(request_id=request_id, page=1, pages=1, epoch=epoch, version=version, tasks=lines)
        return self.give(MessageReceived(page))

    def command(self, *tasks: TaskCommand, version: int, **members: Any) -> tuple[Action, ...]:
        definitions = {"web:1": DEFINITION}
        return self.give(
            MessageReceived(TaskCommands(version=version, tasks=tasks, task_definitions=definitions, **members))
        )


def requests(actions: tuple[Action, ...]) -> list[Any]:
    return [action.message for action in actions if isinstance(action, PublishRequest)]


def reports(actions: tuple[Action, ...]) -> list[TaskReport]:
    return [each for action in actions if isinstance(action, PublishReports) for each in action.message.reports]


def line(number: int, desired: DesiredStatus = DesiredStatus.RUNNING, **members: Any) -> ListedTask:
    return ListedTask(task_id=task_id(number), desired_status=desired, task_definition="web:1", **members)


# --- opening a connection ---------------------------------------------------------------------------------------


def test_a_connection_opens_with_reconcile_and_registers_when_asked_to() -> None:
    script = Script()
    first = script.connect()
    (registers,) = requests(script.give(MessageReceived(RegistrationRequired(request_id=first))))
    assert isinstance(registers, RegisterContainerInstance)
    assert registers.request_id != first
    script.list(registers.request_id, epoch=4)
    assert script.state.link is not None
    assert script.state.link.epoch == 4


def test_an_answer_to_an_earlier_request_changes_nothing() -> None:
    script = Script()
    first = script.connect()
    (again,) = requests(script.give(TimerFired(), after=2))
    before = script.state
    script.list(first, epoch=7)
    assert script.state == before
    assert again.request_id != first


def test_unanswered_it_asks_again_with_growing_gaps() -> None:
    script = Script()
    script.connect()
    gaps = [2, 4, 8, 16, 32, 60, 60]
    for gap in gaps:
        assert requests(script.give(TimerFired(), after=gap - 0.1)) == []
        (request,) = requests(script.give(TimerFired(), after=0.1))
        assert isinstance(request, Reconcile)


def test_refused_it_asks_again_slowly() -> None:
    script = Script()
    request_id = script.connect()
    script.give(MessageReceived(Refused(request_id=request_id, error="InactiveInstance", message="deregistered")))
    assert requests(script.give(TimerFired(), after=299)) == []
    (again,) = requests(script.give(TimerFired(), after=1))
    script.give(MessageReceived(Refused(request_id=again.request_id, error="InactiveInstance", message="")))
    assert requests(script.give(TimerFired(), after=599)) == []
    assert len(requests(script.give(TimerFired(), after=1))) == 1


def test_a_probe_is_answered_with_reconcile(machine: Machine) -> None:
    epoch = machine.cloud.epoch
    machine.deliver(Probe())
    machine.drain()
    assert machine.cloud.epoch == epoch + 1


def test_nothing_is_reported_before_the_whole_list_has_come() -> None:
    script = Script()
    request_id = script.connect()
    script.command(command(1, "STOPPED"), version=3)
    page = Reconciliation(request_id=request_id, page=2, pages=2, epoch=1, version=2)
    assert reports(script.give(MessageReceived(page))) == []
    assert reports(script.give(MessageReceived(page))) == []
    (only,) = reports(script.give(MessageReceived(page.model_copy(update={"page": 1}))))
    assert (only.last_status, only.epoch, only.number) == (STOPPED, 1, 1)


def test_a_request_that_was_answered_twice_counts_under_the_newer_epoch() -> None:
    script = Script()
    request_id = script.connect()
    script.list(request_id, epoch=5)
    script.command(command(1, "STOPPED"), version=3)
    (again,) = reports(script.list(request_id, epoch=6))
    assert (again.epoch, again.number) == (6, 1)
    assert reports(script.list(request_id, epoch=5)) == []


def test_an_idle_connection_costs_one_message(machine: Machine) -> None:
    running(machine)
    machine.disconnect()
    published(machine)
    machine.connect()
    machine.settle(24 * 3600)
    assert published(machine) == 1


# --- commands ---------------------------------------------------------------------------------------------------


def test_a_task_runs_when_all_its_containers_have_started(machine: Machine) -> None:
    running(machine)
    assert machine.runtime.starts == {APP: 1, SIDECAR: 1}
    assert [container.last_status for container in report(machine).containers] == [RUNNING, RUNNING]
    assert report(machine).started_at is not None


def test_run_and_stop_within_two_seconds_are_one_report_each(machine: Machine) -> None:
    published(machine)
    running(machine)
    machine.deliver(machine.cloud.stop(1))
    machine.settle(60)
    assert machine.cloud.tasks[task_id(1)].last_status is STOPPED
    assert published(machine) == 2


def test_a_repeated_command_is_answered_after_two_seconds_with_where_the_task_stands(machine: Machine) -> None:
    running(machine)
    published(machine)
    machine.cloud.version += 1
    machine.deliver(machine.cloud.again(1))
    machine.settle(1.9)
    assert published(machine) == 0
    machine.settle(0.2)
    assert published(machine) == 1
    assert (report(machine).command_version, report(machine).last_status) == (machine.cloud.version, RUNNING)


def test_a_slow_pull_is_reported_as_pending_once() -> None:
    script = Script()
    script.list(script.connect())
    assert reports(script.command(command(1), version=2)) == []
    (pending,) = reports(script.give(TimerFired(), after=2))
    assert (pending.last_status, pending.command_version) == (TaskStatus.PENDING, 2)
    assert pending.pull_started_at is not None
    assert reports(script.give(TimerFired(), after=60)) != [pending]


def test_a_slow_stop_is_reported_as_stopping_and_ends_in_a_kill(machine: Machine) -> None:
    running(machine)
    machine.runtime.obedient = False
    machine.deliver(machine.cloud.stop(1))
    machine.settle(2.1)
    assert report(machine).last_status is TaskStatus.STOPPING
    machine.settle(30)
    assert report(machine).last_status is STOPPED
    assert [container.exit_code for container in report(machine).containers] == [137, 137]


def test_a_task_that_was_told_to_stop_is_never_started(machine: Machine) -> None:
    machine.deliver(TaskCommands(version=9, tasks=(command(1, "STOPPED"),)))
    machine.deliver(TaskCommands(version=9, tasks=(command(1),), task_definitions={"web:1": DEFINITION}))
    machine.deliver(TaskCommands(version=10, tasks=(command(1),), task_definitions={"web:1": DEFINITION}))
    machine.settle(47 * 3600)
    machine.deliver(TaskCommands(version=11, tasks=(command(1),), task_definitions={"web:1": DEFINITION}))
    machine.settle(10)
    assert machine.runtime.starts == {}


def test_a_stop_for_a_task_that_is_not_here_is_answered_with_stopped(machine: Machine) -> None:
    machine.cloud.run(1)
    machine.deliver(machine.cloud.stop(1))
    machine.drain()
    assert machine.cloud.tasks[task_id(1)].last_status is STOPPED


def test_an_older_command_is_ignored_for_that_task_only() -> None:
    script = Script()
    script.list(script.connect())
    script.command(command(1), version=5)
    script.command(command(2), version=4)
    script.command(command(1, "STOPPED"), version=4)
    assert {task.task_id: task.desired for task in script.state.tasks.values()} == {
        task_id(1): DesiredStatus.RUNNING,
        task_id(2): DesiredStatus.RUNNING,
    }


def test_of_two_commands_of_one_version_stopped_wins() -> None:
    for order in ((command(1), command(1, "STOPPED")), (command(1, "STOPPED"), command(1))):
        script = Script()
        script.list(script.connect())
        for each in order:
            script.command(each, version=5)
        assert script.state.tasks[task_id(1)].desired is DesiredStatus.STOPPED


def test_a_command_older_than_the_list_that_does_not_name_its_task_is_asked_about() -> None:
    script = Script()
    script.list(script.connect(), version=9)
    (asked,) = requests(script.command(command(1), version=8))
    assert asked.task_ids == (task_id(1),)
    assert script.state.tasks == {}
    script.command(command(1), version=9, request_id=asked.request_id)
    assert task_id(1) in script.state.tasks


def test_a_definition_that_did_not_come_along_is_asked_for() -> None:
    script = Script()
    script.list(script.connect())
    (asked,) = requests(script.give(MessageReceived(TaskCommands(version=2, tasks=(command(1),)))))
    assert isinstance(asked, DescribeTasks)
    assert (asked.task_ids, asked.task_definitions) == ((), ("web:1",))
    assert script.state.tasks[task_id(1)].containers == ()
    script.give(MessageReceived(TaskCommands(version=2, task_definitions={"web:1": DEFINITION})))
    assert [container.name for container in script.state.tasks[task_id(1)].containers] == ["app", "sidecar"]


# --- the list ---------------------------------------------------------------------------------------------------


def test_tasks_of_the_list_that_are_not_here_are_asked_for_and_run(machine: Machine) -> None:
    machine.disconnect()
    for number in (1, 2, 3):
        machine.cloud.run(number)
    machine.cloud.stop(3)
    machine.connect()
    machine.settle(5)
    statuses = [task.last_status for task in machine.cloud.tasks.values()]
    assert statuses == [RUNNING, RUNNING, STOPPED]


def test_a_running_task_that_the_list_does_not_name_stops_only_if_its_own_item_says_so(machine: Machine) -> None:
    running(machine, 1)
    running(machine, 2)
    machine.cloud.tasks[task_id(1)].last_status = STOPPED
    machine.cloud.tasks[task_id(1)].desired = DesiredStatus.STOPPED
    del machine.cloud.tasks[task_id(2)]
    machine.disconnect()
    machine.connect()
    machine.settle(10)
    assert machine.runtime.containers[APP].condition is Condition.EXITED
    assert machine.runtime.containers[ContainerRef(task_id(2), "app")].condition is Condition.RUNNING
    assert machine.state.tasks[task_id(2)].orphan is Orphan.UNKNOWN


def test_an_orphan_is_not_reported_and_becomes_a_task_again_when_it_is_named(machine: Machine) -> None:
    running(machine)
    known = machine.cloud.tasks.pop(task_id(1))
    machine.disconnect()
    machine.connect()
    machine.settle(10)
    published(machine)
    machine.take(ContainerChanged(machine.runtime.end(SIDECAR, 0)))
    machine.settle(10)
    assert published(machine) == 0
    machine.cloud.tasks[task_id(1)] = known
    machine.disconnect()
    machine.connect()
    machine.settle(10)
    assert machine.state.tasks[task_id(1)].orphan is None
    assert [container.last_status for container in report(machine).containers] == [RUNNING, STOPPED]


def test_a_list_changes_no_task_for_which_something_newer_was_seen() -> None:
    script = Script()
    script.list(script.connect(), version=3)
    (request,) = requests(script.give(MessageReceived(Probe())))
    script.command(command(1), version=5)
    actions = script.list(request.request_id, line(1, DesiredStatus.STOPPED), version=4, epoch=2)
    assert script.state.tasks[task_id(1)].desired is DesiredStatus.RUNNING
    assert requests(actions) == []


def test_after_a_restore_of_the_table_the_agent_follows_it(machine: Machine) -> None:
    machine.cloud.version = 50
    running(machine)
    machine.cloud.version = 10
    machine.disconnect()
    machine.connect()
    machine.settle(5)
    machine.deliver(machine.cloud.stop(1))
    machine.settle(5)
    assert machine.cloud.tasks[task_id(1)].last_status is STOPPED


# --- reports ----------------------------------------------------------------------------------------------------


def test_what_was_not_acknowledged_is_sent_again_under_the_new_epoch(machine: Machine) -> None:
    machine.lose = lambda message: isinstance(message, PublishReports)
    running(machine)
    old = report(machine)
    machine.lose = lambda _: False
    machine.disconnect()
    machine.connect()
    machine.drain()
    assert (report(machine).epoch, report(machine).number) == (old.epoch + 1, 1)


def test_what_was_acknowledged_and_is_newer_than_the_list_is_sent_again(machine: Machine) -> None:
    running(machine)
    machine.cloud.tasks[task_id(1)].report = None
    machine.cloud.tasks[task_id(1)].last_status = TaskStatus.PENDING
    machine.disconnect()
    machine.connect()
    machine.drain()
    assert report(machine).last_status is RUNNING


def test_without_an_acknowledgement_a_report_is_sent_again_on_the_living_connection(machine: Machine) -> None:
    machine.lose = lambda message: isinstance(message, PublishReports)
    running(machine)
    machine.lose = lambda _: False
    machine.settle(11)
    assert report(machine).number == 2


def test_what_changes_while_a_report_is_on_its_way_shares_the_next_one() -> None:
    script = Script()
    script.list(script.connect())
    (first,) = [
        action for action in script.command(command(1, "STOPPED"), version=2) if isinstance(action, PublishReports)
    ]
    for number in range(2, 5):
        assert reports(script.command(command(number, "STOPPED"), version=2)) == []
    assert len(reports(script.give(ReportAcknowledged(first.token)))) == 3


def test_tasks_that_start_together_share_messages(machine: Machine) -> None:
    for number in range(1, 41):
        machine.deliver(machine.cloud.run(number))
    published(machine)
    first_told: float | None = None
    while machine.events:
        machine.now += 0.01
        machine.take(machine.events.pop(0))
        due = next_due(machine.state)
        if due is not None and due <= machine.now:
            machine.take(TimerFired())
        if first_told is None and machine.published:
            first_told = machine.now
            assert [task.last_status for task in machine.cloud.tasks.values()].count(RUNNING) <= 1, "the first, alone"
    assert {task.last_status for task in machine.cloud.tasks.values()} == {RUNNING}, "and the last are not held up"
    assert first_told is not None
    assert published(machine) <= (machine.now - first_told) / Rules().company + 2


def test_a_message_holds_at_most_100_reports() -> None:
    script = Script()
    script.command(*(command(number, "STOPPED") for number in range(150)), version=2)
    first = script.list(script.connect())
    assert len(reports(first)) == 100
    (publish,) = [action for action in first if isinstance(action, PublishReports)]
    assert len(reports(script.give(ReportAcknowledged(publish.token)))) == 50


# --- the life of a task -----------------------------------------------------------------------------------------


def test_the_end_of_an_essential_container_ends_the_task(machine: Machine) -> None:
    running(machine)
    machine.take(ContainerChanged(machine.runtime.end(APP, 3)))
    machine.drain()
    ended = report(machine)
    assert (ended.last_status, ended.stop_code) == (STOPPED, StopCode.ESSENTIAL_CONTAINER_EXITED)
    assert ended.stopped_reason == "Essential container in task exited"
    assert {container.name: container.exit_code for container in ended.containers} == {"app": 3, "sidecar": 143}
    assert ended.execution_stopped_at is not None


def test_the_end_of_another_container_leaves_the_task_running(machine: Machine) -> None:
    running(machine)
    machine.take(ContainerChanged(machine.runtime.end(SIDECAR, 1)))
    machine.settle(10)
    now = report(machine)
    assert now.last_status is RUNNING
    assert [(container.last_status, container.exit_code) for container in now.containers] == [
        (RUNNING, None),
        (STOPPED, 1),
    ]


@pytest.mark.parametrize("attempt", list(Attempt))
def test_a_task_whose_essential_container_cannot_start_says_why(machine: Machine, attempt: Attempt) -> None:
    machine.runtime.failures = {"app": attempt}
    machine.deliver(machine.cloud.run(1))
    machine.settle(1)
    failed = report(machine)
    assert (failed.last_status, failed.stop_code) == (STOPPED, StopCode.TASK_FAILED_TO_START)
    (app, _) = failed.containers
    assert app.reason is not None
    assert app.reason.startswith(f"{attempt.value}: ")
    of_task = app.reason if attempt is Attempt.RESOURCES else "Task failed to start"
    assert failed.stopped_reason == of_task
    assert failed.started_at is None


def test_a_definition_that_cannot_be_used_fails_the_task() -> None:
    script = Script()
    script.list(script.connect())
    message = TaskCommands(
        version=2,
        tasks=(command(1),),
        task_definitions={"web:1": {**DEFINITION, "networkMode": "awsvpc"}},
    )
    (failed,) = reports(script.give(MessageReceived(message)))
    assert failed.stop_code is StopCode.TASK_FAILED_TO_START
    assert failed.stopped_reason == "Task failed to start: networkMode awsvpc is not available on this machine"


def test_a_change_of_health_is_reported(machine: Machine) -> None:
    running(machine)
    snapshot = replace(machine.runtime.snapshot(APP), health=HealthStatus.UNHEALTHY)
    machine.take(ContainerChanged(snapshot))
    machine.drain()
    assert report(machine).containers[0].health_status is HealthStatus.UNHEALTHY


def test_a_stopped_task_is_forgotten_after_its_time_and_remembered_as_ended(machine: Machine) -> None:
    running(machine)
    machine.deliver(machine.cloud.stop(1))
    machine.settle(Rules().keep_stopped - 1)
    assert set(machine.runtime.containers) == {APP, SIDECAR}
    machine.settle(2)
    assert (machine.runtime.containers, machine.state.tasks) == ({}, {})
    assert machine.state.task_definitions == {}
    assert set(machine.state.ended) == {task_id(1)}


def test_a_stopped_task_is_not_forgotten_before_its_end_was_told(machine: Machine) -> None:
    running(machine)
    machine.disconnect()
    machine.take(ContainerChanged(machine.runtime.end(APP, 3)))
    machine.settle(Rules().keep_stopped + 60)
    assert machine.runtime.containers == {}
    assert set(machine.state.tasks) == {task_id(1)}
    machine.boot()
    machine.connect()
    machine.settle(5)
    assert report(machine).last_status is STOPPED
    assert report(machine).containers[0].exit_code == 3
    machine.connect()
    machine.settle(5)
    assert machine.state.tasks == {}


# --- adoption ---------------------------------------------------------------------------------------------------


def test_without_its_state_file_the_agent_adopts_what_runs(machine: Machine) -> None:
    running(machine)
    machine.stored = State()
    machine.boot()
    machine.connect()
    machine.settle(5)
    machine.deliver(machine.cloud.stop(1))
    machine.settle(5)
    assert report(machine).last_status is STOPPED
    assert machine.runtime.starts == {APP: 1, SIDECAR: 1}


def test_under_a_new_identity_what_runs_is_kept_and_asked_nobody_about(machine: Machine) -> None:
    running(machine)
    machine.stored = replace(machine.stored, container_instance_arn="arn:of:another")
    machine.cloud.tasks[task_id(1)].desired = DesiredStatus.STOPPED
    machine.cloud.tasks[task_id(1)].last_status = STOPPED
    machine.boot()
    machine.connect()
    machine.settle(10)
    assert machine.state.tasks[task_id(1)].orphan is Orphan.EARLIER_IDENTITY
    assert machine.runtime.containers[APP].condition is Condition.RUNNING


def test_under_a_new_identity_without_a_state_file_too(machine: Machine) -> None:
    running(machine)
    machine.stored = State()
    for container in machine.runtime.containers.values():
        container.origin = container.origin._replace(container_instance_arn="arn:of:another")
    machine.boot()
    assert machine.state.tasks[task_id(1)].orphan is Orphan.EARLIER_IDENTITY


@pytest.mark.parametrize("state", ["is-there", "is-lost"])
def test_an_orphan_is_told_with_the_gpus_that_its_containers_run_with(state: str) -> None:
    machine = Machine(Cloud(definition=DEFINITION))
    machine.boot()
    machine.connect()
    machine.drain()
    machine.deliver(machine.cloud.run(1, gpu_ids={"app": ("GPU-0", "GPU-1")}))
    machine.settle(3)
    machine.cloud.tasks.clear()
    machine.stored = machine.stored if state == "is-there" else State()
    for container in machine.runtime.containers.values():
        container.origin = container.origin._replace(container_instance_arn="arn:of:another")
    machine.stored = replace(machine.stored, container_instance_arn="arn:of:another")
    machine.boot()
    machine.connect()
    machine.settle(10)
    [told_of] = machine.cloud.orphans.values()
    assert told_of.gpu_ids == {"app": ("GPU-0", "GPU-1")}


def test_what_a_forgotten_task_left_behind_is_removed() -> None:
    script = Script()
    script.list(script.connect())
    script.state = replace(script.state, ended={task_id(1): 1e9})
    left = ContainerSnapshot(APP, Condition.RUNNING)
    assert script.give(InventoryTaken((left,))) == (RemoveContainer(APP),)


@pytest.mark.parametrize("condition", list(Condition))
def test_an_observation_that_comes_late_changes_nothing_of_a_stopped_container(
    machine: Machine, condition: Condition
) -> None:
    running(machine)
    machine.take(ContainerChanged(machine.runtime.end(SIDECAR, 1)))
    machine.drain()
    before = machine.state
    machine.take(ContainerChanged(ContainerSnapshot(SIDECAR, condition, exit_code=9)))
    assert machine.state.tasks == before.tasks


def test_a_start_that_was_stored_and_not_done_is_given_again(machine: Machine) -> None:
    running(machine)
    task = machine.state.tasks[task_id(1)]
    app, sidecar = task.containers
    machine.stored = replace(
        machine.stored, tasks={task_id(1): replace(task, containers=(replace(app, phase=Phase.STARTING), sidecar))}
    )
    machine.runtime.containers[APP].condition = Condition.CREATED
    machine.boot()
    assert machine.runtime.starts == {APP: 1, SIDECAR: 1}, "the control plane is heard first"
    machine.connect()
    machine.drain()
    assert machine.runtime.starts == {APP: 2, SIDECAR: 1}


def test_a_task_that_is_stopped_on_its_machine_is_told_to_the_cloud_as_stopped_by_a_user(machine: Machine) -> None:
    running(machine)
    machine.take(StopAsked(task_id(1)))
    machine.drain()
    told = report(machine)
    assert (told.last_status, told.stop_code) == (STOPPED, StopCode.USER_INITIATED)
    assert told.stopped_reason == "Task stopped on its machine"


def test_a_task_that_nobody_knows_is_not_stopped_on_its_machine(machine: Machine) -> None:
    machine.take(StopAsked(task_id(9)))
    assert machine.state.tasks == {}


# --- orphans are told -------------------------------------------------------------------------------------------


def orphaned(script: Script) -> tuple[Action, ...]:
    """Connected to a control plane that has forgotten task 1."""
    first = script.connect()
    script.list(first, line(1))
    script.command(command(1), version=1, request_id="x")
    script.give(ContainerChanged(ContainerSnapshot(APP, Condition.RUNNING)))
    again = script.connect()
    script.list(again, version=1, epoch=2)
    return script.command(version=1, request_id="y", unknown_tasks=(task_id(1),))


def told(actions: tuple[Action, ...]) -> list[ReportOrphans]:
    return [each for each in requests(actions) if isinstance(each, ReportOrphans)]


def test_orphans_are_told_until_they_are_noted() -> None:
    script = Script()
    [first] = told(orphaned(script))
    assert [(each.task_id, each.task_definition) for each in first.orphans] == [(task_id(1), "web:1")]
    [second] = told(script.give(TimerFired(), after=10))
    assert told(script.give(TimerFired(), after=19)) == []
    [third] = told(script.give(TimerFired(), after=1))
    script.give(MessageReceived(OrphansNoted(request_id=second.request_id)))
    assert list(script.state.orphans_told) == [], "an answer to an earlier request"
    script.give(MessageReceived(OrphansNoted(request_id=third.request_id)))
    assert list(script.state.orphans_told) == [task_id(1)]
    assert told(script.give(TimerFired(), after=10_000)) == []


def test_an_orphan_that_was_stopped_is_told_to_be_gone() -> None:
    script = Script()
    [first] = told(orphaned(script))
    script.give(MessageReceived(OrphansNoted(request_id=first.request_id)))
    [second] = told(script.command(command(1, "STOPPED"), version=2))
    assert second.orphans == ()
    script.give(MessageReceived(OrphansNoted(request_id=second.request_id)))
    assert script.state.orphans_told == ()


def test_a_machine_without_orphans_tells_nothing(machine: Machine) -> None:
    running(machine)
    assert machine.state.link is not None
    assert machine.state.link.orphans_request is None
