"""What the tests of the process runtime share; their fixture `make` is in conftest.py."""

import json
from collections.abc import Callable
from pathlib import Path

from integration.agent.runtimes import TASK_ID, Driver

Make = Callable[[], Driver]


def directory(tmp_path: Path) -> Path:
    return tmp_path / "containers" / TASK_ID / "main"


def log(tmp_path: Path) -> str:
    return (directory(tmp_path) / "log").read_text()


def child_pid(tmp_path: Path) -> int:
    return int(json.loads((directory(tmp_path) / "child.json").read_text())["pid"])


def runs(command: str) -> bool:
    wanted = command.replace(" ", "\0") + "\0"
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_text() == wanted:
                return True
        except OSError:
            continue
    return False
