"""The lines of the agent's log, and where they go."""

import json
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from pathlib import Path

import pytest

from ecs_anywhere_agent.agent_log import start_log
from ecs_anywhere_agent.settings import Settings


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """As it was before."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield root
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def written(path: Path) -> str:
    logging.getLogger("ecs_anywhere_agent").info('task "1" runs')
    logging.getLogger("ecs_anywhere_agent").debug("too much")
    return path.read_text()


def test_plain_lines_by_default(tmp_path: Path) -> None:
    start_log(Settings(log_file=str(tmp_path / "log")))
    assert written(tmp_path / "log").endswith('INFO task "1" runs\n')


def test_logfmt_and_json_have_the_members_of_amazons_agent(tmp_path: Path) -> None:
    start_log(Settings(log_file=str(tmp_path / "logfmt"), log_format="logfmt"))
    assert written(tmp_path / "logfmt").endswith('msg="task \\"1\\" runs" module=ecs_anywhere_agent\n')
    start_log(Settings(log_file=str(tmp_path / "json"), log_format="json"))
    line = json.loads(written(tmp_path / "json"))
    assert (line["level"], line["msg"], line["module"]) == ("info", 'task "1" runs', "ecs_anywhere_agent")


def test_the_level_in_the_file_is_its_own(tmp_path: Path) -> None:
    start_log(Settings(log_file=str(tmp_path / "log"), log_level="crit", log_file_level="debug"))
    assert written(tmp_path / "log").count("\n") == 2
    start_log(Settings(log_file=str(tmp_path / "none"), log_file_level="none"))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("rollover", "kind"), [("hourly", TimedRotatingFileHandler), ("size", RotatingFileHandler)])
def test_the_file_is_begun_anew(tmp_path: Path, root: logging.Logger, rollover: str, kind: type) -> None:
    start_log(Settings(log_file=str(tmp_path / "log"), log_rollover=rollover))
    assert any(type(handler) is kind for handler in root.handlers)
