"""A client over a wire: limits, attempts, budgets, and failures told in one sentence without keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ...sae.errors import ProviderError, RequestRefused
from ..budget import Charge, Spending
from .client import Attempts, Reply, Request, Usage
from .failures import failure
from .keys import without_keys
from .limiter import Limiter
from .prices import Price, price_of
from .retry import Patience
from .shared import shared, shared_connection
from .wires import Wire

T = TypeVar("T")

#: Statuses of servers that do not know a part of a request.
MENDABLE = (400, 422)


class ProviderClient:
    """See Client."""

    def __init__(self, wire: Wire, model: str, patience: Patience):
        self.provider, self.model = wire.provider, model
        self.address = f"{wire.provider}:{model} at {wire.place}"
        self.price: Price | None = price_of(wire.provider, model)
        self._wire, self._patience = wire, patience
        wire.package()  # takes a second: better now than while other calls wait

    def __repr__(self) -> str:
        return f"ProviderClient({self.address!r})"

    async def complete(
        self,
        request: Request,
        spending: Spending | None = None,
        leaving: Charge | None = None,
        attempts: Attempts | None = None,
    ) -> Reply:
        """See Client."""
        began = time.monotonic()
        async for attempt in self._patience.attempts_of(spending):
            with attempt:
                reply = await self._attempt(request, spending, leaving, attempts)
                return reply.model_copy(update={"seconds": time.monotonic() - began})
        raise AssertionError("the last attempt returns or raises")

    def charge(self, usage: Usage) -> Charge:
        """What a call of this usage takes."""
        return Charge(usage.tokens, self.price.cost(usage) if self.price else None)

    # ---------------------------------------------------------------- one attempt

    async def _attempt(
        self,
        request: Request,
        spending: Spending | None,
        leaving: Charge | None,
        attempts: Attempts | None,
    ) -> Reply:
        expected = self.charge(request.expected_usage())
        async with self._shared("limiter", lambda: Limiter(self._wire.at_once)).place():
            # Not before there is a place: what waits has spent nothing yet.
            held = await spending.reserve(expected, leaving=leaving) if spending else None
            charged: Charge | None = None
            try:
                if attempts:
                    attempts.begun()
                reply = await self._send(request)
                charged = self.charge(reply.usage)
                return reply
            except asyncio.CancelledError:
                charged = expected  # it may be answered all the same
                raise
            except Exception as error:
                maybe_paid = isinstance(error, ProviderError) and error.maybe_paid
                charged = expected if maybe_paid else None
                if attempts:
                    attempts.failed(maybe_paid)
                raise
            finally:
                if held:
                    held.settle(charged) if charged else held.release()

    async def _send(self, request: Request) -> Reply:
        """Send it; where the provider refuses it, without what it may not know."""
        schema = request.reply_schema.name if request.reply_schema else None
        unknown: dict[str | None, set[str]] = self._shared(f"unknown to {self.model}", dict)
        without = set(unknown.get(schema, ()))
        first_refusal: RequestRefused | None = None
        while True:
            arguments = self._wire.arguments(request, self.model, without)
            try:
                answer = await self._call(arguments)
            except RequestRefused as error:
                first_refusal = first_refusal or error
                left = [name for name in self._wire.optional if name in arguments]
                if not left or error.status not in MENDABLE:
                    raise first_refusal from None
                named = [name for name in left if name in str(error)]
                without.add((named or left)[-1])
            else:
                unknown.setdefault(schema, set()).update(without)
                return self._read(answer, request)

    async def _call(self, arguments: dict[str, Any]) -> Any:
        connection = await self._connection()
        seconds = self._patience.call
        try:
            # The package's own timeout is for silence: a trickle that never ends passes it.
            async with asyncio.timeout(seconds):
                return await self._wire.send(connection, arguments, seconds)
        except (self._wire.package().APIError, TimeoutError, ValueError) as error:
            caught = error
        # Outside of the handler: the package's exception holds the key, and would come along.
        raise failure(caught, self.address, seconds, self._wire.key)

    def _read(self, answer: Any, request: Request) -> Reply:
        with contextlib.suppress(AttributeError, IndexError, TypeError, ValueError):
            reply = self._wire.reply(answer, request)
            # What comes back is kept and shown: no keys in it, and nothing that UTF-8 cannot hold.
            text = without_keys(reply.text, [self._wire.key]).encode("utf-8", "replace").decode()
            return reply.model_copy(update={"text": text})
        raise ProviderError(
            f"{self.address} answered with something else than a reply of its protocol: check the "
            f"base URL and the server.",
            maybe_paid=True,
        )

    # ---------------------------------------------------------------- shared with other clients

    def _shared(self, what: str, make: Callable[[], T]) -> T:
        return shared((what, self.provider, self._wire.base_url), make)

    async def _connection(self) -> Any:
        # The key's digest, so that a changed key gets a connection of its own.
        key = hashlib.sha256((self._wire.key or "").encode()).digest()
        place = "connection", self.provider, self._wire.base_url, key
        return await shared_connection(place, self._wire.connect)
