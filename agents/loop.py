"""The loop: propose, probe, judge, refine, conclude (SAGE 2025, section 3; DESIGN, "One loop").

The loop owns the budget, the measurements and the verdicts. A mind (`Reasoner`) proposes
hypotheses, designs probes with the prediction of each written down, refines on what came back and
on its own mistakes over the `explain` split, and words the conclusion; it decides no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..sae.errors import BudgetExhausted
from ..sae.source import FeatureSource
from .budget import Budget, Spending
from .notebook import Notebook
from .records import Conclusion, Explanation, Hypothesis, Outcome, Probe, Record
from .rules.language import Rule

Recorder = Callable[[str, Record], None]


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


class Reasoner(Protocol):
    """What thinks inside the loop. Every method may raise BudgetExhausted."""

    name: str

    async def propose(self, notebook: Notebook) -> Sequence[Proposal]:
        """Hypotheses from the exemplars, before anything was run."""
        ...

    async def design(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """Probes that tell the live hypotheses apart and test both sides of their boundaries."""
        ...

    async def refine(self, notebook: Notebook) -> Sequence[Proposal]:
        """Better hypotheses, from what came back; none when nothing would change."""
        ...

    async def conclude(self, notebook: Notebook) -> Explanation:
        """The explanation, from what is known."""
        ...


async def run_loop(
    source: FeatureSource,
    feature: int,
    mind: Reasoner,
    *,
    budget: Budget,
    seed: int,
    record: Recorder,
) -> Conclusion:
    """Explain one feature. Deterministic under (feature, seed) for a deterministic mind.

    record: is told each hypothesis, probe, outcome and verdict as it happens. A budget that runs
    out ends the loop; the mind then concludes with what is known.
    """
    split = source.evidence.reader("explainer").split("explain")
    notebook = Notebook(source, feature, split, split.stats(feature), Spending(budget), seed=seed)
    status = "concluded"
    try:
        _add(notebook, await mind.propose(notebook), record)
        while notebook.stats.fired:
            notebook.spending.spend("rounds")
            notebook.round += 1
            await _probe(notebook, await mind.design(notebook), record)
            better = await mind.refine(notebook)
            for hypothesis in notebook.hypotheses:
                record("verdict", notebook.verdict(hypothesis))
            if not better:
                break
            # What cannot be probed any more is not proposed: no conclusion rests on an untested one.
            notebook.spending.check("rounds")
            _add(notebook, better, record)
    except BudgetExhausted:
        status = "out_of_budget"
    explanation = _judged(await mind.conclude(notebook), notebook)
    return Conclusion(
        status=status,
        explanation=explanation,
        hypotheses=tuple(notebook.hypotheses),
        probes=tuple(notebook.probes),
        outcomes=tuple(notebook.outcomes),
        verdicts=tuple(notebook.verdict(h) for h in notebook.hypotheses),
        spent={
            "calls": notebook.spending.calls,
            "tokens": notebook.spending.tokens,
            "probes": notebook.spending.probes,
            "seconds": notebook.spending.seconds,
        },
    )


def _judged(explanation: Explanation, notebook: Notebook) -> Explanation:
    """The explanation with the verdict on the hypothesis that it states."""
    if explanation.hypothesis is None:
        return explanation
    verdict = notebook.verdict(notebook.hypotheses[explanation.hypothesis])
    return explanation.model_copy(update={"verdict": verdict.status})


def _add(notebook: Notebook, proposals: Sequence[Proposal], record: Recorder) -> None:
    for proposal in proposals:
        hypothesis = Hypothesis(
            id=len(notebook.hypotheses),
            kind=proposal.kind,
            text=proposal.text,
            rule=proposal.rule,
            parent=proposal.parent,
            round=notebook.round,
        )
        notebook.hypotheses.append(hypothesis)
        if proposal.parent is not None:
            notebook.refined.add(proposal.parent)
        record("hypothesis", hypothesis)


async def _probe(notebook: Notebook, designs: Sequence[ProbeDesign], record: Recorder) -> None:
    """Write the predictions down, run the texts in one go, compare."""
    left = notebook.spending.left("probes")
    affordable = designs if left >= len(designs) else designs[: int(left)]
    first = len(notebook.probes)
    probes = [
        Probe(
            id=first + place,
            hypothesis=design.hypothesis,
            purpose=design.purpose,
            text=design.text,
            fires=design.fires,
            token=design.token,
            pair=None if design.pair is None else first + design.pair,
        )
        for place, design in enumerate(affordable)
    ]
    notebook.spending.spend("probes", len(probes))
    for probe in probes:
        record("probe", probe)
    measured = await notebook.source.activations(notebook.feature, [probe.text for probe in probes])
    notebook.probes.extend(probes)
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
        notebook.outcomes.append(outcome)
        record("outcome", outcome)
    if len(affordable) < len(designs):
        raise BudgetExhausted(f"The budget of {notebook.spending.budget.probes} probes is spent.")
