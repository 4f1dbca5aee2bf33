"""Explainers by the name users type: each turns a feature of a source into a conclusion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..sae.source import FeatureSource
from .ablations import Ablated, Ablation
from .budget import Spending
from .loop import Investigation, Recorder, run_loop
from .minds.choice import Mind
from .output_side import OutputSide
from .records import Conclusion


@dataclass(frozen=True)
class Task:
    """One feature to explain, and what may be used for it.

    spending: counts what it takes, and holds the caps. record: is told each hypothesis, probe,
    outcome and verdict as it happens.
    """

    source: FeatureSource
    feature: int
    mind: Mind
    spending: Spending
    seed: int
    record: Recorder

    def investigation(self, **settings: object) -> Investigation:
        """The loop, about to begin. settings: of the mind."""
        return Investigation(
            self.source,
            self.feature,
            self.mind.reasoner(**settings),
            spending=self.spending,
            seed=self.seed,
            record=self.record,
        )


class Explainer(Protocol):
    """Explains one feature at a time; one object serves many features at once."""

    async def explain(self, task: Task) -> Conclusion:
        """Explain a feature.

        Raises UnknownName for a mind that does not exist or cannot do this, FeatureError for a
        feature that the source does not have, and what a language model's provider raises.
        """
        ...


@dataclass(frozen=True)
class Sage:
    """The loop of hypotheses, probes and counterexamples, with any mind."""

    ablation: Ablation = field(default_factory=Ablation)

    async def explain(self, task: Task) -> Conclusion:
        """Run the loop. See Explainer."""
        loop = task.investigation(**self.ablation.settings)
        loop.mind = Ablated(loop.mind, self.ablation)
        return await run_loop(loop)


EXPLAINERS: dict[str, Explainer] = {
    "sage": Sage(),
    "sage:no-probes": Sage(Ablation(probes="none")),
    "sage:random-probes": Sage(Ablation(probes="random")),
    "sage:one-hypothesis": Sage(Ablation(hypotheses=1)),
    "sage:no-refinement": Sage(Ablation(refinement=False)),
    "sage:no-negatives": Sage(Ablation(negatives=False)),
    "sage:model-verdicts": Sage(Ablation(verdicts="model")),
    "output-side": OutputSide(),
}
