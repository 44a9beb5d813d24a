"""What `ecs-anywhere why` shows."""

from typing import Any

import pytest
from rich.console import Console

from ecs_anywhere.why import render

SHORT = {
    "placeable": False,
    "instances": 3,
    "refusals": [
        {"reason": "RESOURCE:MEMORY", "count": 2, "containerInstances": ["a1", "a2"]},
        {"reason": "AGENT", "count": 1, "containerInstances": ["a3"]},
    ],
    "closest": {
        "containerInstance": "a1",
        "reasons": ["RESOURCE:MEMORY"],
        "lacks": ["memory: wants 200 MiB, has 50 left"],
    },
}
SERVICE: dict[str, Any] = {
    "kind": "service",
    "service": {
        "serviceArn": "arn:aws:ecs:eu-west-1:123456789012:service/default/api",
        "desiredCount": 2,
        "runningCount": 1,
        "pendingCount": 0,
        "rolloutState": "IN_PROGRESS",
        "waitingSince": "2026-01-01T00:00:00+00:00",
        "notBefore": None,
        "refusal": None,
    },
    "placement": SHORT,
    "events": [{"createdAt": "2026-01-01T00:00:00+00:00", "message": "(service api) was unable [to place] a task"}],
}
EVENT = {
    "kind": "event",
    "event": {"requestId": "e", "waitingSince": "T0", "waitsUntil": "T1", "placedCount": 4},
    "placement": {"placeable": True, "containerInstance": "a1"},
}
TASK = {
    "kind": "task",
    "task": {
        "taskArn": "arn:task",
        "lastStatus": "STOPPED",
        "desiredStatus": "STOPPED",
        "containerInstanceArn": "arn:instance",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "containers": [{"name": "main", "lastStatus": "STOPPED", "exitCode": 137}],
    },
}


def shown(answer: dict[str, Any]) -> list[str]:
    console = Console(width=100, highlight=False)
    with console.capture() as captured:
        for each in render(answer):
            console.print(each, soft_wrap=isinstance(each, str))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_service_that_waits() -> None:
    assert shown(SERVICE) == [
        "arn:aws:ecs:eu-west-1:123456789012:service/default/api: 2 desired, 1 running, 0 pending; IN_PROGRESS",
        "It has waited for capacity since 2026-01-01T00:00:00+00:00.",
        "",
        "None of 3 container instances can take one task more:",
        "REASON           INSTANCES  SUCH AS",
        "RESOURCE:MEMORY          2  a1",
        "                            a2",
        "AGENT                    1  a3",
        "The closest, a1:",
        "  memory: wants 200 MiB, has 50 left",
        "",
        "2026-01-01T00:00:00+00:00  (service api) was unable [to place] a task",
    ]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        pytest.param(EVENT, "Container instance a1 could take one task more now.", id="an-event-that-could-run"),
        pytest.param(EVENT, "and waits until T1. 4 of its tasks have been started.", id="an-event-s-time"),
        pytest.param(
            {**SERVICE, "service": {**SERVICE["service"], "refusal": "ECS was unable to assume the role 'r'"}},
            "No task of it can be launched: ECS was unable to assume the role 'r'",
            id="a-role-that-cannot-be-assumed",
        ),
        pytest.param(TASK, "EssentialContainerExited: Essential container in task exited", id="why-a-task-stopped"),
        pytest.param(TASK, "main       STOPPED  137        -", id="its-containers"),
    ],
)
def test_a_line(answer: dict[str, Any], line: str) -> None:
    assert line in shown(answer)
