"""Messages of the control plane that are taken, and those that are refused whole."""

import pytest

from ecs_anywhere_agent.incoming import LARGEST_BYTES, RefusedMessageError, read_message
from ecs_protocol.messages import Probe, TaskCommands
from unit.agent.world import ARN, command, task_id

ELSEWHERE = f"arn:aws:ecs:us-east-1:000000000000:task/other/{task_id(1)}"


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Probe(), id="one-without-tasks"),
        pytest.param(TaskCommands(version=1, tasks=(command(1), command(2))), id="our-own-tasks"),
        pytest.param(TaskCommands(version=1, tasks=(command(1, "STOPPED"),)), id="to-stop-whatever-it-is"),
    ],
)
def test_what_is_taken(message: Probe | TaskCommands) -> None:
    assert read_message(message.to_json().encode(), ARN) == message


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        pytest.param(b"not JSON", "it cannot be read: the whole: json_invalid", id="no-json"),
        pytest.param(b"\xff\xfe", "it cannot be read: the whole: json_invalid", id="no-text"),
        pytest.param(b'{"type": "Nonsense"}', "it cannot be read: the whole: union_tag_invalid", id="of-no-type"),
        pytest.param(b'{"type": "TaskCommands"}', "it cannot be read: TaskCommands.version: missing", id="half-of-it"),
        pytest.param(b" " * (LARGEST_BYTES + 1), "it has 131073 bytes, more than 131072", id="too-large"),
        pytest.param(
            TaskCommands(version=1, tasks=(command(2), command(1, task_arn=ELSEWHERE))).to_json().encode(),
            f"task {task_id(1)} is for another cluster, account or region than this machine's",
            id="of-another-cluster",
        ),
        pytest.param(
            TaskCommands(version=1, tasks=(command(1, task_arn=ELSEWHERE.replace("other", "default")[:-1] + "2"),))
            .to_json()
            .encode(),
            f"task {task_id(1)} is for another cluster, account or region than this machine's",
            id="with-the-arn-of-another-task",
        ),
    ],
)
def test_what_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(RefusedMessageError) as refused:
        read_message(payload, ARN)
    assert str(refused.value) == why
