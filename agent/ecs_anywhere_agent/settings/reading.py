"""From the file and the environment to Settings, and what is worth a line of the log."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ecs_anywhere_agent.settings.model import ImpossibleValueError, Settings
from ecs_anywhere_agent.settings.without_meaning import REFUSED, SAFE, WITHOUT_MEANING

DEFAULT_PATH = Path("/etc/ecs-anywhere/agent.config")
PATH_VARIABLE = "ECS_ANYWHERE_AGENT_CONFIG"
OWN = frozenset({PATH_VARIABLE, "ECS_ANYWHERE_AGENT_DATA_DIR"})
"""Variables that others than Settings read."""

FIELDS: Mapping[str, str] = {str(field.alias): name for name, field in Settings.model_fields.items()}
"""The name of each variable's field."""

_FOR_LIBRARIES = ("DOCKER_HOST", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class SettingsError(Exception):
    """The agent does not start with such settings; the text says which, and why."""


class Found(NamedTuple):
    """Settings, and what their owner should know."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def config_path(environment: Mapping[str, str]) -> Path:
    return Path(environment.get(PATH_VARIABLE) or DEFAULT_PATH)


def find_settings(environment: Mapping[str, str] = os.environ) -> Found:
    """Of this machine. Raises SettingsError."""
    path = config_path(environment)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if environment.get(PATH_VARIABLE):
            raise SettingsError(f"{PATH_VARIABLE} names {path}, which is not there") from None
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return read_settings(text, environment, str(path))


def read_settings(text: str, environment: Mapping[str, str], path: str = "agent.config") -> Found:
    """`text` is the file's. An empty value is none, as with Amazon's agent. Raises SettingsError."""
    of_file, warnings = _lines(text, path)
    known = (*FIELDS, *WITHOUT_MEANING, *REFUSED)
    of_environment = {name: environment[name] for name in known if name in environment}
    given = {name: value for name, value in {**of_file, **of_environment}.items() if value.strip()}
    unknown = [f"{path}: {name} is no setting of this agent" for name in of_file if name not in {*known, *OWN}]
    settings, invalid = _validated({FIELDS[name]: value for name, value in given.items() if name in FIELDS})
    refused = (f"{name} is not honoured: {why}" for name, why in REFUSED.items() if _asks(given, name))
    # The cloud's credentials in somebody's environment are no settings of this agent.
    asked = (name for name in WITHOUT_MEANING if name in (of_file if name.startswith("AWS_") else given))
    notes = (f"{name} has no meaning here: {WITHOUT_MEANING[name]}" for name in asked)
    return Found(settings, (*warnings, *unknown, *invalid, *refused), tuple(notes))


def export(settings: Settings, environment: dict[str, str] | os._Environ[str]) -> None:
    """What the standard library and the Docker client read from the environment themselves is put there."""
    for name in _FOR_LIBRARIES:
        value = getattr(settings, FIELDS[name])
        if value is not None:
            environment.setdefault(name, value)


def _lines(text: str, path: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """KEY=VALUE, as systemd and Docker read such files: no variables in it, quotes around a value may be left out."""
    found: dict[str, str] = {}
    warnings = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        name, separator, value = stripped.removeprefix("export ").partition("=")
        if not separator or not name.strip():
            warnings.append(f"{path}:{number} is not of the form NAME=VALUE")
            continue
        found[name.strip()] = _unquoted(value.strip())
    return found, tuple(warnings)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        inner = value[1:-1]
        return inner.replace('\\"', '"').replace("\\\\", "\\") if value[0] == '"' else inner
    return value


def _validated(given: Mapping[str, Any]) -> tuple[Settings, Iterator[str]]:
    """A value that cannot be read is as if it were not given, and warned of: so does Amazon's agent."""
    try:
        return Settings.model_validate(given), iter(())
    except ImpossibleValueError as error:
        raise SettingsError(_named(given, error)) from error
    except ValidationError as error:
        wrong = {str(each["loc"][0]): str(each["ctx"]["error"]) for each in error.errors()}
    settings = Settings.model_validate({name: value for name, value in given.items() if name not in wrong})
    return settings, (
        f"{Settings.model_fields[name].alias}: {why}; taken as if it were not set" for name, why in wrong.items()
    )


def _named(given: Mapping[str, Any], error: ImpossibleValueError) -> str:
    """Which of them it was."""
    for name, value in given.items():
        try:
            Settings.model_validate({name: value})
        except ImpossibleValueError:
            return f"{Settings.model_fields[name].alias}: {error}"
        except ValidationError:
            continue
    return str(error)


def _asks(given: Mapping[str, str], name: str) -> bool:
    return name in given and given[name].strip().lower() not in SAFE.get(name, ())
