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
from collections.abc import Callable, Sequence

from ...agents.loop import Investigation, ProbeDesign
from ...agents.rules.language import Rule
from ...sae.errors import BudgetExhausted, SessionError
from ..results import result_of
from ..scored import score_feature
from .looking import Looking
from .own import own_explanation, own_proposal
from .views import (
    Accepted,
    Hypotheses,
    Round,
    Trials,
    Undone,
)


class AsyncSession(Looking):
    """The session of one feature. One verb changes it at a time; the others wait.

    source: where the feature is from. run: a journal's run, begun for writing. who: the name under
    which everything stands that is not the mind's.

    Verbs raise SessionError for what cannot be done as it stands, RuleError for a rule that does
    not parse, TextError for a text that cannot be run, BudgetExhausted where a cap is reached; what
    was done before that stays. Cancelling one keeps what was done, too.
    """

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

    def _accepted(self) -> Accepted:
        result = result_of(self.run, self.feature)
        if result is None:
            raise SessionError("Nothing was accepted yet.")
        return Accepted.of(result)

    def _round(self, had: int, ran: int, goes_on: bool, note: str | None = None) -> Round:
        return Round.since(had, ran, self.notebook, self.scale, goes_on, note)
