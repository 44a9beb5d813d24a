"""The pure parts of `status`, `stop` and `logs`."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from ecs_anywhere_agent.commands import status, stop
from ecs_anywhere_agent.commands.finding import find_task, short_ids
from ecs_anywhere_agent.commands.layout import columns, duration
from ecs_anywhere_agent.connection import Contact
from ecs_anywhere_agent.container_logs import Written
from ecs_anywhere_agent.core.events import (
    Connected,
    Disconnected,
    Event,
    MessageReceived,
    ReportAcknowledged,
    TimerFired,
)
from ecs_anywhere_agent.core.roles import Role
from ecs_anywhere_agent.core.values import Container, Orphan, Phase, State, Task
from ecs_anywhere_agent.overview import of_state
from ecs_anywhere_agent.runtime.process_log import start_of_last
from ecs_anywhere_agent.several_logs import by_line
from ecs_protocol.messages import Probe
from ecs_protocol.statuses import HealthStatus, TaskStatus
from unit.agent.world import command, registration, task_id

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
TASKS = {"abcdef" + "0" * 26: "web:1  RUNNING", "abcdef" + "1" * 26: "web:2  STOPPED", "fedcba" + "0" * 26: "db:7"}


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param("fedcba" + "0" * 26, id="the-whole-id"),
        pytest.param("fedcba", id="six-characters"),
        pytest.param("arn:aws:ecs:eu-west-1:1:task/default/fedcba" + "0" * 26, id="an-arn"),
    ],
)
def test_a_task_is_named_by(wanted: str) -> None:
    assert find_task(wanted, TASKS) == "fedcba" + "0" * 26


@pytest.mark.parametrize(
    ("wanted", "problem", "listed"),
    [
        pytest.param("fedcb", "too short", 3, id="five-characters-even-if-only-one-begins-so"),
        pytest.param("abcdef", "more than one", 2, id="two-begin-so"),
        pytest.param("abcdee", "no task", 3, id="none-begins-so"),
        pytest.param("", "no task", 3, id="nothing"),
        pytest.param("arn:aws:ecs:eu-west-1:1:task/default/", "no task", 3, id="an-arn-without-an-id"),
    ],
)
def test_what_names_no_task_is_told_which_there_are(wanted: str, problem: str, listed: int) -> None:
    with pytest.raises(click.ClickException, match=problem) as raised:
        find_task(wanted, TASKS)
    lines = raised.value.message.splitlines()
    assert lines[1] == "There are:"
    assert len(lines[2:]) == listed


def test_where_there_is_no_task_it_says_so() -> None:
    with pytest.raises(click.ClickException, match="There is none at all"):
        find_task("abcdef", {})


def test_short_ids_still_tell_the_tasks_apart() -> None:
    assert short_ids([task_id(1), task_id(2)]) == {task_id(1): task_id(1), task_id(2): task_id(2)}
    assert short_ids(["a" * 32, "b" * 32])["a" * 32] == "a" * 12
    assert short_ids([]) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (5399, "89 min"),
        (5400, "1 h"),
        (47 * 3600, "47 h"),
        (48 * 3600, "2 days"),
        (729 * 86400, "729 days"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_aligned_and_end_without_spaces() -> None:
    assert columns([("a", "b", "c"), ("long", "", "x"), ("", "y", "")]) == ["a     b  c", "long     x", "      y"]


@pytest.mark.parametrize(
    ("event", "contact"),
    [
        (Connected(session="s", registration=registration()), Contact(since=9, connected=True, last_exchange=2)),
        (Disconnected(), Contact(since=9, connected=False, last_exchange=2)),
        (MessageReceived(Probe()), Contact(since=1, connected=True, last_exchange=9)),
        (ReportAcknowledged(1), Contact(since=1, connected=True, last_exchange=9)),
        (TimerFired(), Contact(since=1, connected=True, last_exchange=2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_known_of_the_connection_after(event: Event, contact: Contact) -> None:
    assert Contact(since=1, connected=True, last_exchange=2).after(event, 9) == contact


def test_a_report_is_unsent_unless_nobody_would_take_it() -> None:
    task = Task(task_id=task_id(1), revision=2, acknowledged_revision=1)
    tasks = (
        task,
        replace(task, task_id=task_id(2), acknowledged_revision=2),
        replace(task, task_id=task_id(3), orphan=Orphan.UNKNOWN),
    )
    described = of_state(State(tasks={each.task_id: each for each in tasks}))
    assert described["unsentReports"] == 1
    assert [(each["reported"], each["orphan"]) for each in described["tasks"]] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def a_state() -> State:
    containers = (
        Container(name="main", phase=Phase.RUNNING, health=HealthStatus.HEALTHY),
        Container(name="sidecar", phase=Phase.STOPPED, exit_code=3),
    )
    running = Task(
        task_id="b" * 32,
        last_status=TaskStatus.RUNNING,
        task_definition="web:1",
        containers=containers,
        command=command(1, group="service:web"),
    )
    stopped = Task(task_id="a" * 32, last_status=TaskStatus.STOPPED, revision=1)
    return State(tasks={stopped.task_id: stopped, running.task_id: running})


def a_status(**members: Any) -> dict[str, Any]:
    return {
        "containerInstanceArn": "arn:instance",
        "cluster": "default",
        "agent": {
            "running": True,
            "version": "1.2.3",
            "processId": 42,
            "startedAt": (NOW - timedelta(hours=3)).isoformat(),
        },
        "connection": {
            "connected": True,
            "reconciled": True,
            "since": (NOW - timedelta(hours=2)).isoformat(),
            "lastExchangeAt": (NOW - timedelta(minutes=3)).isoformat(),
        },
        "bootId": "5" * 32,
        "certificate": {"notAfter": (NOW + timedelta(days=30)).isoformat()},
        **of_state(a_state()),
        **members,
    }


def text(described: dict[str, Any]) -> str:
    return "\n".join(status.lines(described, Path("/data"), NOW))


def test_status_is_laid_out_for_people() -> None:
    assert text(a_status()).splitlines() == [
        "Container instance  arn:instance",
        "Cluster             default",
        "Boot id             55555555555555555555555555555555",
        "Agent               version 1.2.3, process 42, started 3 h ago",
        "Connection          connected for 2 h; last exchange 3 min ago",
        "Certificate         ends 2030-01-31, in 30 days",
        "Unsent reports      of 1 task",
        "",
        "TASK          DEFINITION  DESIRED  LAST     REPORTED  CONTAINER  PHASE    EXIT CODE  HEALTH",
        "bbbbbbbbbbbb  web:1       RUNNING  RUNNING  yes       main       RUNNING  -          HEALTHY",
        "                                                      sidecar    STOPPED  3          UNKNOWN",
        "aaaaaaaaaaaa              RUNNING  STOPPED  not yet   -          -        -          -",
    ]


def test_status_says_for_which_credentials_a_task_waits() -> None:
    role = Role("task", "arn:aws:iam::1:role/app")
    waits = Task(task_id="b" * 32, task_definition="web:1", containers=(Container(name="main"),), roles=(role,))
    lines = text(a_status(**of_state(State(tasks={waits.task_id: waits})))).splitlines()
    assert lines[-1] == "bbbbbbbbbbbb: Waiting for credentials of the task role arn:aws:iam::1:role/app"


CONNECTION = a_status()["connection"]


@pytest.mark.parametrize(
    ("members", "code", "said"),
    [
        pytest.param({}, 0, "connected for 2 h", id="all-is-well"),
        pytest.param(
            {"connection": {**CONNECTION, "reconciled": False}}, 2, "WAITING for the control plane", id="not-reconciled"
        ),
        pytest.param(
            {"connection": {**CONNECTION, "connected": False, "reconciled": False, "lastExchangeAt": None}},
            2,
            "NOT CONNECTED for 2 h; no exchange yet",
            id="not-connected",
        ),
        pytest.param(
            {"connection": {**CONNECTION, "connected": False, "reconciled": False, "problem": "cannot connect to x"}},
            2,
            "last exchange 3 min ago\n                    cannot connect to x\nCertificate",
            id="why-it-is-not-connected",
        ),
        pytest.param(
            {"agent": {"running": False}, "connection": None},
            3,
            "Start it: ecs-anywhere-agent run --data-dir /data",
            id="not-running",
        ),
        pytest.param(
            {"certificate": {"notAfter": (NOW - timedelta(days=3)).isoformat()}},
            0,
            "ENDED 3 days ago: register this machine anew",
            id="the-certificate-has-ended",
        ),
        pytest.param({"certificate": None}, 0, "Certificate         cannot be read", id="no-certificate"),
        pytest.param({"tasks": [], "unsentReports": 0}, 0, "No tasks.", id="no-tasks"),
    ],
)
def test_status_says_how_it_stands(members: dict[str, Any], code: int, said: str) -> None:
    described = a_status(**members)
    assert said in text(described)
    assert status.exit_code(described) == code


@pytest.mark.parametrize(
    ("members", "was_stopped", "last"),
    [
        pytest.param({}, False, "Service web starts another task in its place once the control plane knows.", id="web"),
        pytest.param({"group": "family:web"}, False, "sidecar    3", id="of-no-service"),
        pytest.param({"group": None}, False, "If it is of a service, that starts another task in its place", id="?"),
        pytest.param({"orphan": True}, False, "The control plane does not know this task.", id="an-orphan"),
        pytest.param({}, True, "sidecar    3", id="it-was-stopped-already"),
    ],
)
def test_stop_says_how_the_task_ended_and_what_comes(members: dict[str, Any], was_stopped: bool, last: str) -> None:
    task = {**a_status()["tasks"][1], **members}
    lines = list(stop.lines(task, was_stopped=was_stopped))
    assert lines[0] == f"Task {'b' * 32} (web:1) {'was stopped already' if was_stopped else 'is stopped'}."
    assert lines[1:4] == ["CONTAINER  EXIT CODE", "main       -", "sidecar    3"]
    assert lines[-1].startswith(last)


def test_lines_of_several_containers_stay_whole() -> None:
    def pieces() -> Iterator[tuple[str, Written]]:
        yield "main", Written(False, b"one\ntw")
        yield "main", Written(True, b"oh")
        yield "db", Written(False, b"ready\n")
        yield "main", Written(False, b"o\n\nthr")
        yield "main", Written(True, b"!\n")

    assert list(by_line(pieces(), 4)) == [
        Written(False, b"main | one\n"),
        Written(False, b"db   | ready\n"),
        Written(False, b"main | two\n"),
        Written(False, b"main | \n"),
        Written(True, b"main | oh!\n"),
        Written(False, b"main | thr\n"),
    ]


@pytest.mark.parametrize(
    ("content", "lines", "last"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\nc\n", 3, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 9, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 0, b""),
        (b"\n\n\n", 1, b"\n"),
        (b"", 5, b""),
        (b"x" * 65535 + b"\n" + b"y" * 65535 + b"\n", 1, b"y" * 65535 + b"\n"),
        (b"x" * 65536 + b"\n" + b"y" * 65536 + b"\n", 1, b"y" * 65536 + b"\n"),
        (b"".join(b"%d\n" % number for number in range(100_000)), 2, b"99998\n99999\n"),
    ],
    ids=[
        "whole",
        "no-end",
        "just-all",
        "more-than-all",
        "none",
        "empty-lines",
        "empty",
        "block",
        "over-blocks",
        "long",
    ],
)
def test_the_last_lines(content: bytes, lines: int, last: bytes) -> None:
    assert content[start_of_last(lines, io.BytesIO(content)) :] == last
