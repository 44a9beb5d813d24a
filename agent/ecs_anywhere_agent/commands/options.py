"""What several commands take, and how they fail."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from ecs_anywhere_agent.identity import NoIdentityError
from ecs_anywhere_agent.local_api import AgentNotRunningError, LocalApiError
from ecs_anywhere_agent.registering import RegistrationError, default_data_dir
from ecs_anywhere_agent.runtime.interface import RuntimeUnavailableError
from ecs_anywhere_agent.same_machine import OtherMachineError
from ecs_anywhere_agent.settings import SettingsError, find_settings
from ecs_anywhere_agent.settings.values import duration
from ecs_anywhere_agent.single import AlreadyRunningError

Result = TypeVar("Result")

_PROBLEMS = (
    NoIdentityError,
    OtherMachineError,
    RegistrationError,
    RuntimeUnavailableError,
    AlreadyRunningError,
    AgentNotRunningError,
    LocalApiError,
    SettingsError,
)


def _data_dir() -> Path:
    """Settings that cannot be read are the matter of `run`, which says so."""
    try:
        of_settings = find_settings().settings.data_dir
    except SettingsError:
        of_settings = None
    return Path(of_settings) if of_settings else default_data_dir()


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=_data_dir,
    envvar="ECS_ANYWHERE_AGENT_DATA_DIR",
    help="Where the agent keeps its identity, its state and the files of process tasks. "
    "[default: ECS_DATADIR, or ~/.local/state/ecs-anywhere-agent]",
)
output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: the result alone, as JSON, on stdout.",
)


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        text = str(value)
        try:
            return float(text) if text.isascii() and text.isdigit() else duration(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()


def or_exit(work: Callable[[], Result]) -> Result:
    """A problem that the user can do something about ends the command with its text."""
    try:
        return work()
    except _PROBLEMS as problem:
        raise click.ClickException(str(problem)) from problem
