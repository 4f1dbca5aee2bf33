"""A progress bar on standard error for work on tokens, with its rate and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Bar:
    """A progress bar over tokens that draws itself once two seconds have passed."""

    def __init__(self, what: str, tokens: int, shown: bool):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} tokens/s,"),
            TimeRemainingColumn(),
            TextColumn("left{task.fields[figures]}"),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._task = self._progress.add_task(what, total=tokens, rate="–", figures="")
        self._began = time.monotonic()
        self._done = 0

    def advance(self, tokens: int) -> None:
        """Count tokens that were done now."""
        self._done += tokens
        seconds = max(1e-3, time.monotonic() - self._began)
        self._progress.update(self._task, advance=tokens, rate=f"{self._done / seconds:,.0f}")
        if seconds > 2 and not self._progress.live.is_started:
            self._progress.start()

    def skip(self, tokens: int) -> None:
        """Count tokens that an earlier run has done."""
        self._progress.update(self._task, advance=tokens)

    def say(self, what: str) -> None:
        """Name what goes on now."""
        self._progress.update(self._task, description=what)

    def tell(self, **figures: str) -> None:
        """Show figures of the moment behind the bar, by their names."""
        shown = ", ".join(f"{name} {value}" for name, value in figures.items())
        self._progress.update(self._task, figures=f"; {shown}" if shown else "")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress.live.is_started:
            self._progress.stop()


@contextmanager
def bar(what: str, tokens: int, shown: bool = True) -> Iterator[Bar]:
    """A bar over so many tokens, with `what` before it; nothing where it is not `shown`."""
    made = Bar(what, tokens, shown)
    try:
        yield made
    finally:
        made.close()
