"""What a running process has written takes no more of a disk that is nearly full, and nobody notices."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ecs_anywhere_agent.runtime.log_cutting import cut
from ecs_anywhere_agent.runtime.process_log import read_log
from integration.agent.processes import Make
from integration.agent.runtimes import TASK_ID, eventually, spec

MEBIBYTE = 1024 * 1024
LINE = b"0123456789abcdef" * 4


def on_disk(log: Path) -> int:
    return log.stat().st_blocks * 512


@pytest.mark.parametrize(
    ("pressed", "left"),
    [pytest.param(lambda: True, 1, id="nearly-full"), pytest.param(None, 3, id="there-is-room")],
)
def test_the_log_of_a_process(make: Make, tmp_path: Path, pressed: Callable[[], bool] | None, left: int) -> None:
    driver = make()
    line = (LINE[:-1] + b"\n").decode()
    script = f"i=0; while [ $i -lt {3 * MEBIBYTE // len(LINE)} ]; do printf '{line}'; i=$((i+1)); done"
    go_on = tmp_path / "go-on"
    driver.start(spec("sh", "-c", f"{script}; until test -e {go_on}; do sleep 0.1; done; echo the end; sleep 1000"))
    directory = tmp_path / "containers" / TASK_ID / "main"
    log = directory / "log"
    eventually(lambda: log.stat().st_size == 3 * MEBIBYTE, 60)
    driver.runtime.clean_up(frozenset, pressed)
    assert abs(on_disk(log) - left * MEBIBYTE) <= 65536
    go_on.touch()
    eventually(lambda: log.stat().st_size == 3 * MEBIBYTE + 8)
    written = b"".join(read_log(directory, tail=None, follow=False))
    assert abs(len(written) - left * MEBIBYTE) <= 65536
    assert written.endswith(LINE[:-1] + b"\nthe end\n")
    assert b"\0" not in written
    assert b"".join(read_log(directory, tail=1, follow=False)) == b"the end\n"


@pytest.mark.parametrize(
    ("size", "let_go"),
    [
        pytest.param(0, 0, id="empty"),
        pytest.param(5000, 0, id="less-than-a-block"),
        pytest.param(9000, 4096, id="more"),
    ],
)
def test_whole_blocks_go(tmp_path: Path, size: int, let_go: int) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * size)
    assert cut(log, 4000) == let_go
    assert log.read_bytes() == bytes(let_go) + b"x" * (size - let_go)
