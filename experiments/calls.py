"""Calls of language models in the journal: a call that is there is never paid for again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
