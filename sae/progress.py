"""Progress over tokens, on the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class TokenBar:
    """A progress bar over tokens that draws itself once two seconds have passed."""

    def __init__(self, tokens: int, shown: bool):
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
            TextColumn("left"),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._task = self._progress.add_task("Collecting", total=tokens, rate="–")
        self._began = time.monotonic()
        self._done = 0

    def advance(self, tokens: int) -> None:
        """Count tokens that went through the model."""
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

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress.live.is_started:
            self._progress.stop()


@contextmanager
def token_bar(tokens: int, shown: bool) -> Iterator[TokenBar]:
    """A bar for as long as the block lasts."""
    bar = TokenBar(tokens, shown)
    try:
        yield bar
    finally:
        bar.close()
