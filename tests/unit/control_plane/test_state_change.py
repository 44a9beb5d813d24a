"""Reports of Amazon's agent, which carry no number: whatever comes twice or late changes nothing."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.state_change import StateChange, change_of_container, change_of_task, report_of
from control_plane.domain.task import Awaiting, Task, apply_report
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from world import START

S = TaskStatus
BINDING = {"bindIP": "0.0.0.0", "containerPort": 8080, "hostPort": 32768, "protocol": "tcp"}


def a_task(**members: Any) -> Task:
    return Task(
        task_id="0" * 32,
        cluster="default",
        instance_id="1" * 32,
        registration=1,
        task_definition="web:1",
        group="family:web",
        cpu=0,
        memory=64,
        created_at=START,
        updated_at=START,
        **members,
    )


def after(task: Task, *requests: dict[str, Any]) -> Task:
    for second, request in enumerate(requests, start=1):
        report = report_of(task, change_of_task(request))
        if report is not None:
            task = apply_report(task, report, START + timedelta(seconds=second))
    return task


def container(status: str, name: str = "main", **members: Any) -> dict[str, Any]:
    return {"containerName": name, "status": status, **members}


PULLED = {"status": "PENDING", "containers": [container("PENDING", imageDigest="sha256:1")], "pullStartedAt": START}
RUNNING = {"status": "RUNNING", "containers": [container("RUNNING", runtimeId="c0", networkBindings=[BINDING])]}
ONE_ENDS = {"status": "RUNNING", "containers": [container("RUNNING"), container("STOPPED", "side", exitCode=3)]}
STOPPED = {
    "status": "STOPPED",
    "containers": [container("STOPPED", exitCode=137, runtimeId="c0"), container("STOPPED", "side", exitCode=3)],
    "executionStoppedAt": START + timedelta(minutes=1),
}
HISTORY: list[dict[str, Any]] = [PULLED, RUNNING, ONE_ENDS, STOPPED]


def test_a_life() -> None:
    running = after(a_task(awaiting=Awaiting.START), PULLED, RUNNING)
    assert (running.last_status, running.awaiting, running.started_at) == (
        S.RUNNING,
        None,
        START + timedelta(seconds=2),
    )
    [main] = running.containers
    assert (main.runtime_id, main.image_digest, main.network_bindings[0].host_port) == ("c0", "sha256:1", 32768)
    ended = after(running, ONE_ENDS, STOPPED)
    assert (ended.last_status, ended.desired_status) == (S.STOPPED, DesiredStatus.STOPPED)
    assert (ended.stop_code, ended.stopped_reason) == (
        StopCode.ESSENTIAL_CONTAINER_EXITED,
        "Essential container in task exited",
    )
    assert {each.name: each.exit_code for each in ended.containers} == {"main": 137, "side": 3}
    assert ended.containers[0].image_digest == "sha256:1"
    assert ended.execution_stopped_at == START + timedelta(minutes=1)


@st.composite
def deliveries(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The reports in their order, and copies of each, once or more, at any later time."""
    delivered: list[dict[str, Any]] = []
    for position, report in enumerate(HISTORY):
        delivered += draw(st.lists(st.sampled_from(HISTORY[:position]), max_size=3)) if position else []
        delivered.append(report)
    return delivered + draw(st.lists(st.sampled_from(HISTORY), max_size=3))


def told(task: Task) -> dict[str, Any]:
    """All that is not when, or how often, it was written."""
    return task.model_dump(
        exclude={"version", "updated_at", "report_number", "started_at", "stopping_at", "stopped_at"}
    )


@given(delivered=deliveries())
def test_what_comes_twice_or_late_changes_nothing(delivered: list[dict[str, Any]]) -> None:
    assert told(after(a_task(), *delivered)) == told(after(a_task(), *HISTORY))


@given(delivered=st.permutations(HISTORY))
def test_in_any_order_a_task_only_moves_forward(delivered: list[dict[str, Any]]) -> None:
    seen = [after(a_task(), *delivered[:count]).last_status for count in range(len(delivered) + 1)]
    order = list(TaskStatus)
    assert seen == sorted(seen, key=order.index)


@pytest.mark.parametrize("report", HISTORY, ids=["pulled", "running", "one-ends", "stopped"])
def test_a_report_that_comes_again_is_not_written(report: dict[str, Any]) -> None:
    once = after(a_task(), report)
    assert report_of(once, change_of_task(report)) is None


def test_a_report_answers_a_start_even_if_it_says_nothing_new() -> None:
    waiting = a_task(awaiting=Awaiting.START)
    assert after(waiting, {"status": "PENDING"}).awaiting is None
    assert report_of(a_task(), change_of_task({"status": "PENDING"})) is None


def test_a_stop_is_answered_by_the_end_alone() -> None:
    stopping = a_task(
        last_status=S.RUNNING,
        started_at=START,
        desired_status=DesiredStatus.STOPPED,
        awaiting=Awaiting.STOP,
        stop_code=StopCode.USER_INITIATED,
        stopped_reason="enough",
    )
    assert after(stopping, RUNNING).awaiting is Awaiting.STOP
    ended = after(stopping, STOPPED)
    assert (ended.awaiting, ended.stop_code, ended.stopped_reason) == (None, StopCode.USER_INITIATED, "enough")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"status": "STOPPED"}, "Task failed to start"),
        ({"status": "STOPPED", "reason": "no disk"}, "Task failed to start: no disk"),
        (
            {"status": "STOPPED", "containers": [container("STOPPED", reason="CannotPullContainerError: no")]},
            "Task failed to start: CannotPullContainerError: no",
        ),
        ({"status": "STOPPED", "reason": "x" * 2000}, f"Task failed to start: {'x' * 2000}"[:1024]),
    ],
)
def test_a_task_that_never_ran_failed_to_start(request_: dict[str, Any], reason: str) -> None:
    ended = after(a_task(), request_)
    assert (ended.stop_code, ended.stopped_reason) == (StopCode.TASK_FAILED_TO_START, reason)


def test_a_report_of_a_container_leaves_the_task_where_it_is() -> None:
    change = change_of_container(container("STOPPED", exitCode=1))
    report = report_of(a_task(last_status=S.RUNNING, started_at=START), change)
    assert report is not None
    assert (report.last_status, report.containers[0].exit_code) == (S.RUNNING, 1)


@pytest.mark.parametrize(
    "request_",
    [
        {"status": "FLYING"},
        {"status": "RUNNING", "containers": [{"status": "RUNNING"}]},
        {"status": "RUNNING", "containers": [container("")]},
        {"status": "RUNNING", "containers": [container("UP")]},
        {"status": "RUNNING", "containers": [container("RUNNING", runtimeId="x" * 1025)]},
    ],
    ids=["no-such-status", "no-name", "no-status", "no-such-status-of-a-container", "too-long"],
)
def test_what_is_no_report(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterException):
        change_of_task(request_)


def test_what_is_too_long_or_of_another_kind_is_cut_and_left_out() -> None:
    ports = {"containerPortRange": "1-9", "hostPortRange": "1-9"}
    told = container("RUNNING", reason="x" * 2000, networkBindings=[BINDING] * 200 + [ports])
    [report] = StateChange.model_validate(change_of_task({"containers": [told]})).containers
    assert (len(report.reason or ""), len(report.network_bindings)) == (1024, 100)
