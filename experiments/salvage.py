"""Copy what can be read of a damaged journal into a new one.

SQLite keeps rows on pages, in the order of their numbers. Where pages are missing or damaged, rows
are read from the first on and from the last back, up to the damage. A feature whose end stood on a
damaged page is begun anew by the next run; everything that it measured or paid for and that can be
read is taken from the journal, as after a kill.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..sae.errors import JournalError
from .journal import Journal
from .journal_file import explained, opened, transaction


@dataclass(frozen=True)
class Salvaged:
    """What was copied: runs, events, features that have come to an end. whole: nothing was left out."""

    runs: int
    events: int
    done: int
    whole: bool


def salvage(damaged: Path, target: Path) -> Salvaged:
    """Copy what can be read of the journal `damaged` to the new file `target`; `damaged` stays as it is.

    Raises JournalError where `target` exists already, and where nothing can be read.
    """
    if target.exists():
        raise JournalError(f"{target} is there already: name a new file for what is salvaged.")
    with explained(damaged):
        if not damaged.is_file():
            raise JournalError(f"There is no journal at {damaged}: name the damaged one.")
        source = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(source):
        runs, runs_whole = _rows(source, "runs")
        events, events_whole = _rows(source, "events")
    if not runs:
        raise JournalError(
            f"Nothing can be read of {damaged}: take an older copy, or begin a new journal."
        )
    known = {run[0] for run in runs}
    events = [event for event in events if event[1] in known]
    with (
        explained(target),
        contextlib.closing(opened(target)) as connection,
        transaction(connection),
    ):
        connection.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", runs)
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
    with Journal.open(target) as journal:
        done = sum(run.done for run in journal.runs())
    return Salvaged(len(runs), len(events), done, runs_whole and events_whole)


def _rows(source: sqlite3.Connection, table: str) -> tuple[list[tuple[Any, ...]], bool]:
    """Rows of a table that can be read, by number, and whether these are all."""
    found: dict[int, tuple[Any, ...]] = {}
    whole = True
    for order in ("ASC", "DESC"):
        try:
            # Without this, SQLite opens no file that is shorter than it once was.
            source.execute("PRAGMA writable_schema = ON")
            for row in source.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY id {order}"):
                found[row[0]] = row
            break  # all of them, the first time
        except sqlite3.DatabaseError:
            whole = False
    return [found[number] for number in sorted(found)], whole
