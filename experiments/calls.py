"""Calls of language models in the journal: a call that is there is never paid for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

from ..agents.budget import Budget, Charge, Spending
from ..agents.llm.client import Usage
from ..agents.minds.choice import Mind
from .journal import Run


class RunCalls:
    """The calls made for one feature of a run (see `agents.llm.recorded.CallLog`)."""

    def __init__(self, run: Run, feature: int):
        self._run, self._feature = run, feature

    def get(self, digest: str) -> dict[str, Any] | None:
        """The call with this digest, or None."""
        return self._known.get(digest)

    def put(self, digest: str, call: dict[str, Any]) -> None:
        """Keep a call; when this returns it is on disk."""
        self._run.write("call", {"digest": digest, **call}, self._feature)
        self._known[digest] = call

    @cached_property
    def _known(self) -> dict[str, dict[str, Any]]:
        events = self._run.events(self._feature, ["call"])
        return {event.payload["digest"]: event.payload for event in events}


def spent_on_scoring(
    spending: Spending | None, before: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The calls, tokens and dollars ("cost", "unpriced") that were spent, since `before`.

    Calls that were answered from the journal count, so that it is the same however often a job was
    broken off.
    """
    spent = (spending or Spending(Budget.of_run())).spent()
    names = ("calls", "tokens", "cost", "unpriced")
    return {name: spent[name] - (before or {}).get(name, 0) for name in names}


def spending_of(run: Run, minds: Sequence[Mind], budget: Budget) -> Spending:
    """What a run has spent of its budget, from the calls in its journal.

    minds: those that may have made them; calls of others count without a price. So a cap holds however
    often the run is broken off. The seconds are those from now on.
    """
    spending = Spending(budget)
    clients = {
        client.address: client
        for client in (mind.client() for mind in minds if mind.is_language_model)
    }
    if not clients or all(getattr(budget, cap.name) is None for cap in fields(budget)):
        return spending
    for feature in run.features:
        for event in run.events(feature, ["call"]):
            with run.reading(feature):
                usage = Usage.model_validate(event.payload["reply"]["usage"])
                client = clients.get(event.payload["address"])
            spending.count(client.charge(usage) if client else Charge(usage.tokens, None))
    return spending
