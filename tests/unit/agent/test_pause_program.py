"""The program that holds a task's namespaces."""

import platform
import signal
import subprocess
from pathlib import Path

import pytest

from ecs_anywhere_agent.runtime.pause_program import program

AARCH64 = (
    "200280d2 81010010 020080d2 030180d2 c81080d2 010000d4 "
    "000080d2 010080d2 020080d2 030080d2 280980d2 010000d4 faffff17"
)
"""What was seen to wait by qemu-aarch64: rt_sigaction(SIGCHLD, SIG_IGN), then ppoll again and again."""


def test_it_waits(tmp_path: Path) -> None:
    path = tmp_path / "pause"
    path.write_bytes(program())
    path.chmod(0o755)
    with subprocess.Popen([path]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.terminate()
        assert process.wait(timeout=10) == -signal.SIGTERM


def test_the_program_for_the_other_architecture() -> None:
    written = program("aarch64")
    assert written[120:-32].hex(" ", 4) == AARCH64
    assert written[-32:] == b"\x01" + bytes(31)


def test_a_program_is_for_its_machine_alone() -> None:
    assert platform.machine() in {"x86_64", "aarch64"}
    assert program("x86_64")[18:20] != program("aarch64")[18:20]
