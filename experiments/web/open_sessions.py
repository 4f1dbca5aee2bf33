"""Open sessions: those that somebody works in through the page, and what is under way in them.

A run is held for writing only while it is used, so that a terminal may take it over; pages are made
from the journal, so that nothing is lost when a session is let go of.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ...sae.errors import SessionError
from ...sae.source import FeatureSource
from ..journal import Journal, Run
from ..sessions.ledger import begin
from ..sessions.session import AsyncSession
from ..sessions.tools import Sessions

#: Seconds after which a run that nobody works in is let go of.
IDLE = 60.0

T = TypeVar("T")


class OpenRun:
    """One run of sessions, held for writing. used: when it last was, by the monotonic clock."""

    def __init__(self, sessions: Sessions, closing: contextlib.ExitStack):
        self.sessions, self.closing = sessions, closing
        self.used = time.monotonic()


class OpenSessions:
    """The sessions of the page. All methods but `holds` and `working` are for its event loop."""

    def __init__(
        self, journal: Journal, source: Callable[[], FeatureSource], *, who: str, mind: str | None
    ):
        self.who, self.mind = who, mind
        self.pulse = 0
        self._journal, self._source = journal, source
        self._runs: dict[str, OpenRun] = {}
        self._tasks: dict[tuple[str, int], tuple[str, asyncio.Task[Any]]] = {}
        self._opening = asyncio.Lock()

    def holds(self, run: str) -> bool:
        """Whether the run is held by this page."""
        return run in self._runs

    def working(self, run: str, feature: int) -> str | None:
        """The verb that is under way in a session, None where it waits for somebody."""
        found = self._tasks.get((run, feature))
        return found[0] if found else None

    async def session(self, run: str, feature: int) -> AsyncSession:
        """The session of one feature, begun or gone on with. Errors: see AsyncSession.open."""
        async with self._opening:
            if run not in self._runs:
                self._runs[run] = await asyncio.to_thread(self._begin, run, feature)
            opened = self._runs[run]
            opened.used = time.monotonic()
            return await opened.sessions.of(feature)

    def _begin(self, run: str, feature: int) -> OpenRun:
        source = self._source()
        with contextlib.ExitStack() as stack:
            begun, _ = stack.enter_context(
                begin(source, run=run, journal=self._journal, mind=self.mind, feature=feature)
            )
            return OpenRun(Sessions(source, begun, self.who), stack.pop_all())

    async def do(
        self,
        run: str,
        feature: int,
        verb: str,
        work: Callable[[AsyncSession], Coroutine[Any, Any, T]],
    ) -> T:
        """Do one thing in a session. It goes on when whoever asked has left; `stop` ends it.

        Raises SessionError while another thing is under way there, or when it was stopped.
        """
        place = (run, feature)
        if place in self._tasks:
            raise SessionError(
                f"“{self._tasks[place][0]}” is under way in this session: wait, or stop it."
            )
        session = await self.session(run, feature)
        task = asyncio.create_task(work(session))
        self._tasks[place] = verb, task
        task.add_done_callback(lambda _: self._ended(place))
        self.pulse += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise SessionError(
                    f"“{verb}” was stopped. What was done until then stands."
                ) from None
            raise

    def stop(self, run: str, feature: int) -> None:
        """Stop what is under way. Raises SessionError where nothing is."""
        found = self._tasks.get((run, feature))
        if not found:
            raise SessionError("Nothing is under way in this session.")
        found[1].cancel()

    def _ended(self, place: tuple[str, int]) -> None:
        self._tasks.pop(place, None)
        self.pulse += 1
        if place[0] in self._runs:
            self._runs[place[0]].used = time.monotonic()

    def let_go(self, idle: float = IDLE) -> None:
        """Let go of the runs that nobody has worked in for `idle` seconds."""
        busy = {run for run, _ in self._tasks}
        for name, opened in list(self._runs.items()):
            if name not in busy and time.monotonic() - opened.used >= idle:
                del self._runs[name]
                opened.closing.close()
                self.pulse += 1

    async def close(self) -> None:
        """Stop everything, and let go of all runs."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.let_go(idle=0.0)


def has_session(run: Run, feature: int) -> bool:
    """Whether a run has a session of the feature."""
    return run.config.get("explainer") == "session" and bool(run.events(feature, ["started"]))
