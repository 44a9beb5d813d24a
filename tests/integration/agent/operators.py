"""An operator of a machine's streams, without a broker between them."""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.core.events import ContainerSnapshot
from ecs_anywhere_agent.core.values import Container, Phase, Task
from ecs_anywhere_agent.streams.open_streams import OpenStreams
from ecs_protocol.messages import OpenExec, OpenLogs, TaskCommand
from ecs_protocol.names import stream_topic
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from ecs_protocol.streams import (
    FROM_MACHINE,
    STREAM_SECONDS,
    Acknowledge,
    Attach,
    Attached,
    Ended,
    Input,
    Output,
    TerminalSize,
    ToMachine,
)
from integration.agent.runtimes import TASK_ID

COMMANDS = "test/test-1/commands"
SESSION = "0" * 32
PATIENCE_SECONDS = 20.0


class Operator:
    """Says and hears what goes over one stream's topics."""

    def __init__(self, streams: OpenStreams, session_id: str) -> None:
        self.topic = stream_topic(COMMANDS, session_id)
        self._streams = streams
        self.heard: queue.Queue[Any] = queue.Queue()
        self.subscribed: list[str] = []
        self._inputs = 0
        self.stdout = b""
        self.stderr = b""

    # What the machine's link does.

    def subscribe(self, topic: str) -> None:
        self.subscribed.append(topic)

    def unsubscribe(self, topic: str) -> None:
        self.subscribed.remove(topic)

    def publish(self, topic: str, payload: str) -> None:
        assert topic == f"{self.topic}/out"
        self.heard.put(FROM_MACHINE.validate_json(payload))

    # What the operator does.

    def says(self, message: ToMachine) -> None:
        assert self._streams.received(f"{self.topic}/in", message.to_json().encode())

    def attach(self, terminal: TerminalSize | None = None) -> None:
        self.says(Attach(terminal=terminal))
        assert self.heard.get(timeout=PATIENCE_SECONDS) == Attached()

    def types(self, text: str, *, end: bool = False) -> None:
        self._inputs += 1
        self.says(Input(number=self._inputs, content=text.encode(), end=end))

    def ends(self) -> tuple[int | None, str | None]:
        """With which exit code, and why."""
        ended = self.hears()
        assert ended is not None
        return ended.exit_code, ended.reason

    def hears(self, until: Callable[[], bool] = lambda: False) -> Ended | None:
        """What comes, acknowledged, to the end or `until` something is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            message = self.heard.get(timeout=max(deadline - time.monotonic(), 0.01))
            if isinstance(message, Ended):
                return message
            if isinstance(message, Output):
                if message.to_stderr:
                    self.stderr += message.content
                else:
                    self.stdout += message.content
                self.says(Acknowledge(through=message.number))
        return None


class Streamed:
    """A machine's streams, and the one task that runs there."""

    def __init__(self, data_dir: Path, *snapshots: ContainerSnapshot, enabled: bool = True) -> None:
        self.task: Task | None = Task(
            TASK_ID,
            last_status=TaskStatus.RUNNING,
            command=TaskCommand(
                task_id=TASK_ID, desired_status=DesiredStatus.RUNNING, enable_execute_command=enabled or None
            ),
            containers=tuple(
                Container(each.ref.name, phase=Phase.RUNNING, runtime_id=each.runtime_id, run=each.run)
                for each in snapshots
            ),
        )
        self.streams = OpenStreams(data_dir, COMMANDS, lambda task_id: self.task if task_id == TASK_ID else None)

    def exec(self, command: str, *, session_id: str = SESSION, task_id: str = TASK_ID, **members: Any) -> Operator:
        wanted = OpenExec(session_id=session_id, task_id=task_id, seconds=STREAM_SECONDS, command=command, **members)
        operator = Operator(self.streams, session_id)
        self.streams.open(wanted, operator)
        return operator

    def logs(self, *, session_id: str = SESSION, task_id: str = TASK_ID, **members: Any) -> Operator:
        wanted = OpenLogs(session_id=session_id, task_id=task_id, seconds=STREAM_SECONDS, **members)
        operator = Operator(self.streams, session_id)
        self.streams.open(wanted, operator)
        return operator


@contextmanager
def streamed(data_dir: Path, *snapshots: ContainerSnapshot, enabled: bool = True) -> Iterator[Streamed]:
    machine = Streamed(data_dir, *snapshots, enabled=enabled)
    try:
        yield machine
    finally:
        machine.streams.close()
