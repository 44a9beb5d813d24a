"""The streams of this machine: opened by the control plane, each on a thread of its own, ended with the connection."""

import logging
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from ecs_anywhere_agent.core.values import Container, Phase, Task
from ecs_anywhere_agent.runtime import process_files
from ecs_anywhere_agent.streams import session as streaming
from ecs_anywhere_agent.streams.inbox import Inbox
from ecs_anywhere_agent.streams.pace import Pace
from ecs_anywhere_agent.streams.process_exec import ProcessExec
from ecs_anywhere_agent.streams.source import Source, SourceError
from ecs_protocol.messages import OpenExec, OpenLogs
from ecs_protocol.names import stream_topic
from ecs_protocol.streams import MAX_STREAMS, TO_MACHINE

_log = logging.getLogger(__name__)

_REMEMBERED = 1000
"""Session ids: a message that comes twice opens one stream."""
_LOOK_SECONDS = 1.0
"""How often it is looked whether the container of a command still runs."""
_CLOSING_SECONDS = 5.0

OpenStream = OpenLogs | OpenExec


class Link(Protocol):
    """The connection, whatever it is now."""

    def subscribe(self, topic: str) -> None: ...

    def unsubscribe(self, topic: str) -> None: ...

    def publish(self, topic: str, payload: str) -> None: ...


class OpenStreams:
    """Any thread may call it; it never waits for a container."""

    def __init__(self, data_dir: Path, commands_topic: str, task_of: Callable[[str], Task | None]) -> None:
        """`task_of`: the machine's own task of that id, as the agent knows it now."""
        self._data_dir = data_dir
        self._commands_topic = commands_topic
        self._task_of = task_of
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._pace = Pace()
        threading.Thread(target=_end_leftovers, args=(data_dir,), name="stream-leftovers", daemon=True).start()

    def open(self, wanted: OpenStream, link: Link) -> None:
        """A stream whose id was used is not opened again."""
        with self._lock:
            if wanted.session_id in self._seen:
                return
            self._seen.append(wanted.session_id)
            if len(self._streams) >= 2 * MAX_STREAMS:
                _log.warning("stream %s for task %s: ignored, too many are open", wanted.session_id, wanted.task_id)
                return
            topic = stream_topic(self._commands_topic, wanted.session_id)
            stream = _Stream(topic, wanted.seconds, link, self._pace, self._closed)
            try:
                if len(self._streams) >= MAX_STREAMS:
                    raise SourceError(f"its machine has {MAX_STREAMS} streams already: end one of them")
                stream.serve(*self._source(wanted))
            except SourceError as refusal:
                _log.warning("stream %s for task %s: refused, %s", wanted.session_id, wanted.task_id, refusal)
                stream.refuse(str(refusal))
            self._streams[topic] = stream
            stream.start()

    def received(self, topic: str, payload: bytes) -> bool:
        """From an operator. False: the topic is none of a stream's."""
        with self._lock:
            stream = self._streams.get(topic.removesuffix("/in"))
        if stream is None:
            return "/streams/" in topic
        try:
            stream.inbox.put(TO_MACHINE.validate_json(payload))
        except ValidationError as error:
            # Without what it holds, which may be what somebody has typed.
            problems = error.errors(include_input=False, include_url=False)
            _log.warning("ignored what this agent does not understand in %s: %s", topic, problems)
        return True

    def cut(self, reason: str) -> None:
        """End all of them; what they ran is ended, too."""
        with self._lock:
            streams = list(self._streams.values())
        for stream in streams:
            stream.inbox.put(streaming.Cut(reason))

    def close(self) -> None:
        self.cut("the agent of its machine is ending")
        with self._lock:
            streams = list(self._streams.values())
        deadline = time.monotonic() + _CLOSING_SECONDS
        for stream in streams:
            stream.join(max(deadline - time.monotonic(), 0.0))

    def _closed(self, topic: str) -> None:
        with self._lock:
            self._streams.pop(topic, None)

    def _source(self, wanted: OpenStream) -> tuple[Source, Callable[[], bool]]:
        """What is streamed, and whether it is still there. Raises SourceError."""
        if isinstance(wanted, OpenLogs):
            _log.info("stream %s: what task %s has written", wanted.session_id, wanted.task_id)
            from ecs_anywhere_agent.streams.log_source import LogSource  # noqa: PLC0415 - a MiB that few agents need

            return LogSource(self._data_dir, wanted), lambda: True
        task = self._task_of(wanted.task_id)
        if task is None:
            raise SourceError("its machine has no such task")
        if task.command is None:
            raise SourceError("its machine found it running, and does not know whether execute command is enabled")
        if not task.command.enable_execute_command:
            raise SourceError("execute command was not enabled when the task was run")
        container = _running(task, wanted.container)
        argv = _words(wanted.command)
        _log.info("stream %s: a command in container %s of task %s", wanted.session_id, container.name, wanted.task_id)

        def runs() -> bool:
            now = self._task_of(wanted.task_id)
            return now is not None and any(
                (each.name, each.run, each.phase) == (container.name, container.run, Phase.RUNNING)
                for each in now.containers
            )

        directory = self._data_dir / "containers" / wanted.task_id / container.name
        if (directory / process_files.SPEC).exists():
            return ProcessExec(directory, argv), runs
        from ecs_anywhere_agent.streams.docker_exec import DockerExec  # noqa: PLC0415 - only where there is Docker

        return DockerExec(self._data_dir, container.runtime_id or "", argv), runs


class _Stream:
    """One stream, and the thread that takes it in."""

    def __init__(self, topic: str, seconds: float, link: Link, pace: Pace, closed: Callable[[str], None]) -> None:
        self.inbox: Inbox[streaming.Event] = Inbox()
        self._topic = topic
        self._link = link
        self._pace = pace
        self._closed = closed
        self._session = streaming.Session(opened_at=time.monotonic(), lasts=seconds)
        self._source: Source | None = None
        self._there: Callable[[], bool] = lambda: True
        self._look_at = 0.0
        self._refusal: str | None = None
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def serve(self, source: Source, there: Callable[[], bool]) -> None:
        self._source, self._there = source, there

    def refuse(self, why: str) -> None:
        """The operator is told so."""
        self._refusal = why

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        self._link.subscribe(f"{self._topic}/in")
        try:
            while self._session.phase is not streaming.Phase.OVER:
                self._take(self._next())
        finally:
            if self._source is not None:
                self._source.end()
            self.inbox.close()
            self._link.unsubscribe(f"{self._topic}/in")
            self._closed(self._topic)

    def _next(self) -> streaming.Event:
        """What happens next, or that it is time to look."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            if self._session.phase is streaming.Phase.RUNNING and not self._there():
                return streaming.Cut("its container has ended")
        wait = min(streaming.due(self._session), self._look_at) - now
        return self.inbox.take(max(wait, 0.0), source=streaming.wants_output(self._session)) or streaming.Tick()

    def _take(self, event: streaming.Event) -> None:
        self._session, actions = streaming.step(self._session, event, time.monotonic())
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: streaming.Action) -> None:
        match action:
            case streaming.Send():
                payload = action.message.to_json()
                time.sleep(self._pace.wait(len(payload), time.monotonic()))
                self._link.publish(f"{self._topic}/out", payload)
            case streaming.Begin():
                self._begin(action)
            case streaming.Give() if self._source is not None:
                self._source.give(action.number, action.content, end=action.end)
            case streaming.SetSize() if self._source is not None:
                self._source.resize(action.terminal)
            case streaming.EndSource() if self._source is not None:
                self._source.end()

    def _begin(self, action: streaming.Begin) -> None:
        try:
            if self._source is None:
                raise SourceError(self._refusal or "it cannot be served")
            self._source.begin(action.terminal, self._emit)
        except SourceError as error:
            self._source = None
            self._emit(streaming.SourceEnded(reason=str(error)))

    def _emit(self, event: streaming.Written | streaming.InputTaken | streaming.SourceEnded) -> None:
        if isinstance(event, streaming.InputTaken):
            self.inbox.put(event)
        else:
            self.inbox.put_from_source(event)


def _end_leftovers(data_dir: Path) -> None:
    """What a killed agent ran in Docker for operators."""
    if (data_dir / "docker-exec").exists():
        from ecs_anywhere_agent.streams.docker_exec import end_leftovers  # noqa: PLC0415 - only where there is Docker

        end_leftovers(data_dir)


def _running(task: Task, name: str | None) -> Container:
    """Raises SourceError."""
    names = ", ".join(each.name for each in task.containers)
    chosen = [each for each in task.containers if name in {None, each.name}]
    if not chosen:
        raise SourceError(f"the task has no container {name!r}; there are: {names}")
    if len(chosen) > 1:
        raise SourceError(f"the task has several containers: name one of {names}")
    if chosen[0].phase is not Phase.RUNNING:
        raise SourceError(f"container {chosen[0].name} does not run")
    return chosen[0]


def _words(command: str) -> list[str]:
    """Raises SourceError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SourceError(f"the command is not well-formed: {error}") from error
    if not words:
        raise SourceError("the command is empty")
    return words
