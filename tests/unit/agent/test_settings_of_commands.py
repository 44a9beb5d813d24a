"""Where the commands of the agent take their settings from: options, then the environment, then the file."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ecs_anywhere_agent import cli
from ecs_anywhere_agent.settings import DEFAULTS, Settings


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The handlers that `run` adds do not outlive it."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


class Commands:
    """`ecs-anywhere-agent`, up to where an agent would run."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "agent.config"
        self.environment: dict[str, str | None] = {"ECS_ANYWHERE_AGENT_CONFIG": str(self.file)}
        self.ran: list[tuple[Path, Settings]] = []

    def run_agent(self, data_dir: Path, _runtime: str, _attributes: Any, settings: Settings, **_: Any) -> None:
        self.ran.append((data_dir, settings))

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.main, arguments, env=self.environment)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path)
    made.file.write_text("")
    monkeypatch.setattr(cli, "run_agent", made.run_agent)
    return made


@pytest.mark.parametrize(
    ("line", "variable", "option", "seconds"),
    [
        pytest.param("", None, (), 30.0, id="the-default"),
        pytest.param("1m", None, (), 60.0, id="the-file"),
        pytest.param("1m", "2m", (), 120.0, id="the-environment-wins-over-the-file"),
        pytest.param("1m", "2m", ("--container-stop-timeout", "3m"), 180.0, id="an-option-wins-over-both"),
        pytest.param("nonsense", None, (), 30.0, id="nonsense-is-the-default"),
    ],
)
def test_which_one_wins(
    commands: Commands, line: str, variable: str | None, option: tuple[str, ...], seconds: float
) -> None:
    name = "ECS_CONTAINER_STOP_TIMEOUT"
    commands.file.write_text(f"{name}={line}\n")
    commands.environment[name] = variable
    assert commands("run", *option).exit_code == 0
    assert [settings.container_stop_timeout for _, settings in commands.ran] == [seconds]


def test_every_option_of_run_is_a_setting(commands: Commands) -> None:
    options = (
        "--reserved-memory=7 --task-cleanup-wait=90 --image-pull-behavior=once --container-stop-timeout=1h30m"
        " --pull-dependent-containers-upfront"
    )
    assert commands("run", *options.split()).exit_code == 0
    [(_, settings)] = commands.ran
    assert settings == DEFAULTS.model_copy(
        update={
            "reserved_memory": 7,
            "task_cleanup_wait": 90.0,
            "pull_behavior": "once",
            "container_stop_timeout": 5400.0,
            "pull_upfront": True,
        }
    )


@pytest.mark.parametrize(
    ("own", "option", "expected"),
    [
        pytest.param(None, (), "/data/", id="of-amazons-name"),
        pytest.param("/mine", (), "/mine", id="our-own-variable-comes-first"),
        pytest.param("/mine", ("--data-dir", "/option"), "/option", id="the-option-before-both"),
    ],
)
def test_the_data_directory(commands: Commands, own: str | None, option: tuple[str, ...], expected: str) -> None:
    commands.file.write_text("ECS_DATADIR=/data/\n")
    commands.environment["ECS_ANYWHERE_AGENT_DATA_DIR"] = own
    assert commands("run", *option).exit_code == 0
    assert [data_dir for data_dir, _ in commands.ran] == [Path(expected)]


def test_with_attributes_that_make_no_sense_it_does_not_start(commands: Commands) -> None:
    commands.file.write_text("ECS_INSTANCE_ATTRIBUTES=[]\n")
    result = commands("run")
    assert (result.exit_code, commands.ran) == (1, [])
    assert "ECS_INSTANCE_ATTRIBUTES: '[]' is not a JSON object of texts" in result.output


def test_what_is_not_honoured_is_a_line_of_the_log(commands: Commands) -> None:
    commands.file.write_text("ECS_TASK_PIDS_LIMIT=9\nECS_DISABLE_METRICS=true\n")
    written = commands("run").output
    assert "WARNING settings: ECS_TASK_PIDS_LIMIT is not honoured" in written
    assert "INFO settings: ECS_DISABLE_METRICS has no meaning here" in written
