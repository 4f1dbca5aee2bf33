"""How many calls go to one provider at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from ...sae.errors import ProviderBusy, ProviderDown


class Limiter:
    """How many calls go to one provider at once: grows while all is well, halves when it is not.

    As TCP does it: one more place for each call that comes back, until the provider first complains;
    from then on one more for each round of calls. Complaints about calls that had begun before the
    last halving are part of the same congestion.
    """

    def __init__(self, limit: float, most: int = 256):
        self.limit, self.most = limit, most
        self.under_way = 0
        self._begun = 0
        self._halved_at = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one call, when there is one. What the call raises tells how it went."""
        call, ok = await self._enter(), None
        try:
            yield
            ok = True
        except (ProviderBusy, ProviderDown):
            ok = False
            raise
        finally:
            self._leave(call, ok)

    # ---------------------------------------------------------------- inside

    async def _enter(self) -> int:
        while self.under_way >= int(self.limit):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(place)
                self._wake()
                raise
        self.under_way += 1
        self._begun += 1
        return self._begun

    def _leave(self, call: int, ok: bool | None) -> None:
        self.under_way -= 1
        if ok:
            step = 1 / self.limit if self._halved_at else 1
            self.limit = min(self.most, self.limit + step)
        elif ok is False and call > self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = self._begun
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self.under_way
        while self._waiting and free > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1
