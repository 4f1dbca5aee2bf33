"""Explainers by the name users type: each turns a feature of a source into a conclusion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..sae.errors import MindError, UnknownName
from ..sae.source import FeatureSource
from .ablations import Ablated, Ablation
from .baselines.best_of import BestOf
from .baselines.one_shot import OneShot
from .baselines.paper import RELEASED, SagePaper
from .budget import Budget
from .hints import Hinted, hints_of
from .inside.attention_rules import AttentionRules
from .inside.attribution import ByAttribution
from .inside.circuitlens import CircuitLens
from .inside.weightlens import WeightLens
from .loop import run_loop
from .minds.choice import FORMS, Mind
from .output_side import OutputSide
from .records import Conclusion
from .task import Explainer, Task


@dataclass(frozen=True)
class Sage:
    """The loop of hypotheses, probes and counterexamples, with any mind.

    hints: names of explainers in INSIDE, whose explanations stand beside the mind's hypotheses.
    """

    ablation: Ablation = field(default_factory=Ablation)
    hints: tuple[str, ...] = ()

    async def explain(self, task: Task) -> Conclusion:
        """Run the loop. See Explainer."""
        loop = task.investigation(**self.ablation.settings)
        loop.mind = Ablated(loop.mind, self.ablation)
        if self.hints and loop.fires:
            told = await hints_of(task, [(name, INSIDE[name]) for name in self.hints])
            loop.mind = Hinted(loop.mind, told)
        return await run_loop(loop)


#: What looks inside the model; needs no language model, and gives a rule.
INSIDE: dict[str, Explainer] = {
    # Golimblevskaia et al. 2025.
    "weightlens": WeightLens(),
    "circuitlens": CircuitLens(),
    "attribution": ByAttribution(),
    # Friedman et al. 2025: SAEs on one attention head.
    "attention-rules": AttentionRules(),
}

EXPLAINERS: dict[str, Explainer] = {
    "sage": Sage(),
    "sage:no-probes": Sage(Ablation(probes="none")),
    "sage:random-probes": Sage(Ablation(probes="random")),
    "sage:one-hypothesis": Sage(Ablation(hypotheses=1)),
    "sage:no-refinement": Sage(Ablation(refinement=False)),
    "sage:no-negatives": Sage(Ablation(negatives=False)),
    "sage:model-verdicts": Sage(Ablation(verdicts="model")),
    "output-side": OutputSide(),
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
    **INSIDE,
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
    if _needs_language_model(explainer_named(explainer)) and not mind.is_language_model:
        raise MindError(
            f"The explainer {explainer!r} needs a language model, and the mind {mind.name!r} is "
            f"none: name one with --mind ({', '.join(FORMS)})."
        )


def check_source(explainer: str, source: FeatureSource) -> None:
    """Raise SAEError where an explainer makes no sense on a source, whatever the feature.

    What is only a hint may fail: the loop goes on without.
    """
    refuses = getattr(explainer_named(explainer), "check", None)
    if refuses is not None:
        refuses(source)


def explainer_named(name: str) -> Explainer:
    """The explainer of that name: one of EXPLAINERS, or the loop with hints ("sage+weightlens").

    Raises UnknownName for none, MindError for hints to what is not the loop.
    """
    plain, *hints = name.split("+")
    if name in EXPLAINERS or not hints:
        if name not in EXPLAINERS:
            raise UnknownName("explainer", name, EXPLAINERS)
        return EXPLAINERS[name]
    found = explainer_named(plain)
    if unknown := [hint for hint in hints if hint not in INSIDE]:
        raise UnknownName("hint", unknown[0], INSIDE)
    if not isinstance(found, Sage):
        raise MindError(
            f"Hints are hypotheses for the loop, and {plain!r} has none: leave them out, or take "
            f"--explainer sage."
        )
    return replace(found, hints=tuple(one for one in INSIDE if one in hints))


def with_hints(explainer: str, hints: Iterable[str]) -> str:
    """The name of an explainer that is told hints, in one order however they were given.

    Raises as `explainer_named`.
    """
    plain, *known = explainer.split("+")
    asked = {*known, *hints}
    if not asked:
        return explainer
    explainer_named("+".join([plain, *asked]))
    return "+".join([plain, *(one for one in INSIDE if one in asked)])


def plain_name(explainer: str) -> str:
    """The name of an explainer without its hints."""
    return explainer.partition("+")[0]


def _needs_language_model(explainer: Explainer) -> bool:
    if isinstance(explainer, Sage):
        return explainer.ablation.verdicts == "model"
    return isinstance(explainer, OneShot | BestOf | SagePaper)


def usual_budget(explainer: str, is_language_model: bool) -> Budget:
    """The caps for each feature where nobody has chosen any."""
    return NEEDS.get(plain_name(explainer)) or Budget.for_mind(is_language_model)
