"""Whether a task counts: task, its instance's connection, tag, now."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from control_plane.domain.scheduling.standing import Connection, Standing, standing
from control_plane.domain.task import Awaiting
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from unit.control_plane.builders import NOW, a_task

HERE = Connection(connected=True)
STOPPING: dict[str, Any] = {"desired_status": DesiredStatus.STOPPED}
REPLACED: dict[str, Any] = {"disconnect": "replace-after=10m"}
LIMITED: dict[str, Any] = {"disconnect": "stop-after=10m", "stop_timeout": 60}
UNHEARD: dict[str, Any] = {"awaiting": Awaiting.START, "awaiting_since": NOW, "last_status": TaskStatus.PENDING}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def away(seconds: float, *, session_ended: float | None = None) -> Connection:
    """Since so many seconds; its session has ended by a lifecycle event as long ago, or not at all."""
    return Connection(False, ago(seconds), None if session_ended is None else ago(session_ended))


COUNTS, GONE = Standing(counts=True), Standing(counts=False)
COUNTS_AWAY, MISSED = Standing(counts=True, away=True), Standing(counts=False, away=True)


@pytest.mark.parametrize(
    ("members", "connection", "expected"),
    [
        pytest.param({}, HERE, COUNTS, id="connected"),
        pytest.param(STOPPING, HERE, GONE, id="told-to-stop"),
        pytest.param(UNHEARD, HERE, COUNTS, id="on-its-way-to-a-machine-that-is-there"),
        pytest.param({}, away(1e6), COUNTS_AWAY, id="keep-counts-for-ever"),
        pytest.param(STOPPING, away(1), MISSED, id="told-to-stop-and-away-blocks-nothing"),
        pytest.param(REPLACED, away(599), Standing(True, away=True, until=later(1)), id="not-yet-replaced"),
        pytest.param(REPLACED, away(600), MISSED, id="replaced"),
        pytest.param({**REPLACED, **STOPPING}, away(1), MISSED, id="told-to-stop-is-not-waited-for"),
        pytest.param(LIMITED, HERE, COUNTS, id="stop-after-connected"),
        pytest.param({**LIMITED, **STOPPING}, HERE, COUNTS, id="stop-after-counts-until-it-has-stopped"),
        pytest.param(LIMITED, away(1e6), COUNTS_AWAY, id="no-answer-never-starts-the-clock"),
        pytest.param(
            LIMITED,
            away(1e6, session_ended=689),
            Standing(True, away=True, until=later(1)),
            id="its-machine-may-run-it",
        ),
        pytest.param(
            LIMITED, away(690, session_ended=690), Standing(False, away=True, given_up=True), id="must-have-stopped"
        ),
        pytest.param({**LIMITED, **STOPPING}, away(690, session_ended=690), MISSED, id="told-to-stop-and-must-have"),
        pytest.param(
            {**LIMITED, **STOPPING},
            away(100, session_ended=100),
            Standing(True, away=True, until=later(590)),
            id="told-to-stop-but-may-run",
        ),
    ],
)
def test_standing(members: dict[str, Any], connection: Connection, expected: Standing) -> None:
    task = a_task(**{"last_status": TaskStatus.RUNNING, **members})
    assert standing(task, connection, NOW) == expected


def test_a_start_that_nobody_heard_counts_for_a_minute() -> None:
    task = a_task(**UNHEARD)
    assert standing(task, away(5), later(59)) == Standing(True, away=True, until=later(60))
    assert standing(task, away(5), later(60)) == Standing(False, away=True, given_up=True)


def test_an_adopted_task_runs_whether_its_machine_has_heard_so_or_not() -> None:
    task = a_task(**{**UNHEARD, "last_status": TaskStatus.RUNNING})
    assert standing(task, away(5), later(3600)) == COUNTS_AWAY


def test_a_stop_after_task_whose_start_nobody_heard_may_run_all_the_same() -> None:
    task = a_task(**UNHEARD, **LIMITED)
    assert standing(task, away(5), later(3600)) == COUNTS_AWAY


@pytest.mark.parametrize("members", [REPLACED, LIMITED])
def test_a_delay_comes_on_top_and_none_is_for_ever(members: dict[str, Any]) -> None:
    task = a_task(last_status=TaskStatus.RUNNING, **members)
    gone = away(700, session_ended=700)
    assert not standing(task, gone, NOW).counts
    assert standing(task, gone, NOW, delay=timedelta(minutes=5)).counts
    assert standing(task, gone, later(1e6), delay=None) == COUNTS_AWAY
    just_gone = away(1, session_ended=1)
    held = standing(task, just_gone, NOW, delay=None)
    assert (held.counts, held.until) == (True, standing(task, just_gone, NOW).until)
