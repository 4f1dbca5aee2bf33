"""Explainers by the name users type: each turns a feature of a source into a conclusion."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..sae.errors import MindError, UnknownName
from .ablations import Ablated, Ablation
from .baselines.best_of import BestOf
from .baselines.one_shot import OneShot
from .baselines.paper import RELEASED, SagePaper
from .budget import Budget
from .inside.attention_rules import AttentionRules
from .loop import run_loop
from .minds.choice import FORMS, Mind
from .output_side import OutputSide
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
    "output-side": OutputSide(),
    # Friedman et al. 2025: SAEs on one attention head.
    "attention-rules": AttentionRules(),
    # The matched rival: what `sage` is shown first, answered at once.
    "one-shot": OneShot(),
    "one-shot:contrastive": OneShot("contrastive"),
    # Bills et al. 2023; Neuronpedia's oai_token-act-pair.
    "one-shot:token-activation": OneShot("token-activation"),
    # Neuronpedia's np_max-act-logits.
    "one-shot:max-activation": OneShot("max-activation"),
    # Delphi: Paulo et al. 2024.
    "one-shot:quantiles": OneShot("quantiles"),
    # The matched rival, asked several times.
    "best-of-4": BestOf(4),
    "best-of-8": BestOf(8),
    # SAGE, arXiv 2511.20820: as published, and as its released code runs.
    "sage-paper": SagePaper(),
    "sage-paper:released": RELEASED,
}

#: What explainers need that do not fit into what a language model has by default.
NEEDS: dict[str, Budget] = {
    "best-of-8": Budget(rounds=3, calls=16, tokens=100_000),
    "sage-paper": Budget(rounds=14, calls=60, tokens=200_000),
    "sage-paper:released": Budget(rounds=None, calls=60, tokens=1_000_000),
}


def check(explainer: str, mind: Mind) -> None:
    """Raise UnknownName for no explainer, MindError where it needs a language model and `mind` is none.

    Whether there is such a mind, and its key, is `mind.check`'s to say.
    """
    if explainer not in EXPLAINERS:
        raise UnknownName("explainer", explainer, EXPLAINERS)
    if _needs_language_model(EXPLAINERS[explainer]) and not mind.is_language_model:
        raise MindError(
            f"The explainer {explainer!r} needs a language model, and the mind {mind.name!r} is "
            f"none: name one with --mind ({', '.join(FORMS)})."
        )


def _needs_language_model(explainer: Explainer) -> bool:
    if isinstance(explainer, Sage):
        return explainer.ablation.verdicts == "model"
    return isinstance(explainer, OneShot | BestOf | SagePaper)


def usual_budget(explainer: str, is_language_model: bool) -> Budget:
    """The caps for each feature where nobody has chosen any."""
    return NEEDS.get(explainer) or Budget.for_mind(is_language_model)
