"""A session: a person, or an agent of theirs, in the loop of one feature.

    with AsyncSession.open(source, 17, run="mine") as session:
        await session.exemplars("top")
        await session.add("fires on boats", rule={...})
        await session.probe("The boat sank.", fires=True)
        await session.run_probes()
        await session.accept(hypothesis=0)

`sagescope.experiments.sessions.live.Session` has the same verbs for plain Python, in notebooks too.

Every change is an event of the run's journal at the moment it happens, and what a session knows is
nothing but those events, folded. So it may be killed anywhere and opened again, and `undo` is one
more event. What was measured, looked at and spent stays so, whatever is undone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from ...agents.budget import Budget
from ...agents.loop import Investigation, ProbeDesign, Reasoner
from ...agents.notebook import Notebook
from ...agents.records import Hypothesis, Probe
from ...agents.rules.language import Rule
from ...sae.errors import BudgetExhausted, SessionError
from ...sae.generation.texts import Order, generation_of
from ...sae.source import FeatureSource
from ..journal import Journal, Run
from ..recorded import RecordedSource
from ..results import result_of
from ..scored import score_feature
from .ledger import Ledger, begin
from .own import own_explanation, own_proposal
from .views import (
    KINDS,
    Accepted,
    Comparison,
    Hypotheses,
    Kind,
    Overview,
    Reading,
    Readings,
    Round,
    Scale,
    SteeredTexts,
    Trials,
    Undone,
)


class AsyncSession:
    """The session of one feature. One verb changes it at a time; the others wait.

    source: where the feature is from. run: a journal's run, begun for writing. who: the name under
    which everything stands that is not the mind's.

    Verbs raise SessionError for what cannot be done as it stands, RuleError for a rule that does
    not parse, TextError for a text that cannot be run, BudgetExhausted where a cap is reached; what
    was done before that stays. Cancelling one keeps what was done, too.
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

    # ---------------------------------------------------------------- looking

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

    # ---------------------------------------------------------------- hypotheses

    async def add(self, text: str = "", rule: Rule | dict | str | None = None) -> Hypotheses:
        """A hypothesis of one's own: in words, as an executable rule (see `as_rule`), or both."""
        async with self._ledger.step("add") as loop:
            return Hypotheses.of(
                loop.add([own_proposal(text, rule, self.who, self.notebook)]), self.notebook
            )

    async def edit(
        self, hypothesis: int, text: str = "", rule: Rule | dict | str | None = None
    ) -> Hypotheses:
        """Say a hypothesis better: a new one takes its place, and the evidence against the old
        stays with the old. What is not given is kept, except that new words drop an old rule."""
        async with self._ledger.step("edit") as loop:
            old = self._hypothesis(hypothesis)
            if not text and rule is None:
                raise SessionError("Nothing was changed: give new words or a new rule.")
            words = text or ("" if rule is not None else old.text)
            proposal = own_proposal(words, rule, self.who, self.notebook, old.id)
            return Hypotheses.of(loop.add([proposal]), self.notebook)

    async def drop(self, hypothesis: int) -> Hypotheses:
        """Give a hypothesis up."""
        async with self._ledger.step("drop"):
            one = self._hypothesis(hypothesis)
            self.notebook.dropped.add(one.id)
            self._ledger.write("dropped", {"hypothesis": one.id})
            return Hypotheses.of([one], self.notebook)

    # ---------------------------------------------------------------- probes

    async def probe(
        self,
        text: str,
        fires: bool,
        *,
        hypothesis: int | None = None,
        token: str | None = None,
        purpose: str = "own",
    ) -> Trials:
        """Write down what a hypothesis predicts for a text; `run_probes` measures it.

        hypothesis: by default the last one that is still live. token: the one expected to fire.
        """
        async with self._ledger.step("probe") as loop:
            if not isinstance(text, str) or not text:
                raise SessionError("A probe needs a text.")
            if self._was_run(text):
                raise SessionError(
                    "This text was run before, so nothing can be predicted of it: change a word."
                )
            live = [one.id for one in self.notebook.live()]
            if hypothesis is None and not live:
                raise SessionError("There is no live hypothesis to probe: add one first.")
            one = self._hypothesis(live[-1] if hypothesis is None else hypothesis)
            self.notebook.spending.check("probes")
            return self._trials(loop.predict([ProbeDesign(one.id, purpose, text, fires, token)]))

    async def run_probes(self) -> Trials:
        """Run all probes that wait, in one go, and compare with what was predicted."""
        async with self._ledger.step("run") as loop:
            if not self._ledger.waiting:
                raise SessionError("No probe is waiting: add one, or let the mind design some.")
            return await self._measure(loop)

    # ---------------------------------------------------------------- the mind's turns

    async def propose(self) -> Hypotheses:
        """Let the mind propose hypotheses from the exemplars."""
        async with self._ledger.step("propose", self.mind.name) as loop:
            return Hypotheses.of(await loop.propose(), self.notebook)

    async def design(self) -> Trials:
        """Let the mind write down probes for the live hypotheses; `run_probes` measures them."""
        async with self._ledger.step("design", self.mind.name) as loop:
            if not loop.notebook.live():
                raise SessionError("There is no live hypothesis to probe: add one, or propose.")
            designs = await loop.design()
            probes = loop.predict(designs)
            if len(probes) < len(designs):
                raise BudgetExhausted(
                    f"The budget of {self.notebook.spending.budget.probes} probes is spent."
                )
            return self._trials(probes)

    async def refine(self) -> Hypotheses:
        """Let the mind better its hypotheses, from what came back and from the corpus."""
        async with self._ledger.step("refine", self.mind.name) as loop:
            return Hypotheses.of(await loop.refine(), self.notebook)

    async def step(self) -> Round:
        """One round of the loop: propose where there is nothing yet, design, run, refine."""
        if not self.notebook.hypotheses:
            await self.propose()
        async with self._ledger.step("round", self.mind.name) as loop:
            had, ran = len(self.notebook.hypotheses), len(self.notebook.outcomes)
            if not loop.fires:
                note = "The feature never fires on the corpus: there is nothing to probe."
                return self._round(had, ran, goes_on=False, note=note)
            if self._ledger.waiting:
                await self._measure(loop)
            better = await loop.round()
            return self._round(had, ran, goes_on=better)

    async def finish(
        self, rounds: int = 4, watch: Callable[[Round], None] = lambda _: None
    ) -> Round:
        """Let the loop run, at most so many rounds; watch is told of each. Then `accept`."""
        had, ran = len(self.notebook.hypotheses), len(self.notebook.outcomes)
        goes_on, note = True, None
        for _ in range(rounds):
            try:
                last = await self.step()
            except BudgetExhausted as error:
                goes_on, note = False, str(error)
                break
            watch(last)
            goes_on, note = last.goes_on, last.note
            if not goes_on:
                break
        return self._round(had, ran, goes_on=goes_on, note=note)

    # ---------------------------------------------------------------- ending

    async def accept(
        self,
        description: str = "",
        *,
        hypothesis: int | None = None,
        labels: Sequence[str] = (),
        rule: Rule | dict | str | None = None,
        score: bool = True,
    ) -> Accepted:
        """Accept an explanation, and score it as every other is scored.

        It is what is said here (in words, as a rule, or both), what a hypothesis says, or with
        neither what the mind concludes. Without a rule it has no scores: `why` says so.
        """
        own = bool(description or labels or rule is not None or hypothesis is not None)
        async with self._ledger.step("accept", self.who if own else self.mind.name) as loop:
            if own:
                explanation = await asyncio.to_thread(
                    own_explanation,
                    self.notebook,
                    None if hypothesis is None else self._hypothesis(hypothesis),
                    description,
                    labels,
                    rule,
                )
            else:
                explanation = await loop.mind.conclude(self.notebook)
            conclusion = loop.conclusion(explanation, "concluded")
            explainer, mind = self._ledger.made_by()
            payload = {
                "conclusion": conclusion.model_dump(exclude={"probes", "outcomes"}),
                "seconds": self.notebook.spending.seconds,
                "traceback": None,
                "explainer": explainer,
                "mind": mind,
            }
            self._ledger.write("concluded", payload)
        return await self.score() if score else self._accepted()

    async def score(self) -> Accepted:
        """Score the explanation that was accepted, as far as that is not done."""
        async with self._ledger.turn:
            self._accepted()
            await score_feature(self._unrecorded, self.run, self.feature, self.notebook.seed)
            return self._accepted()

    async def undo(self) -> Undone:
        """Take back the last step that still stands: all that it wrote."""
        return Undone(**await self._ledger.undo())

    # ---------------------------------------------------------------- what verbs return

    async def _look(self, texts: list[str]) -> list[Reading]:
        self.notebook.spending.check("probes", len(texts))
        measured = await self.source.activations(self.feature, texts)
        self._ledger.looked(texts)
        return [Reading.of(one, "typed", self.scale) for one in measured]

    async def _measure(self, loop: Investigation) -> Trials:
        probes = self._ledger.waiting
        await loop.measure(probes)
        for number in dict.fromkeys(probe.hypothesis for probe in probes):
            verdict = self.notebook.verdict(self.notebook.hypotheses[number])
            self._ledger.write("verdict", verdict.model_dump())
        return self._trials(probes)

    def _was_run(self, text: str) -> bool:
        measured = self.run.events(self.feature, ["measured"])
        with self.run.reading(self.feature):
            return any(event.payload["text"] == text for event in measured)

    def _hypothesis(self, number: int) -> Hypothesis:
        if not 0 <= number < len(self.notebook.hypotheses):
            raise SessionError(
                f"There is no hypothesis H{number}: there are {len(self.notebook.hypotheses)}, "
                f"numbered from 0."
            )
        return self.notebook.hypotheses[number]

    def _accepted(self) -> Accepted:
        result = result_of(self.run, self.feature)
        if result is None:
            raise SessionError("Nothing was accepted yet.")
        return Accepted.of(result)

    def _trials(self, probes: Sequence[Probe]) -> Trials:
        return Trials.of(probes, self.notebook, self.scale)

    def _round(self, had: int, ran: int, goes_on: bool, note: str | None = None) -> Round:
        return Round.since(had, ran, self.notebook, self.scale, goes_on, note)
