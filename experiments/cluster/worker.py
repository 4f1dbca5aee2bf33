"""Workers: each an actor with its own feature source, which does what the driver gives it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
import traceback
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

from ...agents.budget import Charge, Spending
from ...agents.llm.client import Client, Request, opened_by
from ...sae.errors import ClusterError, SagescopeError
from ...sae.source import FeatureSource
from ..explained import RunExplainer
from ..jobs import scorer_of
from ..results import standing_events
from .asking import Account, AskingClient, Books, add
from .copies import CopiedRun, copied
from .messages import Answer, Asked, Assignment, Brief, Ended, Entry, Message, Wrote


class Worker:
    """Takes features through stages; see `cluster` for what it says to the driver and when."""

    def __init__(self, brief: Brief):
        self._brief = brief
        self._source: FeatureSource | None = None
        self._out: list[Message] = []
        self._something = asyncio.Event()
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._calls = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    # ---------------------------------------------------------------- what the driver calls

    async def open(self) -> tuple[int, str | None]:
        """Open the source. Returns the process id, and in one sentence what is wrong, if anything."""
        # Events come from threads, too; Ray's loop is known only here.
        self._loop = asyncio.get_running_loop()
        try:
            self._source = await asyncio.to_thread(self._opened)
        except SagescopeError as error:
            return os.getpid(), str(error)
        return os.getpid(), None

    async def begin(self, assignment: Assignment) -> None:
        """Begin an assignment; its end is a message."""
        task = asyncio.create_task(self._do(assignment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def messages(self) -> list[Message]:
        """What is to be said, as soon as there is something."""
        await self._something.wait()
        self._something.clear()
        said, self._out = self._out, []
        return said

    async def answer(self, answer: Answer) -> None:
        """Take the answer to what was asked."""
        self._answers.pop(answer.call).set_result(answer)

    # ---------------------------------------------------------------- inside

    def _opened(self) -> FeatureSource:
        source = self._brief.make()
        # Through JSON and back, as the run's configuration went.
        here = json.loads(json.dumps({"evidence": source.key, "sagescope": version("sagescope")}))
        if differing := sorted(_differing(here, self._brief.config)):
            raise ClusterError(
                f"its features are not the run's (they differ in {', '.join(differing)}). Give --dtype, "
                f"and every machine the same files and the same Sagescope."
            )
        source.cover(self._brief.job.features)
        return source

    def _say(self, message: Message) -> None:
        def say() -> None:
            self._out.append(message)
            self._something.set()

        # In the order of the saying, whichever thread it comes from.
        self._loop.call_soon_threadsafe(say)

    async def _do(self, assignment: Assignment) -> None:
        def send(events: list[Entry]) -> None:
            self._say(Wrote(assignment.number, events))

        books, error = Books(), None
        brief = self._brief
        try:
            with (
                copied(brief.run, brief.config, assignment.events, send) as run,
                opened_by(partial(self._client, assignment.number, books)),
            ):
                await self._staged(assignment, run)
        except Exception:
            error = traceback.format_exc()
        self._say(Ended(assignment.number, error))

    async def _staged(self, assignment: Assignment, run: CopiedRun) -> None:
        job, feature, source = self._brief.job, assignment.feature, self._source
        assert source is not None
        spending = Spending(job.run_budget, started=time.monotonic() - assignment.seconds)
        add(spending, assignment.spent)
        standing = standing_events(run)
        if assignment.stage == "explain":
            await RunExplainer(source, run, job, standing, spending).explain(feature)
            return
        if assignment.other:
            other, concluded = assignment.other
            standing[other] = {"concluded": concluded}
        await scorer_of(job, source, run, standing, spending).score(feature)

    def _client(self, number: int, books: Books, spec: str) -> Client:
        async def ask(
            spec: str, request: Request, account: Account | None, leaving: Charge | None
        ) -> Answer:
            call = next(self._calls)
            answer = self._answers[call] = asyncio.get_running_loop().create_future()
            self._say(Asked(number, call, spec, request, account, leaving))
            return await answer

        return AskingClient(spec, self._brief.cards[spec], books, ask)


def _differing(here: Any, there: Any) -> Iterator[str]:
    """The names of what differs in two dictionaries, as deep as they go."""
    for name, value in here.items():
        other = there.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differing(value, other)
        elif value != other:
            yield name
