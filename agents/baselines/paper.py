"""SAGE as it was published: hypotheses tested one sentence at a time, verdicts by the model's word.

SAGE (arXiv 2511.20820, EACL 2026 industry track), section 3, with its numbers. Per round every open
hypothesis goes through DESIGN (one sentence), ANALYZE and UPDATE (confirmed, refuted, refined or
unchanged); then a REVIEW may send some back. Kept from it: what is shown, the order of steps, the
numbers, and that the model judges. Ours: replies are objects and not tagged text, the tests of a
round run in one pass, everything is journaled as in the loop, and the conclusion also asks for a
sketch, so that it can be scored like any other. What our code measures of each hypothesis stands in
its verdict, and the model's own word beside it; so it is with the conclusion, which rests on the
hypotheses that the model calls confirmed, or else on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import Field

from ...sae.errors import BudgetExhausted, ReplyError
from ..groups import coverage
from ..loop import Investigation, ProbeDesign, Proposal
from ..minds import exhibits
from ..minds.language import kept_back
from ..minds.levels import measured_rule
from ..minds.probing import LONGEST
from ..minds.sketch import Form
from ..records import Conclusion, Explanation, Hypothesis, Outcome, short
from ..rules.drafts import cut, room_of
from ..task import Task
from .dialogue import Dialogue
from .one_shot import SILENT, Account

F = TypeVar("F", bound=Form)
Word = Literal["confirmed", "refuted", "refined", "unchanged"]
#: Words after which a hypothesis is tested no more, unless the review sends it back.
FINAL: tuple[Word, ...] = ("confirmed", "refuted")


# -------------------------------------------------------------------- what the model answers


class Guesses(Form):
    """First hypotheses, most likely first."""

    hypotheses: tuple[str, ...] = Field(min_length=1, description="one sentence each")


class Experiment(Form):
    """A test of one hypothesis."""

    text: str = Field(min_length=1, description="one sentence to run")
    fires: bool = Field(description="whether the hypothesis says that the feature fires on it")


class Analysis(Form):
    """What a test showed."""

    analysis: str = Field(min_length=1, description="two or three sentences")


class Update(Form):
    """How the hypothesis stands now."""

    status: Word
    statement: str = Field(default="", description="the new wording, where it is refined")


class Review(Form):
    """Whether the evidence is enough."""

    enough: bool
    again: tuple[int, ...] = Field(
        default=(), description="numbers of the hypotheses to test further, where it is not"
    )


class Synthesis(Account):
    """The explanation, with its evidence."""

    evidence: tuple[str, ...] = Field(
        default=(), description="the exemplars and tests that it rests on, one sentence each"
    )


# -------------------------------------------------------------------- the procedure


@dataclass(frozen=True)
class SagePaper:
    """The published procedure. Defaults are the paper's; `RELEASED` is what its code does.

    exemplars: top contexts shown. hypotheses: how many at first. rounds: the most; None is no limit
    but the budget's (the released code never reads its own). returns: how often the review may send
    hypotheses back. replayed: whether each call carries the whole dialogue before it.
    """

    exemplars: int = 10
    hypotheses: int = 4
    rounds: int | None = 14
    returns: int = 3
    replayed: bool = False

    async def explain(self, task: Task) -> Conclusion:
        """See Explainer. Raises ReplyError where the model gives no hypothesis, twice."""
        client = task.mind.client()
        loop = task.investigation()
        if not loop.notebook.stats.fired:
            return loop.conclusion(SILENT, "concluded")
        dialogue = Dialogue(client, "sage-paper", task.mind.prompts, self.replayed)
        return await _Procedure(self, loop, dialogue).run()


#: What the released code does where it differs from the paper.
RELEASED = SagePaper(rounds=None, replayed=True)


@dataclass
class _Line:
    """A hypothesis with all wordings it had, and what was done with it.

    analyses: of its tests, oldest first. word: the model's last.
    """

    now: Hypothesis
    ids: list[int]
    analyses: list[str] = field(default_factory=list)
    word: Word | None = None

    @property
    def is_open(self) -> bool:
        return self.word not in FINAL


@dataclass
class _Procedure:
    """One feature on its way through the procedure."""

    settings: SagePaper
    loop: Investigation
    dialogue: Dialogue
    lines: list[_Line] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def run(self) -> Conclusion:
        status: Literal["concluded", "out_of_budget"] = "concluded"
        try:
            await self.propose()
            await self.test()
            for _ in range(self.settings.returns):
                if not self.goes_on or not await self.review():
                    break
                await self.test()
        except BudgetExhausted:
            status = "out_of_budget"
        return self.loop.conclusion(await self.conclude(), status)

    @property
    def goes_on(self) -> bool:
        """Whether a round is left of the procedure's own."""
        return self.settings.rounds is None or self.loop.notebook.round < self.settings.rounds

    async def propose(self) -> None:
        found = await self.ask(
            "propose", Guesses, wanted=self.settings.hypotheses, exemplars=self.exemplars
        )
        texts = found.hypotheses[: self.settings.hypotheses]
        added = self.loop.add([Proposal("published procedure", text) for text in texts])
        self.lines = [_Line(one, [one.id]) for one in added]

    async def test(self) -> None:
        """Rounds, until the model has given its last word on every hypothesis."""
        notebook = self.loop.notebook
        while self.goes_on and any(line.is_open for line in self.lines):
            notebook.spending.spend("rounds")
            notebook.round += 1
            await self.round([line for line in self.lines if line.is_open])

    async def round(self, lines: Sequence[_Line]) -> None:
        """DESIGN for each, all tests in one pass, ANALYZE for each, UPDATE for each."""
        designs = [(line, await self.step("design", Experiment, line)) for line in lines]
        tested = [(line, test) for line, test in designs if test and test.text.strip()]
        tested, probes = self._designs(tested)
        outcomes = await self.loop.probe(probes)
        analysed: list[_Line] = []
        for (line, _), outcome in zip(tested, outcomes, strict=True):
            found = await self.step("analyze", Analysis, line, outcome=self.shown(outcome))
            if found:
                line.analyses.append(found.analysis)
                analysed.append(line)
        for line in analysed:
            found = await self.step("update", Update, line)
            if found:
                self.update(line, found)
        self.loop.judge()

    def _designs(
        self, tested: Sequence[tuple[_Line, Experiment]]
    ) -> tuple[list[tuple[_Line, Experiment]], list[ProbeDesign]]:
        """The tests and their probes, cut where they are longer than what the source can run.

        A test of which nothing fits is left out.
        """
        source = self.loop.notebook.source
        whole = [test.text[:LONGEST] for _, test in tested]
        short = cut(whole, [None] * len(whole), source.tokenize, room_of(source))
        fit = [(one, text) for one, text in zip(tested, short, strict=True) if text]
        probes = [ProbeDesign(line.now.id, "test", text, test.fires) for (line, test), text in fit]
        return [one for one, _ in fit], probes

    def update(self, line: _Line, found: Update) -> None:
        """Take the model's word; a refined hypothesis is a new one, and goes on."""
        line.word = found.status
        self.loop.notebook.said[line.now.id] = found.status
        if found.status == "refined" and found.statement.strip():
            (line.now,) = self.loop.add(
                [Proposal(line.now.kind, found.statement, parent=line.now.id)]
            )
            line.ids.append(line.now.id)

    async def review(self) -> bool:
        """Whether hypotheses were sent back."""
        try:
            found = await self.ask("review", Review, exemplars=self.exemplars)
        except ReplyError as error:
            self.failures.append(f"The review step failed: {error}")
            return False
        again = [line for line in self.lines if line.now.id in found.again]
        if not found.enough:
            for line in again:
                line.word = None
        return not found.enough and bool(again)

    async def conclude(self) -> Explanation:
        """The model's synthesis; where it gives none, the hypotheses it had confirmed as they stood."""
        if not self.lines:
            return Explanation(labels=("no explanation",), description="No hypothesis was found.")
        notebook = self.loop.notebook
        try:
            found = await self.ask("conclude", Synthesis, last=True, exemplars=self.exemplars)
        except (BudgetExhausted, ReplyError) as error:
            self.failures.append(f"The conclusion is what stood before it: {error}")
            kept = self.confirmed or self.lines[:1]
            labels = tuple(short(line.now.text, 40) for line in kept)
            description = " ".join(line.now.text for line in kept)
            return Explanation(
                labels=labels, description=description, notes=self.notes(), **self.standing()
            )
        rule = measured_rule(found.groups, notebook)
        return Explanation(
            **self.standing(),
            labels=found.labels,
            description=found.description,
            rule=rule,
            coverage=coverage(rule, notebook) if rule else None,
            notes=(*(f"Evidence: {one}" for one in found.evidence), *self.notes()),
        )

    @property
    def confirmed(self) -> list[_Line]:
        return [line for line in self.lines if line.word == "confirmed"]

    def standing(self) -> dict[str, Any]:
        """What the conclusion rests on, and its status in the procedure: the model's own word."""
        kept = self.confirmed or self.lines
        words = {line.word or "not tested" for line in kept}
        return {
            "hypothesis": kept[0].now.id if len(kept) == 1 else None,
            "rests_on": tuple(sorted(number for line in kept for number in line.ids)),
            "said": words.pop() if len(words) == 1 else "unchanged",
        }

    def notes(self) -> tuple[str, ...]:
        """The model's own word on each hypothesis beside what was measured, and what failed."""
        told = []
        for line in self.lines:
            word = line.word or "nothing yet"
            counts = [
                self.loop.notebook.verdict(self.loop.notebook.hypotheses[i]) for i in line.ids
            ]
            hits = sum(one.fires_as_predicted[0] + one.silent_as_predicted[0] for one in counts)
            runs = sum(one.fires_as_predicted[1] + one.silent_as_predicted[1] for one in counts)
            told.append(
                f"H{line.now.id}: {word} by the model's own word; measured: {counts[-1].status}, "
                f"{hits} of {runs} tests of it and its earlier wordings came out as predicted."
            )
        return *told, *self.failures

    # ---------------------------------------------------------------- asking

    async def step(self, step: str, form: type[F], line: _Line, **shown: Any) -> F | None:
        """A step for one hypothesis; None where the model gave no answer, which is noted."""
        try:
            return await self.ask(step, form, line=line, tests=self.tests(line), **shown)
        except ReplyError as error:
            self.failures.append(f"The {step} step of H{line.now.id} failed: {error}")
            return None

    async def ask(self, step: str, form: type[F], *, last: bool = False, **shown: Any) -> F:
        """One call. last: it may take what is kept back for the conclusion."""
        notebook = self.loop.notebook
        leaving = None if last else kept_back(self.dialogue.client)
        every = [(line, self.tests(line)) for line in self.lines]
        return await self.dialogue.ask(
            step, form, notebook.spending, leaving, stats=notebook.stats, lines=every, **shown
        )

    def tests(self, line: _Line) -> list[tuple[bool, str]]:
        """The tests of a hypothesis and its earlier wordings: prediction, and what was measured."""
        probes = {probe.id: probe for probe in self.loop.notebook.probes}
        own = [
            one for one in self.loop.notebook.outcomes if probes[one.probe].hypothesis in line.ids
        ]
        return [(probes[one.probe].fires, self.shown(one)) for one in own]

    def shown(self, outcome: Outcome) -> str:
        return exhibits.of_outcome(outcome, self.loop.notebook.stats.typical_max)

    @property
    def exemplars(self) -> list[str]:
        return exhibits.top(self.loop.notebook, self.settings.exemplars)
