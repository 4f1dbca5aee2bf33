"""Calls that are in a log already: answered from there, for nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from ..budget import Charge, Spending
from .client import Attempts, Client, Reply, Request, Usage


class CallLog(Protocol):
    """Where calls are kept, by the digest of their exact request."""

    def get(self, digest: str) -> dict[str, Any] | None:
        """What `put` was given for this digest, or None."""
        ...

    def put(self, digest: str, call: dict[str, Any]) -> None:
        """Keep a call (JSON values) for good: when this returns, no crash loses it."""
        ...

    def asked(self, digest: str, expected: Usage) -> None:
        """It is about to be sent. What is neither put nor given up may have been paid for."""
        return

    def gave_up(self, digest: str, maybe_paid: bool) -> None:
        """No reply came. maybe_paid: whether it may have been paid for all the same."""
        return


class RecordedClient:
    """A client that asks no question twice.

    A call in the log costs nothing; equal requests at the same time are sent once. Both count in
    the spending of whoever asks, not in its run's (see Spending).
    """

    def __init__(self, client: Client, calls: CallLog):
        self.provider, self.model, self.address = client.provider, client.model, client.address
        self._client, self._calls = client, calls
        self._under_way: dict[str, asyncio.Future[None]] = {}

    def charge(self, usage: Usage) -> Charge:
        """See Client."""
        return self._client.charge(usage)

    async def complete(
        self,
        request: Request,
        spending: Spending | None = None,
        leaving: Charge | None = None,
        attempts: Attempts | None = None,
    ) -> Reply:
        """See Client. `attempts` is not told anything: the log is."""
        digest = request.digest(self.address)
        while digest in self._under_way:
            await asyncio.wait([self._under_way[digest]])
        if call := self._calls.get(digest):
            reply = Reply.model_validate(call["reply"])
            return await self._replayed(reply, request, spending, leaving)
        done = self._under_way[digest] = asyncio.get_running_loop().create_future()
        try:
            logged = _Logged(self._calls, digest, request.expected_usage())
            reply = await self._client.complete(request, spending, leaving, logged)
            call = {"address": self.address, "request": request.model_dump(mode="json")}
            self._calls.put(digest, {**call, "reply": reply.model_dump(mode="json")})
            return reply
        finally:
            del self._under_way[digest]
            done.set_result(None)

    async def _replayed(
        self, reply: Reply, request: Request, spending: Spending | None, leaving: Charge | None
    ) -> Reply:
        if spending:
            expected = self.charge(request.expected_usage())
            held = await spending.reserve(expected, leaving=leaving, replayed=True)
            held.settle(self.charge(reply.usage))
        return reply.model_copy(update={"replayed": True})


@dataclass(frozen=True)
class _Logged:
    """Attempts at one call, in the log before they are sent: so also a crash leaves a trace."""

    calls: CallLog
    digest: str
    expected: Usage

    def begun(self) -> None:
        self.calls.asked(self.digest, self.expected)

    def failed(self, maybe_paid: bool) -> None:
        self.calls.gave_up(self.digest, maybe_paid)
