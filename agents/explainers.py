"""Explainers by the name users type: each turns a feature of a source into a conclusion."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ablations import Ablated, Ablation
from .loop import run_loop
from .records import Conclusion
from .task import Explainer, Task


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
}
