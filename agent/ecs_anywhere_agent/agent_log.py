"""Where the agent's own log goes: stderr, and a file if the settings name one."""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping

from ecs_anywhere_agent.settings import Settings

_LEVELS: Mapping[str, int] = {
    "crit": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_WORDS = {level: word for word, level in _LEVELS.items()}
_PLAIN = "%(asctime)s %(levelname)s %(message)s"


class _Structured(logging.Formatter):
    """The members of a line of Amazon's agent, in one of its two formats."""

    converter = staticmethod(time.gmtime)

    def __init__(self, write: Callable[[Mapping[str, str]], str]) -> None:
        super().__init__()
        self._write = write

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "level": _WORDS.get(record.levelno, record.levelname.lower()),
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "msg": record.getMessage(),
            "module": record.name,
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return self._write(members)


def _logfmt(members: Mapping[str, str]) -> str:
    return " ".join(
        f"{name}={json.dumps(value) if name in {'msg', 'exception'} else value}" for name, value in members.items()
    )


def start_log(settings: Settings) -> None:
    """Raises OSError if the file cannot be written."""
    formatter: logging.Formatter
    match settings.log_format:
        case "json":
            formatter = _Structured(json.dumps)
        case "logfmt":
            formatter = _Structured(_logfmt)
        case _:
            formatter = logging.Formatter(_PLAIN)
    handlers: list[tuple[logging.Handler, str]] = [(logging.StreamHandler(sys.stderr), settings.log_level)]
    of_file = settings.log_file_level or settings.log_level
    if settings.log_file and of_file != "none":
        handlers.append((_file(settings, settings.log_file), of_file))
    root = logging.getLogger()
    root.setLevel(min(_LEVELS[level] for _, level in handlers))
    for handler, level in handlers:
        handler.setLevel(_LEVELS[level])
        handler.setFormatter(formatter)
        root.addHandler(handler)


def _file(settings: Settings, path: str) -> logging.Handler:
    from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler  # noqa: PLC0415 - few have a file

    if settings.log_rollover == "size":
        return RotatingFileHandler(path, maxBytes=settings.log_file_size * 1_000_000, backupCount=settings.log_files)
    return TimedRotatingFileHandler(path, when="H", backupCount=settings.log_files, utc=True)
