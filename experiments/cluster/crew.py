"""The driver's side: a crew of workers, what they are given to do, and what is done with what they say."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ...agents.budget import Spending
from ...agents.llm.client import Client
from ...agents.minds.choice import Mind
from ...sae.errors import ClusterError, JournalError, SagescopeError, first_line
from ..calls import RunCalls
from ..explained import RunExplainer
from ..jobs import Job
from ..journal import Run
from ..results import standing_events
from ..scored import RunScorer
from .asking import add, counts_of, since
from .copies import to_copy
from .messages import (
    COUNTED,
    Account,
    Answer,
    Asked,
    Assignment,
    Card,
    Counts,
    Ended,
    Wrote,
    nothing,
)

log = logging.getLogger(__name__)

#: A feature fails when so many workers in a row were lost with it and it came no further; to the last
#: of them it is given alone, so that it does not take others with it.
LOST_WITH = 3
#: What shows that a feature comes further: events that no attempt at it repeats.
FURTHER = ("facts", "measured", "steered", "call", "said_at_once", "scored")
#: So many workers lost in a row, none of which came to work, end the run.
STILLBORN = 3


@dataclass
class _Task:
    """A feature on its way through a stage.

    lost: how many workers were lost with it where it is. reached: how far it had come when the last
    one was lost, in events of FURTHER.
    """

    number: int
    stage: Literal["explain", "score"]
    feature: int
    done: asyncio.Future[None]
    lost: int = 0
    reached: int = -1

    @property
    def is_suspect(self) -> bool:
        return self.lost >= LOST_WITH - 1


class Crew:
    """Workers that take features through the stages of a job. Use `Hall.crew` to have one."""

    def __init__(
        self, workers: int, job: Job, run: Run, explainer: RunExplainer, scorer: RunScorer
    ):
        self.workers, self.job, self.run = workers, job, run
        self.spending = explainer.spending
        self._explainer, self._scorer = explainer, scorer
        self.tasks: asyncio.PriorityQueue[tuple[int, int, _Task]] = asyncio.PriorityQueue()
        self.at_once = job.at_once
        self._numbers = itertools.count()
        self._clients: dict[tuple[int, str], Client] = {}

    # ---------------------------------------------------------------- stages

    async def explain(self, feature: int) -> None:
        """Have one feature explained, unless that is done."""
        if not self._explainer.is_to_begin(feature):
            return
        self.at_once = self.job.at_once
        try:
            await self._done("explain", feature)
        except _Lost as lost:
            self._explainer.give_up(feature, lost.error)
        self._read_again(feature)

    async def score(self, feature: int) -> None:
        """Have one feature and its controls scored, as far as that is not done."""
        if not self._scorer.is_to_score(feature):
            return
        self.at_once = self.job.scored_at_once
        try:
            await self._done("score", feature)
        except _Lost as lost:
            self._scorer.give_up(feature, lost.error)
        self._read_again(feature)

    async def _done(self, stage: Literal["explain", "score"], feature: int) -> None:
        done = asyncio.get_running_loop().create_future()
        task = _Task(next(self._numbers), stage, feature, done)
        self.put(task)
        try:
            await done
        finally:
            for key in [key for key in self._clients if key[0] == feature]:
                del self._clients[key]

    def _read_again(self, feature: int) -> None:
        standing = standing_events(self.run, feature).get(feature, {})
        self._explainer.standing[feature] = standing

    # ---------------------------------------------------------------- for those who employ workers

    def put(self, task: _Task) -> None:
        """Let a worker take it; what was lost comes first."""
        self.tasks.put_nowait((-task.lost, task.number, task))

    def lose(self, task: _Task) -> None:
        """A worker was lost with it. Whatever it was lost to, what comes further is tried again."""
        if task.done.done():
            return
        reached = len(self.run.events(task.feature, FURTHER))
        task.lost = 1 if reached > task.reached else task.lost + 1
        task.reached = reached
        if task.lost < LOST_WITH:
            self.put(task)
        else:
            what = f"{LOST_WITH} workers were lost while they had feature {task.feature}"
            error = ClusterError(f"{what}, which came no further: see Ray's log of them.")
            task.done.set_exception(_Lost(error))

    def assignment(self, task: _Task) -> Assignment:
        """What a worker has to know of a task."""
        other = None
        if task.stage == "score" and (index := self._scorer.other_of(task.feature)) is not None:
            other = index, self._scorer.standing[index]["concluded"]
        events = to_copy(self.run.events(task.feature))
        spent, seconds = counts_of(self.spending), self.spending.seconds
        return Assignment(task.number, task.stage, task.feature, events, spent, seconds, other)

    def client(self, feature: int, spec: str) -> Client:
        """The client that a feature's calls go through: it asks nothing twice, whoever asks it."""
        known = self._clients.get((feature, spec))
        if known is None:
            known = Mind(spec, calls=RunCalls(self.run, feature)).client()
            self._clients[feature, spec] = known
        return known


class _Lost(Exception):
    """A feature with which too many workers were lost."""

    def __init__(self, error: ClusterError):
        super().__init__(str(error))
        self.error = error


def cards_of(job: Job) -> dict[str, Card]:
    """What a job's workers have to know of its language models."""
    minds = [mind for mind in (Mind(job.mind), job.choice.mind) if mind and mind.is_language_model]
    clients = {mind.name: mind.client() for mind in minds}
    return {
        spec: Card(client.provider, client.model, client.address, getattr(client, "price", None))
        for spec, client in clients.items()
    }


@contextlib.asynccontextmanager
async def at_work(
    crew: Crew, hire: Callable[[], Any], fire: Callable[[Any], None]
) -> AsyncIterator[Crew]:
    """The crew with its workers, one hired for each that is lost, until the block ends."""
    try:
        async with asyncio.TaskGroup() as group:
            places = [
                group.create_task(_place(crew, hire, fire, group)) for _ in range(crew.workers)
            ]
            yield crew
            for place in places:
                place.cancel()
    except BaseExceptionGroup as errors:
        # As in a job without workers: the first says enough.
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _place(
    crew: Crew, hire: Callable[[], Any], fire: Callable[[Any], None], group: asyncio.TaskGroup
) -> None:
    """Employ one worker after another, as long as the crew is at work."""
    import ray.exceptions

    stillborn = 0
    while True:
        worker = hire()
        employment = _Employment(crew, worker, group)
        try:
            await employment.last()
        except ray.exceptions.RayTaskError as error:
            raise ClusterError(f"A worker broke off ({first_line(error)}): report it.") from error
        except ray.exceptions.RayError as error:
            stillborn = 0 if employment.came else stillborn + 1
            if stillborn == STILLBORN:
                raise ClusterError(
                    f"{STILLBORN} workers in a row were lost before they came to work "
                    f"({_last_line(error)}): see Ray's logs, or give each more (--worker-cpus, "
                    f"--worker-gpus)."
                ) from error
            log.warning("A worker was lost. Another one takes up its features.")
            employment.lose()
        finally:
            fire(worker)


@dataclass
class _Employment:
    """One worker, from its hiring until it is lost or no longer needed.

    came: whether it has come to work. held: what is its to do, by number. begun: what of it was given
    to it; what is to be done alone waits until the rest is done.
    """

    crew: Crew
    worker: Any
    group: asyncio.TaskGroup
    came: bool = False
    held: dict[int, _Task] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    _fewer: asyncio.Event = field(default_factory=asyncio.Event)
    _accounts: dict[tuple[int, int], tuple[Spending, Counts]] = field(default_factory=dict)

    async def last(self) -> None:
        """Give it tasks, and do what it asks. Ends with Ray's error when the worker is lost."""
        _, wrong = await self.worker.open.remote()
        if wrong:
            raise ClusterError(f"A worker cannot begin: {wrong}")
        self.came = True
        giving = self.group.create_task(self._give())
        try:
            while True:
                for message in await self.worker.messages.remote():
                    self._heed(message)
        finally:
            giving.cancel()

    def lose(self) -> None:
        """Have its tasks taken up by others."""
        for task in self.held.values():
            if task.number in self.begun:
                self.crew.lose(task)
            else:
                self.crew.put(task)

    # ---------------------------------------------------------------- giving

    async def _give(self) -> None:
        while True:
            await self._until(lambda: len(self.held) < self.crew.at_once)
            _, _, task = await self.crew.tasks.get()
            self.held[task.number] = task
            if task.is_suspect:
                await self._until(lambda: len(self.held) == 1)
            self.begun.add(task.number)
            # Not awaited: where the worker is lost, what it has to say fails, too.
            self.worker.begin.remote(self.crew.assignment(task))
            if task.is_suspect:
                await self._until(lambda: not self.held)

    async def _until(self, so: Callable[[], bool]) -> None:
        while not so():
            self._fewer.clear()
            await self._fewer.wait()

    # ---------------------------------------------------------------- heeding

    def _heed(self, message: Any) -> None:
        if isinstance(message, Wrote):
            self.crew.run.write_all(message.events)
        elif isinstance(message, Asked):
            self.group.create_task(self._ask(message, self.held[message.number].feature))
        elif isinstance(message, Ended):
            task = self.held.pop(message.number)
            self.begun.discard(message.number)
            for key in [key for key in self._accounts if key[0] == message.number]:
                del self._accounts[key]
            self._fewer.set()
            if task.done.done():
                return
            if message.error:
                error = f"A worker broke off at feature {task.feature}: {message.error}"
                task.done.set_exception(ClusterError(error))
            else:
                task.done.set_result(None)

    async def _ask(self, asked: Asked, feature: int) -> None:
        """Make a call. It goes on when the worker is lost: its reply is for whoever asks again."""
        spending, reply, error = None, None, None
        if asked.account:
            spending = self._spending(asked.number, asked.account)
        try:
            client = self.crew.client(feature, asked.spec)
            reply = await client.complete(asked.request, spending, asked.leaving)
        except JournalError:
            raise
        except SagescopeError as caught:
            error = caught
        more = nothing()
        if spending and asked.account:
            key = asked.number, asked.account.token
            more = (
                since(counts_of(spending), self._accounts[key][1])
                if key in self._accounts
                else more
            )
            self._accounts[key] = spending, counts_of(spending)
        cut = spending is not None and spending.cut_by_run
        run = counts_of(self.crew.spending)
        self.worker.answer.remote(Answer(asked.call, reply, error, more, run, cut))

    def _spending(self, number: int, account: Account) -> Spending:
        """The driver's Spending for a worker's, with what was counted there since."""
        key = number, account.token
        if key not in self._accounts:
            began = time.monotonic() - account.seconds
            spending = Spending(account.budget, started=began, run=self.crew.spending)
            self._accounts[key] = spending, nothing()
        spending, reported = self._accounts[key]
        add(spending, account.more)
        told = {name: reported[name] + account.more[name] for name in COUNTED}
        self._accounts[key] = spending, told
        return spending


def _last_line(error: Exception) -> str:
    """What Ray's long messages end with: the error that it all began with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(")") if lines else type(error).__name__
