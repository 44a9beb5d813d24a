"""A command in a container of Docker's, over the Engine's exec API.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Exec
"""

import http
import http.client
import json
import logging
import os
import queue
import signal
import socket
import threading
import time
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError, EngineUnreachableError, find_engine
from ecs_anywhere_agent.streams.session import InputTaken, SourceEnded, Written
from ecs_anywhere_agent.streams.source import Emit
from ecs_protocol.streams import MAX_CHUNK_BYTES, TerminalSize

_log = logging.getLogger(__name__)

_NOTES = "docker-exec"
_GRACE_SECONDS = 1.0
"""Between asking a command to end and killing it."""
_DYING_SECONDS = 5.0
_RESIZES = 10


class _ExecEngine(Engine):
    """The calls of the Engine for exec. Each may raise EngineUnreachableError or EngineError."""

    def create_exec(self, container: str, argv: list[str], terminal: TerminalSize | None = None) -> str:
        """Engines before 23.0 ignore the size, and are told it once the command runs."""
        streams = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
        size = {"ConsoleSize": [terminal.rows, terminal.columns]} if terminal else {}
        config = {**streams, "Tty": terminal is not None, "Cmd": argv, **size}
        return str(self._call("POST", f"/containers/{container}/exec", body=config)["Id"])

    def start_exec(self, exec_id: str, *, tty: bool) -> tuple[http.client.HTTPConnection, BufferedReader]:
        """The connection, which carries stdin from now on, and what comes over it."""
        connection = self._connect(None)
        headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
        try:
            connection.request("POST", f"/exec/{exec_id}/start", json.dumps({"Detach": False, "Tty": tty}), headers)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise EngineError(answer.status, answer.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            self._release(connection)
            raise EngineUnreachableError(f"{self.socket_path}: {error!r}") from error
        except EngineError:
            self._release(connection)
            raise
        return connection, answer.fp

    def resize_exec(self, exec_id: str, terminal: TerminalSize) -> None:
        self._call("POST", f"/exec/{exec_id}/resize", {"h": str(terminal.rows), "w": str(terminal.columns)})

    def inspect_exec(self, exec_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", f"/exec/{exec_id}/json")
        return found


class _Running(NamedTuple):
    """A command that was started."""

    engine: _ExecEngine
    exec_id: str
    link: socket.socket
    """Its stdin."""


class DockerExec:
    """See the module. What runs is noted in the data directory, for an agent that is killed ends nothing."""

    def __init__(self, data_dir: Path, container: str, argv: list[str]) -> None:
        self._notes = data_dir / _NOTES
        self._container = container
        self._argv = argv
        self._commands: queue.SimpleQueue[tuple[int, bytes, bool] | TerminalSize | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._ending = False

    def begin(self, terminal: TerminalSize | None, emit: Emit) -> None:
        threading.Thread(target=self._run, args=(terminal, emit), name="docker-exec", daemon=True).start()

    def give(self, number: int, content: bytes, *, end: bool) -> None:
        self._commands.put((number, content, end))

    def resize(self, terminal: TerminalSize) -> None:
        self._commands.put(terminal)

    def end(self) -> None:
        """On a thread of its own: that of the input may be waiting for a command that takes none."""
        with self._lock:
            if self._ending:
                return
            self._ending = True
            running = self._running
        if running is not None:
            threading.Thread(target=self._finish, args=(running,), name="docker-exec-end", daemon=True).start()

    def _run(self, terminal: TerminalSize | None, emit: Emit) -> None:
        try:
            engine = _ExecEngine(find_engine().socket_path)
            exec_id = engine.create_exec(self._container, self._argv, terminal)
            self._notes.mkdir(mode=0o700, exist_ok=True)
            (self._notes / exec_id).touch()
            connection, output = engine.start_exec(exec_id, tty=terminal is not None)
        except (EngineUnreachableError, EngineError, OSError) as error:
            emit(SourceEnded(reason=f"Docker does not run the command: {error}"))
            return
        running = _Running(engine, exec_id, connection.sock)
        with self._lock:
            self._running = running
            ending = self._ending
        if ending:
            self._finish(running)
        if terminal is not None:
            self.resize(terminal)
        threading.Thread(target=self._obey, args=(running, emit), name="docker-exec-input", daemon=True).start()
        with suppress(OSError, ValueError):
            _read(output, emit, tty=terminal is not None)
        outcome = self._outcome(running)
        if outcome.exit_code is not None:
            (self._notes / exec_id).unlink(missing_ok=True)
        with self._lock:
            self._running = None
        self._commands.put(None)
        emit(outcome)
        engine.close()
        connection.close()

    def _outcome(self, running: _Running) -> SourceEnded:
        """The Engine closes the output a moment before it knows the exit code. A command that closes its own is ended,
        for nobody can see it any more."""
        try:
            code = _exit_code(running)
            if code is None:
                self._finish(running)
                code = _exit_code(running)
        except (EngineUnreachableError, EngineError) as error:
            return SourceEnded(reason=f"Docker does not say how the command ended: {error}")
        if code is None:
            return SourceEnded(reason="the command has closed its output, and cannot be ended")
        return SourceEnded(exit_code=code)

    def _obey(self, running: _Running, emit: Emit) -> None:
        while (command := self._commands.get()) is not None:
            try:
                if isinstance(command, TerminalSize):
                    _resize(running, command)
                    continue
                number, content, end = command
                running.link.sendall(content)
                if end:
                    running.link.shutdown(socket.SHUT_WR)
                emit(InputTaken(number))
            except (OSError, EngineUnreachableError, EngineError):
                continue  # it has ended, which its output tells

    def _finish(self, running: _Running) -> None:
        try:
            _end_processes(running.engine, running.exec_id)
        except (OSError, EngineUnreachableError, EngineError, psutil.Error) as error:
            _log.warning("a command that an operator ran in container %s goes on: %s", self._container[:12], error)
        with suppress(OSError):
            running.link.shutdown(socket.SHUT_RDWR)


def _resize(running: _Running, terminal: TerminalSize) -> None:
    """A command that was started a moment ago may have no terminal yet. Docker's own client tries ten times as well."""
    for attempt in range(_RESIZES):
        try:
            running.engine.resize_exec(running.exec_id, terminal)
        except EngineError:
            time.sleep(0.01 * (attempt + 1))
        else:
            return


def _exit_code(running: _Running) -> int | None:
    """None: it does not end in time."""
    deadline = time.monotonic() + _DYING_SECONDS
    while time.monotonic() < deadline:
        found = running.engine.inspect_exec(running.exec_id)
        if not found["Running"]:
            return int(found["ExitCode"])
        time.sleep(0.02)
    return None


def end_leftovers(data_dir: Path) -> None:
    """What an agent of this data directory ran for operators and, being killed, did not end."""
    for note in sorted((data_dir / _NOTES).glob("*")):
        try:
            engine = _ExecEngine(find_engine().socket_path)
            with suppress(EngineError):  # its container is gone
                _end_processes(engine, note.name)
            note.unlink(missing_ok=True)
        except (OSError, EngineUnreachableError, psutil.Error) as error:
            _log.warning("a command that an operator ran before this agent began may go on: %s", error)


def _read(output: BufferedReader, emit: Emit, *, tty: bool) -> None:
    """A terminal's output comes as it is; else in frames that name stdout or stderr."""
    if tty:
        while content := output.read1(MAX_CHUNK_BYTES):
            emit(Written(content))
        return
    while len(header := output.read(8)) == 8:
        left = int.from_bytes(header[4:], "big")
        while left and (content := output.read(min(left, MAX_CHUNK_BYTES))):
            left -= len(content)
            emit(Written(content, header[0] == 2))


def _end_processes(engine: _ExecEngine, exec_id: str) -> None:
    """Docker ends no command: it is signalled from here, with all that it has started in its session or below it."""
    found = _begun(engine, exec_id)
    if not found["Running"]:
        return
    if not _belongs_to(found["Pid"], found["ContainerID"]):
        raise EngineError(500, f"process {found['Pid']} cannot be seen from here")
    members = _members(found["Pid"])
    try:
        for number in (signal.SIGHUP, signal.SIGTERM):
            _signal(members, number)
        _, left = psutil.wait_procs(members, timeout=_GRACE_SECONDS)
        _signal([*left, *_members(found["Pid"])], signal.SIGKILL)
    except psutil.AccessDenied:
        _kill_from_inside(engine, exec_id, found)


def _begun(engine: _ExecEngine, exec_id: str) -> dict[str, Any]:
    """The Engine says that a command runs a moment before it knows its pid."""
    deadline = time.monotonic() + _DYING_SECONDS
    while (found := engine.inspect_exec(exec_id))["Running"] and not found["Pid"]:
        if time.monotonic() > deadline:
            raise EngineError(500, "the Engine does not say which process it is")
        time.sleep(0.02)
    return found


def _kill_from_inside(engine: _ExecEngine, exec_id: str, found: dict[str, Any]) -> None:
    """An agent that is not root may signal nothing of root's, but run what may, if the image has it."""
    status = Path(f"/proc/{found['Pid']}/status").read_text()
    inside = next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:"))
    killing = engine.create_exec(found["ContainerID"], ["kill", "-9", f"-{inside}"])
    connection, output = engine.start_exec(killing, tty=False)
    output.read()
    connection.close()
    if engine.inspect_exec(exec_id)["Running"]:
        raise EngineError(500, "this agent is not root, and the image has no kill command")


def _belongs_to(pid: int, container: str) -> bool:
    """A pid that the Engine gives is one of its own machine: it is ours, too, if the container's group is there."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _members(leader: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(leader)
        below = {process.pid: process for process in (first, *first.children(recursive=True))}
        for process in psutil.process_iter():
            with suppress(OSError):
                if os.getsid(process.pid) == leader:
                    below.setdefault(process.pid, process)
        return list(below.values())
    return []


def _signal(members: list[psutil.Process], number: signal.Signals) -> None:
    for process in members:
        with suppress(psutil.NoSuchProcess):  # psutil looks whether the pid is still the same process
            process.send_signal(number)
