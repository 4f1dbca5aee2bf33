"""The loop: propose, probe, judge, refine, conclude (SAGE 2025, section 3; DESIGN, "One loop").

The loop owns the budget, the measurements and the verdicts. A mind (`Reasoner`) proposes
hypotheses, designs probes with the prediction of each written down, refines on what came back and
on its own mistakes over the `explain` split, and words the conclusion; it decides no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..sae.errors import BudgetExhausted
from ..sae.source import FeatureSource
from .budget import Spending
from .groups import groups_of, tested
from .notebook import Notebook
from .records import (
    Conclusion,
    Explanation,
    Hypothesis,
    MeasuredGroup,
    Outcome,
    Probe,
    Record,
)
from .rules.language import Rule
from .verdicts import counted


class Recorder(Protocol):
    """Is told what happens."""

    def __call__(self, kind: str, /, *records: Record) -> object:
        """Records of one kind, all that came at once."""


@dataclass(frozen=True)
class Proposal:
    """A hypothesis before the loop numbers it. parent: the one it refines."""

    kind: str
    text: str
    rule: Rule | None = None
    parent: int | None = None


@dataclass(frozen=True)
class ProbeDesign:
    """A probe before the loop numbers it (fields: see Probe). pair: place in the same design."""

    hypothesis: int
    purpose: str
    text: str
    fires: bool
    token: str | None = None
    pair: int | None = None
    group: str | None = None


class Reasoner(Protocol):
    """What thinks inside the loop. Every method may raise BudgetExhausted."""

    @property
    def name(self) -> str:
        """The name users type."""
        ...

    async def propose(self, notebook: Notebook) -> Sequence[Proposal]:
        """Hypotheses from the exemplars, before anything was run."""
        ...

    async def design(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """Probes that tell the live hypotheses apart and test both sides of their boundaries."""
        ...

    async def refine(self, notebook: Notebook) -> Sequence[Proposal]:
        """Better hypotheses, from what came back; none when nothing would change."""
        ...

    async def settle(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """Probes of what would be concluded now; none when enough were run, or nothing can be told."""
        ...

    async def conclude(self, notebook: Notebook) -> Explanation:
        """The explanation, from what is known."""
        ...


class Investigation:
    """One feature under investigation, a step at a time; batch runs and sessions both drive it.

    notebook: what is known, which only this class writes to. mind: may be exchanged between steps.
    record: is told hypotheses, probes, outcomes and verdicts as they happen, before anything that
    builds on them.
    """

    def __init__(
        self,
        source: FeatureSource,
        feature: int,
        mind: Reasoner,
        *,
        spending: Spending,
        seed: int,
        record: Recorder,
    ):
        split = source.evidence.reader("explainer").split("explain")
        stats = split.stats(feature)
        self.notebook = Notebook(source, feature, split, stats, spending, seed=seed)
        self.mind = mind
        self._record = record

    @property
    def fires(self) -> bool:
        """Whether the feature fires at all, so that there is anything to probe."""
        return bool(self.notebook.stats.fired)

    async def propose(self) -> list[Hypothesis]:
        """The mind's first hypotheses."""
        return self.add(await self.mind.propose(self.notebook))

    def add(self, proposals: Sequence[Proposal]) -> list[Hypothesis]:
        """Number hypotheses, whoever they are from, and write them down."""
        added = []
        for proposal in proposals:
            hypothesis = Hypothesis(
                id=len(self.notebook.hypotheses),
                kind=proposal.kind,
                text=proposal.text,
                rule=proposal.rule,
                parent=proposal.parent,
                round=self.notebook.round,
            )
            self.notebook.hypotheses.append(hypothesis)
            if proposal.parent is not None:
                self.notebook.refined.add(proposal.parent)
            added.append(hypothesis)
        self._record("hypothesis", *added)
        return added

    async def round(self) -> bool:
        """Design, probe, refine. Returns whether another round could change anything.

        Raises BudgetExhausted with what was affordable done. What cannot be probed any more is not
        taken up: no conclusion rests on an untested hypothesis.
        """
        self.notebook.spending.spend("rounds")
        self.notebook.round += 1
        await self.probe(await self.design())
        better = await self._refinements()
        if better:
            # What cannot be probed any more is not taken up: no conclusion rests on an untested one.
            self.notebook.spending.check("rounds")
        return bool(self.add(better))

    async def design(self) -> Sequence[ProbeDesign]:
        """The mind's probes for the live hypotheses, not yet written down."""
        return await self.mind.design(self.notebook)

    async def probe(self, designs: Sequence[ProbeDesign]) -> list[Outcome]:
        """Write the predictions down, run the texts in one go, compare.

        Raises BudgetExhausted where not all were affordable, after the others.
        """
        probes = self.predict(designs)
        outcomes = await self.measure(probes)
        if len(probes) < len(designs):
            cap = self.notebook.spending.budget.probes
            raise BudgetExhausted(f"The budget of {cap} probes is spent.")
        return outcomes

    def predict(self, designs: Sequence[ProbeDesign]) -> list[Probe]:
        """Number probes and write them down with their predictions, before any of them runs.

        Returns fewer than asked for where not all are affordable.
        """
        left = self.notebook.spending.left("probes")
        first = len(self.notebook.probes)
        probes = [
            Probe(
                id=first + place,
                hypothesis=design.hypothesis,
                purpose=design.purpose,
                text=design.text,
                fires=design.fires,
                token=design.token,
                pair=None if design.pair is None else first + design.pair,
                group=design.group,
            )
            for place, design in enumerate(designs)
            if place < left
        ]
        self.notebook.spending.spend("probes", len(probes))
        self.notebook.probes.extend(probes)
        self._record("probe", *probes)
        return probes

    async def measure(self, probes: Sequence[Probe]) -> list[Outcome]:
        """Run the texts of probes in one go, and compare with what was predicted."""
        notebook = self.notebook
        texts = [probe.text for probe in probes]
        measured = await notebook.source.activations(notebook.feature, texts)
        outcomes = []
        for probe, seen in zip(probes, measured, strict=True):
            fired = seen.maximum >= notebook.stats.fires_at > 0
            outcome = Outcome(
                probe=probe.id,
                tokens=seen.tokens,
                activations=tuple(seen.activations.tolist()),
                maximum=seen.maximum,
                fired=fired,
                agreed=fired == probe.fires,
            )
            outcomes.append(outcome)
        notebook.outcomes.extend(outcomes)
        self._record("outcome", *outcomes)
        return outcomes

    async def settle(self) -> bool:
        """Probe what would be concluded now. Returns whether there was something to probe.

        Raises BudgetExhausted as `probe` does.
        """
        designs = await self.mind.settle(self.notebook)
        if designs:
            await self.probe(designs)
            self.judge()
        return bool(designs)

    async def refine(self) -> list[Hypothesis]:
        """The mind's better hypotheses, from what came back; none when nothing would change."""
        return self.add(await self._refinements())

    async def _refinements(self) -> Sequence[Proposal]:
        better = await self.mind.refine(self.notebook)
        self.judge()
        return better

    def judge(self) -> None:
        """Write down what the outcomes so far say of each hypothesis."""
        self._record("verdict", *map(self.notebook.verdict, self.notebook.hypotheses))

    async def conclude(self, status: Literal["concluded", "out_of_budget"]) -> Conclusion:
        """The mind's explanation, with all that led to it."""
        return self.conclusion(await self.mind.conclude(self.notebook), status)

    def conclusion(
        self, explanation: Explanation, status: Literal["concluded", "out_of_budget"]
    ) -> Conclusion:
        """An explanation, whoever it is from, with the verdict on what it states, and all else."""
        notebook = self.notebook
        return Conclusion(
            status=status,
            explanation=_judged(explanation, notebook),
            hypotheses=tuple(notebook.hypotheses),
            probes=tuple(notebook.probes),
            outcomes=tuple(notebook.outcomes),
            verdicts=tuple(notebook.verdict(h) for h in notebook.hypotheses),
            spent=notebook.spending.spent(),
        )


def _judged(explanation: Explanation, notebook: Notebook) -> Explanation:
    """The explanation with its groups, and what the probes said of them and of what it states.

    Where the corpus cannot tell the feature from another one, a note says so, whoever explains it.
    """
    if notebook.tie:
        notes = (*explanation.notes, str(notebook.tie))
        explanation = explanation.model_copy(update={"notes": notes})
    number, rule, groups = explanation.hypothesis, explanation.rule, explanation.groups
    stated = explanation.rests_on or (() if number is None else (number,))
    if rule is not None:
        groups = groups if groups and groups[0].level else groups_of(rule, notebook, groups)
    elif stated and not groups:
        groups = tuple(MeasuredGroup(label=name) for name in explanation.labels)
    found = explanation.model_copy(update={"groups": tested(groups, rule, stated, notebook)})
    if not stated:
        return found
    counts = counted(notebook.trials(stated))
    said = explanation.said or (None if number is None else notebook.said.get(number))
    verdict = {"verdict": counts.status, "counts": counts, "said": said}
    return found.model_copy(update=verdict)


async def run_loop(loop: Investigation) -> Conclusion:
    """Bring an investigation from its beginning to its end.

    Deterministic under (feature, seed) for a deterministic mind. When nothing refines what there
    is any more, what it comes to is probed on its own, so that the conclusion does not rest on the
    hypothesis that came last and was tested least. A budget that runs out ends the loop; the mind
    then concludes with what is known.
    """
    status = "concluded"
    try:
        await loop.propose()
        while loop.fires and await loop.round():
            pass
        while loop.fires and await loop.settle():
            pass
    except BudgetExhausted:
        status = "out_of_budget"
    return await loop.conclude(status)
