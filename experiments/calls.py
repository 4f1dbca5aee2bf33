"""Calls of language models in the journal: a call that is there is never paid for again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

from ..agents.budget import Budget, Charge, Spending
from ..agents.llm.client import Reply, Usage
from ..agents.minds.choice import Mind
from .journal import Event, Run


class RunCalls:
    """The calls made for one feature of a run (see `agents.llm.recorded.CallLog`)."""

    def __init__(self, run: Run, feature: int):
        self._run, self._feature = run, feature

    def get(self, digest: str) -> dict[str, Any] | None:
        """The call with this digest, or None."""
        return self._known.get(digest)

    def put(self, digest: str, call: dict[str, Any]) -> None:
        """Keep a call; when this returns it is on disk."""
        self._run.write_all(
            [
                ("call", {"digest": digest, **call}, self._feature),
                ("settled", {"digest": digest, "unanswered": 0}, self._feature),
            ]
        )
        self._known[digest] = call

    def asked(self, digest: str, expected: Usage) -> None:
        """An attempt at a call is about to be sent."""
        payload = {"digest": digest, "expected": expected.model_dump()}
        self._run.write("asked", payload, self._feature)

    def gave_up(self, digest: str, maybe_paid: bool) -> None:
        """No reply came. maybe_paid: whether it may have been paid for all the same."""
        payload = {"digest": digest, "unanswered": int(maybe_paid)}
        self._run.write("settled", payload, self._feature)

    @property
    def is_empty(self) -> bool:
        """Whether none has come back yet."""
        return not self._known

    @cached_property
    def _known(self) -> dict[str, dict[str, Any]]:
        events = self._run.events(self._feature, ["call"])
        with self._run.reading(self._feature):
            for event in events:
                Reply.model_validate(event.payload["reply"])
            return {event.payload["digest"]: event.payload for event in events}


def unanswered(events: Iterable[Event]) -> list[Usage]:
    """Attempts that may have been paid for though no reply came, each with what was expected of it.

    events: of the kinds "asked" and "settled", of one feature. What was asked and never settled was
    under way when its process ended.
    """
    found: list[Usage] = []
    under_way: dict[str, Usage] = {}
    for event in events:
        digest = event.payload["digest"]
        before = under_way.pop(digest, None)
        if event.kind == "asked":
            found += [before] if before else []
            under_way[digest] = Usage.model_validate(event.payload["expected"])
        elif before:
            found += [before] * event.payload["unanswered"]
    return [*found, *under_way.values()]


class JudgingCalls(RunCalls):
    """The calls that judge one feature's explanation and its controls, and what they took."""

    def __init__(self, run: Run, feature: int):
        super().__init__(run, feature)
        self._asked: dict[str, dict[str, Any]] = {}

    def get(self, digest: str) -> dict[str, Any] | None:
        """See RunCalls."""
        call = super().get(digest)
        if call is not None:
            self._asked[digest] = call
        return call

    def put(self, digest: str, call: dict[str, Any]) -> None:
        """See RunCalls."""
        super().put(digest, call)
        self._asked[digest] = call

    def cost(self, charge: Callable[[Usage], Charge]) -> dict[str, float]:
        """The calls, tokens and dollars ("cost", "unpriced") since this was last asked.

        Each call counts once, for the "scored" event that comes after it: however often a job is
        broken off, and however many scorers put the same question.
        """
        spending = Spending(Budget.of_run())
        for digest in self._asked.keys() - self._counted:
            spending.count(charge(Usage.model_validate(self._asked[digest]["reply"]["usage"])))
        self._counted.update(self._asked)
        spent = spending.spent()
        return {name: spent[name] for name in ("calls", "tokens", "cost", "unpriced")}

    @cached_property
    def _counted(self) -> set[str]:
        """The calls before the last "scored" event: their cost stands in one."""
        counted: set[str] = set()
        since: list[str] = []
        for event in self._run.events(self._feature, ["call", "scored"]):
            if event.kind == "call":
                since.append(event.payload["digest"])
            else:
                counted.update(since)
        return counted


def spending_of(run: Run, minds: Sequence[Mind], budget: Budget) -> Spending:
    """What a run has spent of its budget, from the calls in its journal.

    minds: those that may have made them; calls of others count without a price. So a cap holds
    however often the run is broken off. Attempts without a reply that may have been paid for count
    with what was expected of them. The seconds are those from now on.
    """
    spending = Spending(budget)
    if all(getattr(budget, cap.name) is None for cap in fields(budget)):
        return spending
    # Of runs that people made, the mind is whatever they called themselves.
    asked = [mind.client() for mind in minds if ":" in mind.name]
    clients = {client.address: client for client in asked}
    if not clients:
        return spending
    for feature in run.features:
        calls, asks = run.events(feature, ["call"]), run.events(feature, ["asked", "settled"])
        with run.reading(feature):
            for event in calls:
                usage = Usage.model_validate(event.payload["reply"]["usage"])
                client = clients.get(event.payload["address"])
                spending.count(client.charge(usage) if client else Charge(usage.tokens, None))
            for usage in unanswered(asks):
                charges = [client.charge(usage) for client in clients.values()]
                spending.count(max(charges, key=lambda charge: charge.cost or 0.0))
    return spending
