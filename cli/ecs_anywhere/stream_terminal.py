"""Plays a stream on this terminal, or into files and pipes."""

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ecs_anywhere import stream_player
from ecs_anywhere.stream_link import StreamLink
from ecs_anywhere.stream_player import Interrupted, Phase, Player, Resized, Say, Tick, Typed
from ecs_protocol.streams import MAX_CHUNK_BYTES, MAX_COLUMNS, Stream, TerminalSize

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def play(url: str, stream: Stream, *, takes_input: bool, terminal: bool) -> Player:
    """To its end; how it ended. `terminal`: this process has one, and it becomes the other side's. Raises Problem."""
    return _Playing(url, stream, takes_input=takes_input, terminal=terminal).run()


def has_terminal() -> bool:
    """Whether a person sits at both ends of this process."""
    return os.isatty(_STDIN) and os.isatty(_STDOUT)


class _Playing:
    def __init__(self, url: str, stream: Stream, *, takes_input: bool, terminal: bool) -> None:
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._link = StreamLink(url, stream, self._wake)
        self._takes_input = takes_input
        self._terminal = terminal
        self._resized = False
        self._player = Player(0.0, None)
        self._raw = False

    def run(self) -> Player:
        with self._resizing(), self._keeping_terminal():
            try:
                self._link.open()
                size = _size() if self._terminal else None
                self._do(lambda: stream_player.begin(time.monotonic(), size))
                while self._player.phase is not Phase.OVER:
                    try:
                        self._take_in_what_comes()
                    except (KeyboardInterrupt, BrokenPipeError):
                        self._take_in(Interrupted())
            finally:
                self._link.close()
        return self._player

    def _take_in_what_comes(self) -> None:
        if self._terminal and self._player.phase is Phase.PLAYING and not self._raw:
            self._raw = True
            tty.setraw(_STDIN, termios.TCSADRAIN)  # what was typed ahead stays
        wanted: list[Any] = [self._woken]
        if self._takes_input and self._player.wants_input:
            wanted.append(_STDIN)
        wait = max(stream_player.due(self._player) - time.monotonic(), 0.0)
        ready, _, _ = select.select(wanted, [], [], wait)
        if self._woken in ready:
            self._woken.recv(4096)
            while not self._link.heard.empty():
                self._take_in(self._link.heard.get())
        if self._resized:
            self._resized = False
            self._take_in(Resized(_size()))
        if _STDIN in ready:
            self._take_in(Typed(os.read(_STDIN, MAX_CHUNK_BYTES)))
        self._take_in(Tick())

    def _take_in(self, event: stream_player.Event) -> None:
        self._do(lambda: stream_player.step(self._player, event, time.monotonic()))

    def _do(self, decide: Callable[[], stream_player.Step]) -> None:
        self._player, actions = decide()
        for action in actions:
            if isinstance(action, Say):
                self._link.say(action.message)
            else:
                _write(_STDERR if action.to_stderr else _STDOUT, action.content)

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):  # it is awake already, or over
            self._waker.send(b".")

    @contextmanager
    def _resizing(self) -> Iterator[None]:
        if not self._terminal:
            yield
            return

        def resized(*_: Any) -> None:
            self._resized = True
            self._wake()

        former = signal.signal(signal.SIGWINCH, resized)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, former)

    @contextmanager
    def _keeping_terminal(self) -> Iterator[None]:
        if not self._terminal:
            yield
            return
        before = termios.tcgetattr(_STDIN)
        try:
            yield
        finally:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


def _write(descriptor: int, content: bytes) -> None:
    (sys.stdout if descriptor == _STDOUT else sys.stderr).flush()
    while content:
        content = content[os.write(descriptor, content) :]


def _size() -> TerminalSize:
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(_STDOUT, termios.TIOCGWINSZ, b"\0" * 8))
    return TerminalSize(columns=min(max(columns, 1), MAX_COLUMNS), rows=min(max(rows, 1), MAX_COLUMNS))
