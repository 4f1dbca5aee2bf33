"""Calls of language models in the journal: a call that is there is never paid for again."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from typing import Any

from ..agents.budget import Budget, Spending
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


def spending_of(run: Run, mind: Mind, budget: Budget) -> Spending:
    """What a run has spent of its budget, from the calls in its journal.

    So a cap holds however often the run is broken off. The seconds are those from now on.
    """
    spending = Spending(budget)
    if not mind.is_language_model or all(
        getattr(budget, cap.name) is None for cap in fields(budget)
    ):
        return spending
    client = mind.client()
    for feature in run.features:
        for event in run.events(feature, ["call"]):
            with run.reading(feature):
                usage = Usage.model_validate(event.payload["reply"]["usage"])
            spending.count(client.charge(usage))
    return spending
