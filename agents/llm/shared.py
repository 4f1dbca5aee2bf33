"""What all clients of one event loop share, such as connections."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

#: Connections and queues belong to the event loop that made them.
_SHARED: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Any]] = (
    weakref.WeakKeyDictionary()
)


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """The running event loop's one object of this key."""
    things = _SHARED.setdefault(asyncio.get_running_loop(), {})
    return things[key] if key in things else things.setdefault(key, make())


async def shared_connection(key: Hashable, make: Callable[[], T]) -> T:
    """The same, of something that is to be closed when the loop ends.

    asyncio.run and its kin close the asynchronous generators that are still open, so nobody has to
    hand the closing through all that explains features.
    """
    life = shared(key, lambda: _Life(make()))
    await life.begin()
    return life.connection


class _Life:
    def __init__(self, connection: Any):
        self.connection = connection
        self._until_closed = self._open()
        self._begun = False

    async def begin(self) -> None:
        if not self._begun:
            self._begun = True
            await anext(self._until_closed)

    async def _open(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            # A generator that was begun holds its loop, so the loop would never be let go of.
            _SHARED.pop(asyncio.get_running_loop(), None)
            await self.connection.close()
