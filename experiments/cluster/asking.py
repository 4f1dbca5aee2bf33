"""A worker's side of calls: clients that ask the driver, and the books that both keep alike.

A Spending is counted in two places: in the worker, whose loop counts probes, rounds and replayed
calls in it, and in the driver, where calls are reserved and settled under all caps. Each tells the
other what it has counted since they last spoke, so that the sums agree whatever the order.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...agents.budget import Charge, Spending
from ...agents.llm.client import Attempts, Reply, Request, Usage
from .messages import COUNTED, Account, Answer, Card, Counts, nothing

#: Sends a call to the driver: (spec, request, account, leaving) → what came of it.
Ask = Callable[[str, Request, Account | None, Charge | None], Awaitable[Answer]]


def counts_of(spending: Spending) -> Counts:
    """What it has counted of calls."""
    return {name: getattr(spending, name) for name in COUNTED}


def add(spending: Spending, more: Counts) -> None:
    """Count what was counted elsewhere."""
    for name, amount in more.items():
        setattr(spending, name, getattr(spending, name) + amount)


def since(now: Counts, before: Counts) -> Counts:
    """What was counted since."""
    return {name: now[name] - before[name] for name in COUNTED}


@dataclass
class _Book:
    """A Spending that the driver knows. told: what both have counted."""

    token: int
    spending: Spending
    told: Counts


class Books:
    """The Spendings of one assignment that calls were counted in."""

    def __init__(self) -> None:
        self._books: dict[int, _Book] = {}
        self._tokens = itertools.count()

    def account(self, spending: Spending) -> Account:
        """What the driver has to know of a Spending, and what it does not know of it yet."""
        book = self._of(spending)
        now = counts_of(spending)
        more, book.told = since(now, book.told), now
        return Account(book.token, spending.budget, spending.seconds, more)

    def settle(self, spending: Spending, answer: Answer) -> None:
        """Count what the driver has counted."""
        book = self._of(spending)
        add(spending, answer.more)
        book.told = {name: book.told[name] + answer.more[name] for name in COUNTED}
        spending.cut_by_run = spending.cut_by_run or answer.cut_by_run
        if spending.run is not None:
            for name in COUNTED:
                newest = max(getattr(spending.run, name), answer.run[name])
                setattr(spending.run, name, newest)

    def _of(self, spending: Spending) -> _Book:
        # The book holds the Spending, so that no other one gets its id.
        known = self._books.get(id(spending))
        if known is None:
            known = _Book(next(self._tokens), spending, nothing())
            self._books[id(spending)] = known
        return known


class AskingClient:
    """A client (see `agents.llm.client.Client`) whose calls the driver makes."""

    def __init__(self, spec: str, card: Card, books: Books, ask: Ask):
        self.provider, self.model, self.address = card.provider, card.model, card.address
        self._spec, self._price, self._books, self._ask = spec, card.price, books, ask

    def charge(self, usage: Usage) -> Charge:
        """See Client."""
        return Charge(usage.tokens, self._price.cost(usage) if self._price else None)

    async def complete(
        self,
        request: Request,
        spending: Spending | None = None,
        leaving: Charge | None = None,
        attempts: Attempts | None = None,
    ) -> Reply:
        """See Client. `attempts` is not told anything: the driver's journal is."""
        account = self._books.account(spending) if spending else None
        answer = await self._ask(self._spec, request, account, leaving)
        if spending:
            self._books.settle(spending, answer)
        if answer.error is not None:
            raise answer.error
        assert answer.reply is not None
        return answer.reply
