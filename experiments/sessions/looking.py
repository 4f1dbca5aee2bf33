"""What a session can look at without changing it: contexts, texts, steered texts, and how it stands.

What was looked at is kept, and counts as spent; it is no step, and cannot be undone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from ...agents.budget import Budget
from ...agents.loop import Reasoner
from ...agents.notebook import Notebook
from ...agents.records import Hypothesis, Probe
from ...sae.errors import SessionError
from ...sae.generation.texts import Order, generation_of
from ...sae.source import FeatureSource
from ..journal import Journal, Run
from ..recorded import RecordedSource
from ..results import result_of
from .ledger import Ledger, begin
from .steered import SteeredTexts
from .views import KINDS, Comparison, Hypotheses, Kind, Overview, Reading, Readings, Scale, Trials


class Looking:
    """A session that is open on one feature, and the verbs that change nothing of it.

    Arguments and errors: see `sagescope.experiments.sessions.session.AsyncSession`.
    """

    def __init__(
        self,
        source: FeatureSource,
        feature: int,
        run: Run,
        mind: Reasoner,
        *,
        who: str = "human",
    ):
        self.feature, self.mind, self.who = feature, mind, who
        self._unrecorded, self.source = source, RecordedSource(source, run)
        self._ledger = Ledger(self.source, feature, run, mind, who)
        stats = self.notebook.stats
        self.scale = Scale(fires_at=stats.fires_at, typical_max=stats.typical_max)
        self._closing = contextlib.ExitStack()

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
        """Begin a session, or come back to one. Close it, or use it as a context manager.

        run, journal: the name under which it is kept, in which journal file (`sagescope.db` for a
        named run); with neither, nothing is kept. mind ("rules" by default), budget (no caps), seed
        (0): as the run was begun, where it was and they are not given.
        Raises FeatureError, UnknownName for an unknown mind, JournalError where the run was begun
        with other settings, or another process is writing it.
        """
        with contextlib.ExitStack() as stack:
            begun, thinker = stack.enter_context(
                begin(
                    source,
                    run=run,
                    journal=journal,
                    mind=mind,
                    budget=budget,
                    seed=seed,
                    feature=feature,
                )
            )
            session = cls(source, feature, begun, thinker, who=who)
            session._closing = stack.pop_all()
        return session

    def close(self) -> None:
        """Let go of the run. Nothing has to be saved."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def run(self) -> Run:
        """The run that it is kept in."""
        return self._ledger.run

    @property
    def notebook(self) -> Notebook:
        """What is known so far."""
        return self._ledger.loop.notebook

    # ---------------------------------------------------------------- the verbs

    async def exemplars(self, kind: Kind | None = None, n: int = 6) -> Readings:
        """n contexts of a kind, or of each, from the `explain` split.

        top: with the highest activations. spread: over the whole range of those. silent: nowhere
        active. near: silent, though they hold the tokens that the feature fires on most.
        """
        if kind is not None and kind not in KINDS:
            raise SessionError(f"There are no {kind!r} contexts: ask for {', '.join(KINDS)}.")
        if n < 1:
            raise SessionError(f"{n} contexts cannot be shown: ask for one or more.")
        kinds = KINDS if kind is None else (kind,)
        return await asyncio.to_thread(Readings.of_contexts, kinds, n, self.notebook, self.scale)

    async def activations(self, texts: Sequence[str] | str) -> Readings:
        """What the feature does on any texts. They count as texts run, like probes."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        return Readings(scale=self.scale, readings=tuple(await self._look(texts)))

    async def compare(self, left: str, right: str) -> Comparison:
        """Two texts, token by token."""
        first, second = await self._look([left, right])
        return Comparison.of(first, second, self.scale)

    async def steer(
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
        """What the model writes with and without the feature's direction, and along two controls.

        strength: in typical maxima. remove: take the direction away. gated: only where the feature is
        there, and harder where that is not enough; by default where something is removed. Other
        arguments: see `sae.generation.texts.Order`; seed is the run's by default. It tests nothing, so
        it is no step; what was written is kept, and not written twice. Raises SAEError for a source
        without a language model or a strength out of bounds, and as Generation does.
        """
        order = Order(
            prompt,
            strength,
            remove,
            tokens,
            remove if gated is None else gated,
            temperature,
            self.notebook.seed if seed is None else seed,
        )
        found = await generation_of(self.source).steered(self.feature, order, watch)
        return SteeredTexts.of(found, self.scale)

    def hypotheses(self) -> Hypotheses:
        """All hypotheses, and how they stand: the verdicts that code reads off the outcomes."""
        return Hypotheses.of(self.notebook.hypotheses, self.notebook)

    def trials(self, hypothesis: int | None = None) -> Trials:
        """All probes, or those of one hypothesis, and what they measured."""
        if hypothesis is not None:
            self._hypothesis(hypothesis)
        wanted = {None, hypothesis} if hypothesis is not None else None
        probes = [p for p in self.notebook.probes if wanted is None or p.hypothesis in wanted]
        return self._trials(probes)

    def overview(self) -> Overview:
        """Where the session stands."""
        notebook, result = self.notebook, result_of(self.run, self.feature)
        explainer, _ = self._ledger.made_by()
        return Overview(
            feature=f"{self.source.subject}/{self.source.sae}/{self.feature}",
            run=self.run.name,
            mind=self.mind.name,
            stratum=self._ledger.facts["stratum"],
            lookup_pearson=self._ledger.facts["lookup_pearson"],
            density=notebook.stats.density,
            scale=self.scale,
            hypotheses=len(notebook.hypotheses),
            probes=len(notebook.probes),
            waiting=len(self._ledger.waiting),
            spent=self._ledger.spent,
            explainer=explainer,
            accepted=result.explanation.labels if result else None,
        )

    # ---------------------------------------------------------------- what verbs return

    async def _look(self, texts: list[str]) -> list[Reading]:
        self.notebook.spending.check("probes", len(texts))
        measured = await self.source.activations(self.feature, texts)
        self._ledger.looked(texts)
        return [Reading.of(one, "typed", self.scale) for one in measured]

    def _hypothesis(self, number: int) -> Hypothesis:
        if not 0 <= number < len(self.notebook.hypotheses):
            raise SessionError(
                f"There is no hypothesis H{number}: there are {len(self.notebook.hypotheses)}, "
                f"numbered from 0."
            )
        return self.notebook.hypotheses[number]

    def _trials(self, probes: Sequence[Probe]) -> Trials:
        return Trials.of(probes, self.notebook, self.scale)
