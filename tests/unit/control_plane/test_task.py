"""What reports make of a task, whatever their order."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.task import Awaiting, Task, Verdict, apply_report, judge, request_stop
from ecs_protocol.messages import TaskReport
from ecs_protocol.statuses import SUCCESSORS, DesiredStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_report, a_task

S = TaskStatus


@pytest.mark.parametrize(
    ("stored", "reported", "verdict"),
    [
        pytest.param((1, 3), (1, 4), Verdict.ADVANCE, id="the-next-number-is-news"),
        pytest.param((1, 3), (1, 3), Verdict.LATE, id="a-repetition-is-late"),
        pytest.param((1, 3), (1, 2), Verdict.LATE, id="an-overtaken-report-is-late"),
        pytest.param((1, 9), (2, 1), Verdict.ADVANCE, id="a-new-epoch-begins-at-one"),
        pytest.param((2, 1), (1, 9), Verdict.LATE, id="an-old-epoch-is-late-whatever-its-number"),
    ],
)
def test_epoch_and_number_are_compared_as_a_pair(
    stored: tuple[int, int], reported: tuple[int, int], verdict: Verdict
) -> None:
    task = a_task(report_epoch=stored[0], report_number=stored[1])
    assert judge(task, a_report(task, reported[1], epoch=reported[0])) is verdict


def test_nothing_is_news_of_a_stopped_task() -> None:
    task = a_task(last_status=S.STOPPED)
    assert judge(task, a_report(task, 99, S.STOPPED, epoch=99)) is Verdict.LATE


def test_a_machine_that_runs_a_stopped_task_is_too_late() -> None:
    task = a_task(last_status=S.STOPPED, report_epoch=3, report_number=1)
    assert judge(task, a_report(task, 1, epoch=4)) is Verdict.TOO_LATE
    assert judge(task, a_report(task, 9, epoch=2)) is Verdict.LATE


def test_an_earlier_status_in_a_later_epoch_is_heard_and_moves_nothing() -> None:
    task = a_task(last_status=S.RUNNING, report_epoch=1, report_number=5)
    after = apply_report(task, a_report(task, 1, S.PENDING, epoch=2), NOW)
    assert (after.last_status, after.report_epoch, after.report_number) == (S.RUNNING, 2, 1)


@pytest.mark.parametrize(
    ("awaiting", "status", "left"),
    [
        pytest.param(Awaiting.START, S.PENDING, None, id="any-report-answers-a-start"),
        pytest.param(Awaiting.STOP, S.RUNNING, Awaiting.STOP, id="running-does-not-answer-a-stop"),
        pytest.param(Awaiting.STOP, S.STOPPING, None, id="stopping-answers-a-stop"),
    ],
)
def test_what_answers_a_command(awaiting: Awaiting, status: TaskStatus, left: Awaiting | None) -> None:
    task = a_task(awaiting=awaiting)
    assert apply_report(task, a_report(task, 1, status), NOW).awaiting is left


def test_the_first_reason_for_a_stop_stays() -> None:
    asked = request_stop(a_task(), StopCode.USER_INITIATED, "because", NOW)
    again = request_stop(asked, StopCode.SERVICE_SCHEDULER_INITIATED, "scaling", NOW + timedelta(seconds=1))
    report = a_report(
        again, 1, S.STOPPED, stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED, stopped_reason="container ended"
    )
    after = apply_report(again, report, NOW)
    assert (again, after.stop_code, after.stopped_reason) == (asked, StopCode.USER_INITIATED, "because")


def test_the_machine_says_why_if_nobody_asked() -> None:
    task = a_task(last_status=S.RUNNING)
    report = a_report(task, 1, S.STOPPED, stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED, stopped_reason="it ended")
    after = apply_report(task, report, NOW)
    assert (after.stop_code, after.stopped_reason, after.desired_status, after.stopped_at) == (
        StopCode.ESSENTIAL_CONTAINER_EXITED,
        "it ended",
        DesiredStatus.STOPPED,
        NOW,
    )


def fold(task: Task, reports: Sequence[TaskReport]) -> Task:
    for report in reports:
        if judge(task, report) is Verdict.ADVANCE:
            task = apply_report(task, report, NOW)
    return task


@st.composite
def histories(draw: st.DrawFn) -> list[TaskReport]:
    """What one machine truthfully says of one task, in order: statuses forward, numbers up, epochs now and then."""
    task, epoch, number, status = a_task(), 1, 0, S.PENDING
    reports = []
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.booleans()) and number:
            epoch, number = epoch + 1, 0
        number += 1
        onward = sorted(SUCCESSORS[status] | {status}) if status is not S.STOPPED else [S.STOPPED]
        status = draw(st.sampled_from(onward))
        reports.append(a_report(task, number, status, epoch=epoch))
    return reports


@given(histories(), st.data())
def test_any_interleaving_and_repetition_ends_as_delivery_in_order_does(
    history: list[TaskReport], data: st.DataObject
) -> None:
    delivered = data.draw(st.permutations(history + data.draw(st.lists(st.sampled_from(history), max_size=6))))
    in_order, shuffled = fold(a_task(), history), fold(a_task(), delivered)
    assert shuffled.last_status is in_order.last_status
    if in_order.last_status is not S.STOPPED:
        assert (shuffled.report_epoch, shuffled.report_number) == (in_order.report_epoch, in_order.report_number)


@given(histories(), st.data())
def test_a_status_never_moves_back(history: list[TaskReport], data: st.DataObject) -> None:
    task = a_task()
    for report in data.draw(st.permutations(history)):
        before = task
        if judge(task, report) is Verdict.ADVANCE:
            task = apply_report(task, report, NOW)
        assert task.last_status is before.last_status or task.last_status in SUCCESSORS[before.last_status]
