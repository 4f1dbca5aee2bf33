"""Sessions for plain Python, in notebooks too: the verbs of `AsyncSession`, each run to its end.

    session = Session.open(source, 17, run="mine")
    session.exemplars("top")           # shaded by activation where HTML can be shown
    session.add("fires on boats", rule="word: boat, boats")
    session.probe("The boat sank.", fires=True)
    session.run_probes()
    session.accept(hypothesis=0)

One thread with an event loop of its own serves a session for as long as it is open, so that it
works inside a running event loop, and clients of language models keep their connections.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from ...agents.budget import Budget
from ...agents.loop import Reasoner
from ...agents.rules.language import Rule
from ...sae.source import FeatureSource
from ..journal import Journal
from .session import AsyncSession
from .steered import SteeredTexts
from .views import (
    Accepted,
    Comparison,
    Hypotheses,
    Kind,
    Overview,
    Readings,
    Round,
    Trials,
    Undone,
    View,
    html_of,
)

#: How long a cancelled verb may take to end, in seconds.
PATIENCE = 5.0

T = TypeVar("T")


class Session:
    """The session of one feature. Verbs, arguments and errors: see `AsyncSession`.

    A KeyboardInterrupt cancels the verb that is running; what it did until then stands.
    """

    def __init__(self, session: AsyncSession):
        self.session = session
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a session that nobody closed does not keep Python from ending.
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="sagescope session", daemon=True
        )
        self._thread.start()

    @classmethod
    def open(
        cls,
        source: FeatureSource,
        feature: int,
        *,
        run: str | None = None,
        journal: Journal | Path | str | None = None,
        mind: str | Reasoner | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        who: str = "human",
    ) -> Self:
        """Begin a session, or come back to one. See AsyncSession.open."""
        session = AsyncSession.open(
            source,
            feature,
            run=run,
            journal=journal,
            mind=mind,
            budget=budget,
            seed=seed,
            who=who,
        )
        return cls(session)

    def close(self) -> None:
        """Let go of the run; a second call does nothing. Nothing has to be saved."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        shown: list[View] = [self.overview(), self.hypotheses()]
        return html_of(*shown)

    # ---------------------------------------------------------------- looking

    def exemplars(self, kind: Kind | None = None, n: int = 6) -> Readings:
        """Contexts of the `explain` split. See AsyncSession.exemplars."""
        return self._wait(self.session.exemplars(kind, n))

    def activations(self, texts: Sequence[str] | str) -> Readings:
        """What the feature does on any texts."""
        return self._wait(self.session.activations(texts))

    def compare(self, left: str, right: str) -> Comparison:
        """Two texts, token by token."""
        return self._wait(self.session.compare(left, right))

    def steer(
        self,
        prompt: str,
        *,
        strength: float = 2.0,
        remove: bool = False,
        tokens: int = 40,
        gated: bool | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        watch: Callable[[int], None] = lambda _: None,
    ) -> SteeredTexts:
        """What the model writes with and without the feature's direction. See AsyncSession.steer."""
        how = {"strength": strength, "remove": remove, "tokens": tokens, "gated": gated}
        return self._wait(
            self.session.steer(prompt, **how, temperature=temperature, seed=seed, watch=watch)
        )

    def hypotheses(self) -> Hypotheses:
        """All hypotheses, and how they stand."""
        return self.session.hypotheses()

    def trials(self, hypothesis: int | None = None) -> Trials:
        """All probes, or those of one hypothesis, and what they measured."""
        return self.session.trials(hypothesis)

    def overview(self) -> Overview:
        """Where the session stands."""
        return self.session.overview()

    # ---------------------------------------------------------------- hypotheses and probes

    def add(self, text: str = "", rule: Rule | dict | str | None = None) -> Hypotheses:
        """A hypothesis of one's own, in words, as a rule, or both."""
        return self._wait(self.session.add(text, rule))

    def edit(
        self, hypothesis: int, text: str = "", rule: Rule | dict | str | None = None
    ) -> Hypotheses:
        """Say a hypothesis better; the new one takes its place."""
        return self._wait(self.session.edit(hypothesis, text, rule))

    def drop(self, hypothesis: int) -> Hypotheses:
        """Give a hypothesis up."""
        return self._wait(self.session.drop(hypothesis))

    def probe(
        self,
        text: str,
        fires: bool,
        *,
        hypothesis: int | None = None,
        token: str | None = None,
        purpose: str = "own",
    ) -> Trials:
        """Write down what a hypothesis predicts for a text; `run_probes` measures it."""
        return self._wait(
            self.session.probe(text, fires, hypothesis=hypothesis, token=token, purpose=purpose)
        )

    def run_probes(self) -> Trials:
        """Run all probes that wait."""
        return self._wait(self.session.run_probes())

    # ---------------------------------------------------------------- the mind's turns

    def propose(self) -> Hypotheses:
        """Let the mind propose hypotheses."""
        return self._wait(self.session.propose())

    def design(self) -> Trials:
        """Let the mind write down probes."""
        return self._wait(self.session.design())

    def refine(self) -> Hypotheses:
        """Let the mind better its hypotheses."""
        return self._wait(self.session.refine())

    def step(self) -> Round:
        """One round of the loop."""
        return self._wait(self.session.step())

    def finish(self, rounds: int = 4, watch: Callable[[Round], None] = lambda _: None) -> Round:
        """Let the loop run, at most so many rounds."""
        return self._wait(self.session.finish(rounds, watch))

    # ---------------------------------------------------------------- ending

    def accept(
        self,
        description: str = "",
        *,
        hypothesis: int | None = None,
        labels: Sequence[str] = (),
        rule: Rule | dict | str | None = None,
        score: bool = True,
    ) -> Accepted:
        """Accept an explanation, and score it."""
        return self._wait(
            self.session.accept(
                description, hypothesis=hypothesis, labels=labels, rule=rule, score=score
            )
        )

    def score(self) -> Accepted:
        """Score the explanation that was accepted, as far as that is not done."""
        return self._wait(self.session.score())

    def undo(self) -> Undone:
        """Take back the last step that still stands."""
        return self._wait(self.session.undo())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        ended = threading.Event()

        async def to_end() -> T:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(to_end(), self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            # The broken-off step has to be put away before anybody looks at the state.
            ended.wait(PATIENCE)
            raise
