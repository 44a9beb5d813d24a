"""What a command says while it works: on stderr, so that stdout holds the result alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """One line a step; in a terminal the running one spins."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Shown while it runs, and afterwards with the seconds that it took."""
        began = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{text} …", soft_wrap=True)
        try:
            with self.console.status(f"{text} …"):
                yield
        except BaseException:
            self.console.print(f"[red]✗[/] {text}", soft_wrap=True)
            raise
        self.console.print(f"[green]✓[/] {text} [dim]({time.monotonic() - began:.1f} s)[/]", soft_wrap=True)

    def say(self, text: str) -> None:
        """`text` may hold rich's markup."""
        self.console.print(text, soft_wrap=True)
