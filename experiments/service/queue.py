"""Whose turn it is: a bounded queue in front of the model that is fair between clients.

Each request brings pieces of work with what they cost, in tokens. Clients take turns (deficit round
robin, Shreedhar & Varghese 1995): whoever's turn it is gets a quantum of tokens to start work with,
so that a client with ten thousand texts waits for its own and not before everybody else's. Work is
started as long as fewer than `running_tokens` are running; the host batches what was started.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from ...sae.encoder import ALIGN, TOKENS_PER_PASS
from ...sae.errors import ServiceError
from .limits import Limits

T = TypeVar("T")

#: Tokens that a client may start in its turn: a quarter of a pass.
QUANTUM = TOKENS_PER_PASS // 4
#: Bytes of text to a token, where they were not counted.
BYTES_PER_TOKEN = 4
#: How fast the model is taken to be before anything was measured, in tokens a second.
FIRST_RATE = 500.0
#: The longest time that a client is told to wait, in seconds.
LONGEST_WAIT = 60


class Full(ServiceError):
    """The queue is full. retry_after: in so many seconds there should be room."""

    def __init__(self, retry_after: int):
        super().__init__(
            f"The service has as much waiting as it takes on: try again in {retry_after} s."
        )
        self.retry_after = retry_after


@dataclass(eq=False)
class _Turn:
    """A piece of work that waits. go: set when it may start."""

    cost: int
    go: asyncio.Future[None]


@dataclass
class _Client:
    """What one client has waiting, and what it may still start in its turn."""

    turns: deque[_Turn] = field(default_factory=deque)
    credit: int = 0


class Queue:
    """Admits work and gives it its turn. For one event loop.

    `requests`, `waiting_tokens` and `running_tokens` say how much was admitted and is not done.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self.requests = self.waiting_tokens = self.running_tokens = 0
        self._rate = FIRST_RATE

    async def run(
        self, client: str, work: Sequence[tuple[int, Callable[[], Awaitable[T]]]]
    ) -> list[T]:
        """What the pieces of a request's work give, in order.

        client: who asks. work: of each piece, its cost in tokens and how to do it. A piece whose
        waiter is cancelled leaves the queue. Raises Full where there is no room for all of it.
        """
        self._admit(sum(cost for cost, _ in work))
        self.requests += 1
        try:
            if len(work) == 1:
                return [await self._with_turn(client, *work[0])]
            return await _all([self._with_turn(client, *piece) for piece in work])
        finally:
            self.requests -= 1

    def _admit(self, cost: int) -> None:
        full = self.requests >= self._limits.queue_requests
        # A request larger than the queue gets in when nothing else waits.
        full |= self.waiting_tokens > 0 and self.waiting_tokens + cost > self._limits.queue_tokens
        if full:
            ahead = self.waiting_tokens + self.running_tokens
            raise Full(min(LONGEST_WAIT, max(1, math.ceil(ahead / self._rate))))

    async def _with_turn(self, client: str, cost: int, do: Callable[[], Awaitable[T]]) -> T:
        async with self._turn(client, cost):
            return await do()

    @asynccontextmanager
    async def _turn(self, client: str, cost: int) -> AsyncIterator[None]:
        """Wait for the turn of one piece of work; it runs inside the block."""
        turn = _Turn(cost, asyncio.get_running_loop().create_future())
        self._clients.setdefault(client, _Client()).turns.append(turn)
        self.waiting_tokens += cost
        self._start()
        try:
            await turn.go
        except asyncio.CancelledError:
            if turn.go.cancelled():
                self._leave(client, turn)
            else:
                # Its turn had just come.
                self._end(cost)
            raise
        began = time.monotonic()
        try:
            yield
            # Little's law, as a running mean: what was fast for a moment says little.
            rate = self.running_tokens / max(1e-3, time.monotonic() - began)
            self._rate += 0.1 * (rate - self._rate)
        finally:
            self._end(cost)

    def _start(self) -> None:
        """Let work begin, client by client, until enough is running."""
        while self._clients and self._has_room(next(iter(self._clients.values())).turns[0].cost):
            name, client = next(iter(self._clients.items()))
            if client.credit < client.turns[0].cost:
                client.credit += QUANTUM
                self._clients.move_to_end(name)
                continue
            turn = client.turns[0]
            self._take(name, turn)
            if not turn.go.cancelled():  # whoever waited for it may have left just now
                client.credit -= turn.cost
                self.running_tokens += turn.cost
                turn.go.set_result(None)

    def _has_room(self, cost: int) -> bool:
        return not self.running_tokens or self.running_tokens + cost <= self._limits.running_tokens

    def _leave(self, name: str, turn: _Turn) -> None:
        if name in self._clients and turn in self._clients[name].turns:
            self._take(name, turn)
        self._start()

    def _take(self, name: str, turn: _Turn) -> None:
        client = self._clients[name]
        client.turns.remove(turn)
        if not client.turns:
            del self._clients[name]
        self.waiting_tokens -= turn.cost

    def _end(self, cost: int) -> None:
        self.running_tokens -= cost
        self._start()


async def _all(several: Sequence[Awaitable[T]]) -> list[T]:
    """As gather, but nothing goes on once one has failed."""
    tasks = [asyncio.ensure_future(one) for one in several]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def cost_of(text: str) -> int:
    """About how many tokens a text takes in a pass, where rows are aligned."""
    tokens = 1 + len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN
    return -(-tokens // ALIGN) * ALIGN


def pieces(texts: Sequence[str]) -> list[list[str]]:
    """Texts in order, in pieces that cost a quantum each (or a single text that costs more)."""
    found: list[list[str]] = []
    left = 0
    for text in texts:
        cost = cost_of(text)
        if cost > left:
            found.append([])
            left = QUANTUM
        found[-1].append(text)
        left -= cost
    return found
