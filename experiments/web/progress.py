"""Progress: how far a run is, what it cost and what failed, kept up to date event by event."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..journal import Event, Run
from ..results import result_of

#: Kinds of events that move a run on.
KINDS = ("session", "started", "concluded", "undone")


@dataclass(frozen=True)
class Ended:
    """How one feature came to its end. dollars: None where a call has no known price."""

    status: str
    error: str | None
    calls: int
    tokens: int
    probes: int
    seconds: float
    dollars: float | None


@dataclass
class Tally:
    """A run so far. number: the last event that was counted. begun: of features, not yet ended."""

    number: int = 0
    features: dict[int, None] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    ended: dict[int, Ended] = field(default_factory=dict)

    @property
    def failed(self) -> dict[int, Ended]:
        """The features that have no explanation because something went wrong."""
        return {index: one for index, one in self.ended.items() if one.status == "failed"}

    @property
    def out_of_budget(self) -> int:
        """How many features ended because their budget was spent."""
        return sum(one.status == "out_of_budget" for one in self.ended.values())

    @property
    def dollars(self) -> float | None:
        """What language models took; None where a price is not known."""
        known = [one.dollars for one in self.ended.values() if one.dollars is not None]
        return sum(known) if len(known) == len(self.ended) else None

    def total(self, name: str) -> float:
        """The sum of what features took: calls, tokens, probes or seconds."""
        return sum(getattr(one, name) for one in self.ended.values())


class Progress:
    """The tallies of all runs. Threads may share it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._tallies: dict[int, Tally] = {}

    def of(self, run: Run) -> Tally:
        """A run's tally, as of now."""
        with self._turn:
            tally = self._tallies.setdefault(run.id, Tally())
            last = run.journal.last
            if last > tally.number:
                for event in run.events(kinds=KINDS, after=tally.number):
                    with run.reading(event.feature):
                        _count(tally, event, run)
                tally.number = last
            return tally


def _count(tally: Tally, event: Event, run: Run) -> None:
    feature, payload = event.feature, event.payload
    if event.kind == "session":
        tally.features |= dict.fromkeys(payload["features"])
    elif feature is None:
        return
    elif event.kind == "started":
        tally.begun.add(feature)
    elif event.kind == "concluded":
        tally.begun.discard(feature)
        tally.ended[feature] = _ended(payload)
    elif result_of(run, feature) is None:
        tally.ended.pop(feature, None)


def _ended(payload: Mapping[str, Any]) -> Ended:
    conclusion = payload["conclusion"]
    spent = conclusion["spent"]
    return Ended(
        status=conclusion["status"],
        error=conclusion.get("error"),
        calls=int(spent.get("calls", 0)),
        tokens=int(spent.get("tokens", 0)),
        probes=int(spent.get("probes", 0)),
        seconds=float(payload["seconds"]),
        dollars=None if spent.get("unpriced") else float(spent.get("cost", 0.0)),
    )
