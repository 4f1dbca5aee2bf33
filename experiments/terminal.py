"""The terminal: where results go, text that is safe to print, and a progress bar, with Rich.

Corpus text only gets here through `visible`, and never as markup.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..agents.records import short
from ..sae.visible import visible

#: Width of what is printed into a pipe or a file.
PIPED_WIDTH = 140
#: How verdicts look.
STATUS_STYLES = {"confirmed": "green", "refuted": "red", "untested": "yellow", "open": "yellow"}


def console() -> Console:
    """Where results go: standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def text(value: object, style: str = "", limit: int | None = None) -> Text:
    """Anything as plain text that is safe to print."""
    plain = str(value) if limit is None else short(str(value), limit)
    return Text(visible(plain), style)


class ProgressBar:
    """A bar a stage on standard error, with rate and time left; nothing where nobody looks.

    It is a `sagescope.experiments.jobs.Watch`, and a context manager.
    """

    def __init__(self) -> None:
        to = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=to,
            disable=not to.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done)

    def __enter__(self) -> ProgressBar:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{60 * speed:.1f}/min")
