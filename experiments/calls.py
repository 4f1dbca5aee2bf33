"""Calls of language models in the journal: a call that is there is never paid for again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from functools import cached_property
from typing import Any

from ..agents.budget import Budget, Spending
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


def spending_of(run: Run, mind: Mind, budget: Budget) -> Spending:
    """What a run has spent of its budget, from the calls in its journal.

    So a cap holds however often the run is broken off. Attempts without a reply that may have been
    paid for count with what was expected of them. The seconds are those from now on.
    """
    spending = Spending(budget)
    if not mind.is_language_model or all(
        getattr(budget, cap.name) is None for cap in fields(budget)
    ):
        return spending
    client = mind.client()
    for feature in run.features:
        calls, asks = run.events(feature, ["call"]), run.events(feature, ["asked", "settled"])
        with run.reading(feature):
            paid = [Usage.model_validate(event.payload["reply"]["usage"]) for event in calls]
            for usage in (*paid, *unanswered(asks)):
                spending.count(client.charge(usage))
    return spending
