"""A worker's copy of a run: one feature's events, in memory; what is written to it is sent on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..journal import Event, Journal, Run
from .messages import Entry

#: Kinds of events that the driver has written by itself when a worker hears of them.
OF_CALLS = ("asked", "call", "settled")


@dataclass
class CopiedRun(Run):
    """A run in memory. send: is given what the driver has to write."""

    send: Callable[[list[Entry]], None] = lambda events: None

    def write_all(self, events: Iterable[Entry]) -> None:
        """See Run. When this returns, it is on its way to the driver."""
        entries = list(events)
        super().write_all(entries)
        if kept := [entry for entry in entries if entry[0] not in OF_CALLS]:
            self.send(kept)


@contextlib.contextmanager
def copied(
    name: str,
    config: Mapping[str, Any],
    events: Sequence[Entry],
    send: Callable[[list[Entry]], None],
) -> Iterator[CopiedRun]:
    """A run of this name with these events, for as long as the block lasts."""
    with Journal.open(None) as journal, journal.begin(name, config) as run:
        run.write_all(events)
        yield CopiedRun(journal, run.id, run.name, run.created, run.config, True, send)


def to_copy(events: Iterable[Event]) -> list[Entry]:
    """What a worker needs of a feature's events: of calls the replies, not the long requests."""
    entries: list[Entry] = []
    for event in events:
        if event.kind == "call":
            payload = {name: event.payload[name] for name in ("digest", "address", "reply")}
            entries.append((event.kind, payload, event.feature))
        elif event.kind not in OF_CALLS:
            entries.append((event.kind, event.payload, event.feature))
    return entries
