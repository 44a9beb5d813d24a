"""When an agent asks for the credentials of tasks' roles, and what waits for them."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.clock import ClockReading
from ecs_anywhere_agent.core import State
from ecs_anywhere_agent.core.events import Condition, ContainerChanged, CredentialsReceived, MessageReceived
from ecs_anywhere_agent.core.roles import Credentials, RoleRef
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.store import Store
from ecs_protocol.messages import GetCredentials, RoleCredentials, RoleKind, TaskCredentials
from ecs_protocol.roles import needed_roles
from ecs_protocol.statuses import TaskStatus
from unit.agent.world import DEFINITION, START, Cloud, Machine, task_id

TASK_ROLE = "arn:aws:iam::000000000000:role/ecs-anywhere/app"
EXECUTION_ROLE = "arn:aws:iam::000000000000:role/ecs-anywhere/pull"
ROLE = {**DEFINITION, "taskRoleArn": TASK_ROLE}
BOTH = {
    **ROLE,
    "executionRoleArn": EXECUTION_ROLE,
    "containerDefinitions": [
        {**DEFINITION["containerDefinitions"][0], "secrets": [{"name": "A", "valueFrom": "a"}]},
        DEFINITION["containerDefinitions"][1],
    ],
}
APP = ContainerRef(task_id(1), "app")
HOUR = 3600.0
RUNNING, PENDING, STOPPED = TaskStatus.RUNNING, TaskStatus.PENDING, TaskStatus.STOPPED


def connected(cloud: Cloud | None = None) -> Machine:
    machine = Machine(cloud or Cloud(definition=ROLE))
    machine.boot()
    machine.connect()
    machine.drain()
    return machine


def running(cloud: Cloud | None = None, tasks: int = 1, **members: Any) -> Machine:
    machine = connected(cloud)
    for number in range(1, tasks + 1):
        machine.deliver(machine.cloud.run(number, **members))
    machine.settle(5)
    assert {task.last_status for task in machine.cloud.tasks.values()} == {RUNNING}
    return machine


def wanted(request: GetCredentials) -> set[tuple[int, RoleKind]]:
    return {(int(each.task_id, 16), each.role) for each in request.wanted}


def reason(machine: Machine) -> str | None:
    report = machine.cloud.tasks[task_id(1)].report
    assert report is not None
    return report.containers[0].reason


def test_a_task_starts_once_the_credentials_of_its_roles_are_held() -> None:
    machine = connected(Cloud(definition=BOTH))
    machine.lose = lambda message: isinstance(message, GetCredentials)
    machine.deliver(machine.cloud.run(1))
    machine.settle(3)
    assert machine.runtime.containers == {}
    assert machine.cloud.tasks[task_id(1)].last_status is PENDING
    assert reason(machine) == f"Waiting for credentials of the task role {TASK_ROLE}"
    machine.lose = lambda _: False
    machine.settle(20)
    assert machine.cloud.tasks[task_id(1)].last_status is RUNNING
    assert reason(machine) is None
    assert wanted(machine.asked[-1]) == {(1, "task"), (1, "execution")}
    assert machine.held.get(task_id(1), "task") is not None
    assert machine.held.get(task_id(1), "execution") is not None


@pytest.mark.parametrize(
    ("definition", "overrides", "needed"),
    [
        pytest.param({}, {}, {}, id="no-role"),
        pytest.param({"taskRoleArn": "a"}, {}, {"task": "a"}, id="the-task-role-always"),
        pytest.param({"taskRoleArn": "a"}, {"taskRoleArn": "b"}, {"task": "b"}, id="an-override-counts"),
        pytest.param({"executionRoleArn": "a"}, {}, {}, id="an-execution-role-that-nothing-uses-is-not-asked-for"),
        *(
            pytest.param(
                {"executionRoleArn": "a", "containerDefinitions": [{"image": "i"}, container]},
                {},
                {"execution": "a"},
                id=f"the-execution-role-for-{name}",
            )
            for name, container in {
                "an-image-of-ecr": {"image": "1.dkr.ecr.eu-west-1.amazonaws.com/app"},
                "a-private-registry": {"repositoryCredentials": {"credentialsParameter": "arn"}},
                "a-secret": {"secrets": [{"name": "A", "valueFrom": "a"}]},
                "a-secret-of-a-log-driver": {"logConfiguration": {"secretOptions": [{"name": "A", "valueFrom": "a"}]}},
                "an-environment-file": {"environmentFiles": [{"value": "arn", "type": "s3"}]},
                "awslogs": {"logConfiguration": {"logDriver": "awslogs"}},
                "a-configuration-of-firelens-in-s3": {
                    "firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "s3"}}
                },
            }.items()
        ),
        pytest.param(
            {"executionRoleArn": "a", "containerDefinitions": [{"image": "i"}]},
            {"containerOverrides": [{"name": "c", "environmentFiles": [{"value": "arn", "type": "s3"}]}]},
            {"execution": "a"},
            id="the-execution-role-for-an-environment-file-of-an-override",
        ),
    ],
)
def test_roles_that_a_task_cannot_start_without(
    definition: dict[str, Any], overrides: dict[str, Any], needed: dict[str, str]
) -> None:
    assert needed_roles(definition, overrides) == needed


def test_a_task_without_a_role_asks_for_nothing() -> None:
    machine = running(Cloud())
    machine.settle(2 * HOUR)
    assert machine.asked == []


def test_what_is_lost_is_asked_for_again_after_gaps_that_grow() -> None:
    machine = connected()
    machine.lose = lambda message: isinstance(message, GetCredentials)
    machine.deliver(machine.cloud.run(1))
    at = [machine.now]
    while machine.now < 1000:
        machine.settle(10)
        at += [machine.now] * (len(machine.asked) - len(at))
    assert [later - earlier for earlier, later in pairwise(at)] == [10, 20, 40, 80, 160, 300, 300]


def test_credentials_are_renewed_long_before_they_expire_in_one_request_for_all_tasks() -> None:
    machine = running(tasks=3)
    before = len(machine.asked)
    machine.settle(HOUR)
    assert [wanted(each) for each in machine.asked[before:]] == [{(1, "task"), (2, "task"), (3, "task")}]
    held = machine.held.get(task_id(1), "task")
    assert held is not None
    assert held.expiration > START + timedelta(seconds=machine.now + HOUR / 4)


def test_tasks_that_started_at_different_times_share_a_renewal() -> None:
    machine = running()
    machine.settle(500)
    machine.deliver(machine.cloud.run(2))
    machine.settle(5)
    before = len(machine.asked)
    machine.settle(HOUR)
    assert wanted(machine.asked[before]) == {(1, "task"), (2, "task")}


def test_thousands_of_tasks_are_asked_for_in_pages() -> None:
    machine = connected()
    commands = machine.cloud.run(1)
    lines = tuple(commands.tasks[0].model_copy(update={"task_id": task_id(number)}) for number in range(1, 451))
    machine.take(MessageReceived(commands.model_copy(update={"tasks": lines})))
    assert [len(each.wanted) for each in machine.asked] == [200, 200, 50]
    assert len({each for request in machine.asked for each in wanted(request)}) == 450


def test_after_an_absence_they_are_asked_for_before_anything_was_answered() -> None:
    machine = running()
    machine.disconnect()
    machine.settle(HOUR)
    before = len(machine.asked)
    machine.connect()
    assert len(machine.asked) == before + 1
    machine.settle(5)
    held = machine.held.get(task_id(1), "task")
    assert held is not None
    assert held.expiration > START + timedelta(seconds=machine.now)


def test_a_restart_in_place_does_not_wait_for_credentials() -> None:
    machine = running(restart="offline")
    machine.disconnect()
    machine.settle(2 * HOUR)
    machine.take(ContainerChanged(machine.runtime.end(APP, 3)))
    machine.settle(5)
    assert machine.runtime.containers[APP].condition is Condition.RUNNING


def test_what_is_refused_is_said_and_asked_for_again_a_minute_later() -> None:
    machine = connected(Cloud(definition=ROLE, refuses_credentials="AccessDenied: no trust"))
    machine.deliver(machine.cloud.run(1))
    machine.settle(10)
    assert reason(machine) == f"Waiting for credentials of the task role {TASK_ROLE}: AccessDenied: no trust"
    assert len(machine.asked) == 1
    machine.cloud.refuses_credentials = None
    machine.settle(60)
    assert machine.cloud.tasks[task_id(1)].last_status is RUNNING
    assert reason(machine) is None


def test_a_refusal_leaves_what_is_held() -> None:
    machine = running()
    machine.cloud.refuses_credentials = "AccessDenied: no trust any more"
    machine.settle(0.7 * HOUR)
    assert machine.state.credentials[RoleRef(task_id(1), "task")].refusal == "AccessDenied: no trust any more"
    assert machine.held.get(task_id(1), "task") is not None
    assert machine.cloud.tasks[task_id(1)].last_status is RUNNING


def test_what_has_expired_starts_nothing() -> None:
    """A container that comes late, since it waits for another one, on a machine that was cut off meanwhile."""
    app = {**DEFINITION["containerDefinitions"][0], "dependsOn": [{"containerName": "first", "condition": "SUCCESS"}]}
    definition = {**ROLE, "containerDefinitions": [app, {"name": "first", "image": "i", "essential": False}]}
    machine = connected(Cloud(definition=definition))
    machine.deliver(machine.cloud.run(1))
    machine.settle(5)
    machine.disconnect()
    machine.settle(2 * HOUR)
    machine.take(ContainerChanged(machine.runtime.end(ContainerRef(task_id(1), "first"), 0)))
    machine.settle(5)
    assert APP not in machine.runtime.containers
    machine.connect()
    machine.settle(5)
    assert machine.runtime.containers[APP].condition is Condition.RUNNING


def test_they_are_dropped_at_the_tasks_end_and_so_is_what_comes_later() -> None:
    machine = running()
    late = machine.cloud.answer(machine.asked[-1])
    machine.deliver(machine.cloud.stop(1))
    machine.settle(10)
    assert machine.cloud.tasks[task_id(1)].last_status is STOPPED
    assert machine.held.get(task_id(1), "task") is None
    for message in late:
        machine.deliver(message)
    assert machine.held.get(task_id(1), "task") is None
    assert machine.state.credentials == {}


def test_a_stopping_task_still_has_its_role() -> None:
    machine = running()
    machine.runtime.obedient = False
    machine.deliver(machine.cloud.stop(1))
    machine.settle(1)
    assert machine.held.get(task_id(1), "task") is not None


def test_an_agent_that_starts_holds_none_and_asks_for_those_of_what_runs() -> None:
    machine = running()
    before = len(machine.asked)
    machine.disconnect()
    machine.boot()
    assert machine.held.get(task_id(1), "task") is None
    machine.connect()
    machine.settle(5)
    assert wanted(machine.asked[before]) == {(1, "task")}
    assert machine.held.get(task_id(1), "task") is not None


@pytest.mark.parametrize("years", [-60, 10])
def test_a_clock_that_is_not_set_neither_asks_all_the_time_nor_never(years: int) -> None:
    cloud = Cloud(definition=ROLE)
    machine = running(cloud)
    shift = timedelta(days=365 * years)
    before = len(machine.asked)
    held = machine.held.get(task_id(1), "task")
    assert held is not None
    machine.take(CredentialsReceived(((RoleRef(task_id(1), "task"), held.expiration + shift),), jitter=1.0))
    machine.settle(HOUR)
    assert 1 <= len(machine.asked) - before <= 8


def test_no_value_reaches_the_state_or_the_disk(tmp_path: Path) -> None:
    given = RoleCredentials(
        task_id=task_id(1),
        role="task",
        role_arn=TASK_ROLE,
        access_key_id="ASIAVISIBLE",
        secret_access_key="very-secret",
        session_token="very-secret-too",
        expiration=START + timedelta(hours=1),
    )
    held = HeldCredentials()
    event = held.receive(TaskCredentials(request_id="r", credentials=(given,)), jitter=0.0)
    assert event == CredentialsReceived(((RoleRef(task_id(1), "task"), START + timedelta(hours=1)),), (), 0.0)
    assert "very-secret" not in repr(given)
    assert held.get(task_id(1), "task") == given
    store = Store(tmp_path / "state.sqlite")
    state = replace(State(newest_version=1), credentials={RoleRef(task_id(1), "task"): Credentials(1.0, 1.0)})
    store.save(State(), state, ClockReading(0.0, 0.0, 0.0, "boot"))
    assert store.load()[0] == State(newest_version=1)
    store.close()
