"""What people read goes to stderr while something is going on; what was asked for goes to stdout."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Problem(click.ClickException):
    """Something is missing or went wrong; the message says what to do next."""

    def show(self, file: Any = None) -> None:
        del file
        err.print(f"[bold red]Error:[/] {self.message}", markup=True)


def print_json(value: Any) -> None:
    """JSON alone on stdout."""
    sys.stdout.write(json.dumps(value, default=_json, indent=2) + "\n")
    sys.stdout.flush()


def table(*columns: str) -> Table:
    """Rows under headings, without lines; what is too wide is folded, so that nothing is cut off."""
    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def _json(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show that something takes its time, and say once it is done."""
    with err.status(what):
        yield
    err.print(f"[green]✓[/] {what}")
