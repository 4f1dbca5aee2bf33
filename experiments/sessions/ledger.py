"""The ledger: a session's events in its run's journal, and its state, which is made from them.

A verb that changes something is a *step*: an event that says who did what, followed by the events
it caused. `undo` voids the last step that stands. What a broken-off step wrote stands as well, and
what it had only in mind is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...agents.budget import Budget, Spending
from ...agents.loop import Investigation, Reasoner
from ...agents.minds.choice import Mind
from ...agents.records import Hypothesis, Outcome, Probe, Record
from ...sae.errors import SessionError
from ...sae.source import FeatureSource
from ..calls import RunCalls
from ..facts import exemplars_of, facts_of, versions
from ..jobs import Job
from ..journal import Event, Journal, Run, default_path

#: A session is ended by who sits in it, not by a number of probes or rounds.
UNCAPPED = Budget(probes=None, rounds=None)
#: What is counted of a mind's turn, beside its seconds: all of `Spending` but the texts run.
COUNTED = tuple(
    one.name
    for one in fields(Spending)
    if isinstance(one.default, int | float) and one.name != "probes"
)


@contextlib.contextmanager
def begin(
    source: FeatureSource,
    *,
    run: str | None = None,
    journal: Journal | Path | str | None = None,
    mind: str | Reasoner | None = None,
    budget: Budget | None = None,
    seed: int | None = None,
    feature: int = 0,
) -> Iterator[tuple[Run, Reasoner]]:
    """A run for sessions, and the mind that helps in it with one feature.

    Arguments and errors: see `sagescope.experiments.sessions.session.AsyncSession.open`.
    """
    with contextlib.ExitStack() as stack:
        if not isinstance(journal, Journal):
            path = default_path() if journal is None and run else journal
            journal = stack.enter_context(Journal.open(Path(path) if path else None))
        name = run or "session"
        there = next((one.config for one in journal.runs() if one.name == name), {})
        wanted = there.get("mind", "rules") if mind is None else mind
        if isinstance(wanted, str):
            Mind(wanted).check()
            Mind(wanted).check_price(budget)
        if budget is None:
            budget = Budget(**there["budget"]) if "budget" in there else UNCAPPED
        seed = there.get("seed", 0) if seed is None else seed
        called = wanted if isinstance(wanted, str) else wanted.name
        job = Job([], "session", called, budget, seed or 0)
        begun = stack.enter_context(journal.begin(name, job.config(source)))
        yield begun, thinker_of(begun, feature) if isinstance(wanted, str) else wanted


def thinker_of(run: Run, feature: int) -> Reasoner:
    """The run's mind for one feature; what it asks a language model is kept in the journal."""
    return Mind(run.config["mind"], calls=RunCalls(run, feature)).reasoner()


class Ledger:
    """The events of one feature's session, and the investigation that they add up to.

    turn: held by whoever changes something. loop: the state; it is another object after an undo.
    facts: what the corpus says of the feature (see `facts`).
    """

    def __init__(self, source: FeatureSource, feature: int, run: Run, mind: Reasoner, who: str):
        self.source, self.feature, self.run, self.mind, self.who = source, feature, run, mind, who
        self.turn = asyncio.Lock()
        self._begun: dict[str, str] | None = None
        self._seconds = 0.0
        self.facts = self._open()
        self.loop = self._fold()

    def _open(self) -> dict[str, Any]:
        """Write down that a session begins, and what it builds on."""
        run, feature = self.run, self.feature
        self.source.cover([feature])
        known = run.events(feature, ["facts"])
        facts = known[-1].payload if known else facts_of(self.source, feature)
        events: list[tuple[str, Any, int | None]] = [
            ("session", {"features": [feature], "versions": versions()}, None)
        ]
        if not known:
            events.append(("facts", facts, feature))
            events.append(("exemplars", exemplars_of(self.source, feature), feature))
        if not run.events(feature, ["started"]):
            events.append(("started", {}, feature))
        run.write_all(events)
        return facts

    # ---------------------------------------------------------------- steps

    @contextlib.asynccontextmanager
    async def step(self, verb: str, by: str | None = None) -> AsyncIterator[Investigation]:
        """One change, when it is its turn. by: the mind, where it is not whose session it is."""
        async with self.turn:
            self._begun = {"verb": verb, "by": by or self.who}
            spending = self.loop.notebook.spending
            # Idle time between two steps is nobody's spending.
            spending.started = time.monotonic() - self._seconds
            before = _counts(spending)
            try:
                yield self.loop
            except BaseException:
                self._end(by, before, spending)
                self.loop = self._fold()
                raise
            self._end(by, before, spending)

    def write(self, kind: str, payload: Any) -> None:
        """One event; the first of a step brings the step's own event with it."""
        events: list[tuple[str, Any, int | None]] = [(kind, payload, self.feature)]
        if self._begun:
            events.insert(0, ("step", self._begun, self.feature))
        self.run.write_all(events)
        self._begun = None

    def _record(self, kind: str, /, *records: Record) -> None:
        for record in records:
            self.write(kind, record.model_dump())

    def looked(self, texts: list[str]) -> None:
        """Texts were run without a prediction. It is no step, and cannot be undone."""
        self.run.write("looked", {"texts": texts}, self.feature)
        self.loop.notebook.spending.probes += len(texts)

    async def undo(self) -> dict[str, str]:
        """Void the last step that stands. Returns its verb, and by whom it was."""
        async with self.turn:
            steps = [event for event in self.run.attempt(self.feature) if event.kind == "step"]
            if not steps:
                raise SessionError("There is nothing to undo.")
            self.run.write("undone", {"since": steps[-1].number}, self.feature)
            self.loop = self._fold()
            return steps[-1].payload

    def _end(self, by: str | None, before: dict[str, float], spending: Spending) -> None:
        """Write down what a mind's turn cost."""
        self._begun = None
        if by == self.mind.name:
            cost = {name: value - before[name] for name, value in _counts(spending).items()}
            self._seconds += cost["seconds"]
            self.run.write("spent", {"by": by, **cost}, self.feature)

    # ---------------------------------------------------------------- the state

    def _fold(self) -> Investigation:
        """The state, from the events that stand."""
        loop = Investigation(
            self.source,
            self.feature,
            self.mind,
            spending=Spending(Budget(**self.run.config["budget"])),
            seed=self.run.config["seed"],
            record=self._record,
        )
        with self.run.reading(self.feature):
            for event in self.run.attempt(self.feature):
                _replay(event, loop)
            self._recount(loop)
        return loop

    def _recount(self, loop: Investigation) -> None:
        """Count what was spent, whether or not it was undone."""
        spending = loop.notebook.spending
        events = self.run.events(self.feature, ["outcome", "looked", "spent"])
        turns = [event.payload for event in events if event.kind == "spent"]
        for name in COUNTED:
            setattr(spending, name, sum(turn.get(name, 0) for turn in turns))
        looked = sum(len(event.payload["texts"]) for event in events if event.kind == "looked")
        ran = sum(event.kind == "outcome" for event in events)
        spending.probes = looked + ran + len(_waiting(loop))
        self._seconds = sum(turn["seconds"] for turn in turns)

    @property
    def waiting(self) -> list[Probe]:
        """Probes that are written down and did not run yet."""
        return _waiting(self.loop)

    @property
    def spent(self) -> dict[str, float]:
        """What was spent so far, as in `Conclusion`."""
        spending = self.loop.notebook.spending
        return {
            "calls": spending.calls,
            "tokens": spending.tokens,
            "probes": spending.probes,
            "seconds": round(self._seconds, 3),
        }

    def made_by(self) -> tuple[str, str]:
        """Explainer and mind of what would be accepted now.

        Help that was undone has been seen, so it counts.
        """
        events = self.run.events(self.feature, ["step", "spent"])
        helpers = {event.payload["by"] for event in events} | {(self._begun or {}).get("by")}
        if self.mind.name in helpers:
            return f"{self.who} + {self.mind.name}", self.mind.name
        return self.who, self.who


def _replay(event: Event, loop: Investigation) -> None:
    """Bring an investigation to where it was after one more event."""
    notebook, payload = loop.notebook, event.payload
    if event.kind == "hypothesis":
        hypothesis = Hypothesis.model_validate(payload)
        notebook.hypotheses.append(hypothesis)
        if hypothesis.parent is not None:
            notebook.refined.add(hypothesis.parent)
    elif event.kind == "dropped":
        notebook.dropped.add(payload["hypothesis"])
    elif event.kind == "probe":
        notebook.probes.append(Probe.model_validate(payload))
    elif event.kind == "outcome":
        notebook.outcomes.append(Outcome.model_validate(payload))
    elif event.kind == "step" and payload["verb"] == "round":
        notebook.round += 1


def _waiting(loop: Investigation) -> list[Probe]:
    done = {outcome.probe for outcome in loop.notebook.outcomes}
    return [probe for probe in loop.notebook.probes if probe.id not in done]


def _counts(spending: Spending) -> dict[str, float]:
    return {name: getattr(spending, name) for name in (*COUNTED, "seconds")}
