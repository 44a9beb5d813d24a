"""A command beside the process of a process container: as its user, in its directory, environment and control group."""

import errno
import marshal
import os
import pty
import queue
import socket
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

from ecs_anywhere_agent.runtime import keeper, process_files
from ecs_anywhere_agent.streams.session import InputTaken, SourceEnded, Written
from ecs_anywhere_agent.streams.source import Emit, SourceError
from ecs_protocol.streams import MAX_CHUNK_BYTES, TerminalSize

_PROGRAM = Path(keeper.__file__).with_name("exec_keeper.py")
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
"""A shell's exit codes."""


class ProcessExec:
    """See the module."""

    def __init__(self, directory: Path, argv: list[str]) -> None:
        self._directory = directory
        self._argv = argv
        self._inputs: queue.SimpleQueue[tuple[int, bytes, bool] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._terminal: int | None = None
        """The agent's end of the terminal, while it is open."""
        self._ending = False

    def begin(self, terminal: TerminalSize | None, emit: Emit) -> None:
        order = marshal.dumps(self._order(terminal))
        ours, theirs = socket.socketpair()
        with ExitStack() as theirs_only:
            theirs_only.callback(theirs.close)
            outputs, given, taken = self._streams(terminal, theirs_only)
            try:
                process = _launch(theirs, taken)
            except OSError as error:
                ours.close()
                for each in (*outputs, given):
                    os.close(each)
                raise SourceError(f"the command cannot be started: {error}") from error
        with self._lock:
            self._control = ours
        with suppress(OSError):
            ours.sendall(len(order).to_bytes(4, "big") + order)
        readers = [
            threading.Thread(target=_read, args=(each, emit, at == 1), name="exec-output", daemon=True)
            for at, each in enumerate(outputs)
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._give, args=(given, terminal is not None, emit), daemon=True).start()
        waiting = (process, ours, readers, outputs, emit)
        threading.Thread(target=self._wait, args=waiting, name="exec-end", daemon=True).start()

    def give(self, number: int, content: bytes, *, end: bool) -> None:
        self._inputs.put((number, content, end))

    def resize(self, terminal: TerminalSize) -> None:
        with self._lock:
            if self._terminal is not None:
                _set_size(self._terminal, terminal)

    def end(self) -> None:
        """The keeper ends the session of the command when it is hung up on."""
        with self._lock:
            if self._control is not None and not self._ending:
                self._ending = True
                with suppress(OSError):
                    self._control.shutdown(socket.SHUT_WR)

    def _order(self, terminal: TerminalSize | None) -> dict[str, Any]:
        """Raises SourceError."""
        spec = process_files.read(self._directory / process_files.SPEC)
        process_id = process_files.session(self._directory)
        if spec is None or not process_id:
            raise SourceError("the container does not run")
        return {
            "argv": self._argv,
            "environment": {
                **spec["environment"],
                **_environment_of(process_id),
                **({"TERM": "xterm"} if terminal else {}),
            },
            "working_directory": spec["working_directory"],
            "user": spec["user"],
            "cgroup_procs": tuple(spec["cgroup_procs"]),
            "terminal": terminal is not None,
        }

    def _streams(self, terminal: TerminalSize | None, theirs: ExitStack) -> tuple[list[int], int, tuple[int, int, int]]:
        """What we read of stdout and stderr, what we write stdin to, and the command's three."""
        if terminal is not None:
            ours, slave = pty.openpty()
            theirs.callback(os.close, slave)
            _set_size(ours, terminal)
            self._terminal = ours
            return [ours], os.dup(ours), (slave, slave, slave)
        (stdin, given), (stdout_read, stdout), (stderr_read, stderr) = os.pipe(), os.pipe(), os.pipe()
        for each in (stdin, stdout, stderr):
            theirs.callback(os.close, each)
        return [stdout_read, stderr_read], given, (stdin, stdout, stderr)

    def _give(self, given: int, tty: bool, emit: Emit) -> None:
        """A terminal's end of input is a character; it is closed by whoever reads from it."""
        while (command := self._inputs.get()) is not None:
            number, content, end = command
            with suppress(OSError):  # it has ended, which its output tells
                while content:
                    content = content[os.write(given, content) :]
                if end and tty:
                    os.write(given, b"\x04")
            emit(InputTaken(number))
            if end and not tty:
                break
        os.close(given)

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        readers: list[threading.Thread],
        outputs: list[int],
        emit: Emit,
    ) -> None:
        told = _received(control)
        process.wait()
        for reader in readers:
            reader.join()  # the keeper has ended whatever could write
        with self._lock:
            self._control, self._terminal = None, None
            control.close()
        for each in outputs:
            os.close(each)
        self._inputs.put(None)
        emit(_outcome(told, self._argv))


def _launch(control: socket.socket, standard: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """The keeper of the command."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_PROGRAM), str(control.fileno())],
        stdin=standard[0],
        stdout=standard[1],
        stderr=standard[2],
        env={name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
        pass_fds=[control.fileno()],
        start_new_session=True,
    )


def _read(output: int, emit: Emit, to_stderr: bool) -> None:
    """A terminal that nobody holds any more is an error to read from."""
    with suppress(OSError):
        while content := os.read(output, MAX_CHUNK_BYTES):
            emit(Written(content, to_stderr))


def _received(control: socket.socket) -> str:
    told = b""
    with suppress(OSError):
        while received := control.recv(256):
            told += received
    return told.decode()


def _outcome(told: str, argv: list[str]) -> SourceEnded:
    word, _, rest = told.partition(" ")
    if word == "exited":
        return SourceEnded(exit_code=int(rest))
    if word != "failed":
        return SourceEnded(reason="what kept the command was killed: how it ended is not known")
    stage, _, number = rest.partition(":")
    name = f"{argv[0]}: " if stage == "exec" else f"{stage}: "
    code = _NOT_FOUND if int(number) == errno.ENOENT else _NOT_EXECUTABLE
    return SourceEnded(exit_code=code, reason=f"{name}{os.strerror(int(number) or errno.EINVAL)}")


def _environment_of(process_id: int) -> dict[str, str]:
    """What the container's process was started with, secrets and addresses among it; nothing, if it has hidden that."""
    try:
        content = Path(f"/proc/{process_id}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (each.partition(b"=") for each in content.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, separator, value in pairs if name and separator}


def _set_size(terminal: int, size: TerminalSize) -> None:
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))
