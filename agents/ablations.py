"""Ablations: the loop with one part taken out, to see what that part is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .loop import ProbeDesign, Proposal, Reasoner
from .notebook import Notebook
from .records import Explanation
from .rules.match import predict

#: Random probes of a round: stretches of so many tokens from the `explain` split.
RANDOM_PROBES, RANDOM_TOKENS = 20, 24


@dataclass(frozen=True)
class Ablation:
    """What is taken out; nothing, by default.

    probes: designed by the mind, random text with the rules' predictions, or none. hypotheses: how
    many at first (None: the mind's own number). refinement: whether hypotheses are refined.
    negatives: whether near misses are shown and probed. verdicts: measured, or the model's own word
    in place of the measured counts (language models only); the measured ones stand beside it.
    """

    probes: Literal["designed", "random", "none"] = "designed"
    hypotheses: int | None = None
    refinement: bool = True
    negatives: bool = True
    verdicts: Literal["measured", "model"] = "measured"

    @property
    def settings(self) -> dict[str, object]:
        """What of it concerns a language model's prompts."""
        found: dict[str, object] = {"negatives": self.negatives, "verdicts": self.verdicts}
        return found if self.hypotheses is None else {**found, "hypotheses": self.hypotheses}


@dataclass(frozen=True)
class Ablated:
    """A mind with something taken out of what it does."""

    mind: Reasoner
    ablation: Ablation

    @property
    def name(self) -> str:
        """The mind's own."""
        return self.mind.name

    async def propose(self, notebook: Notebook) -> Sequence[Proposal]:
        """See Reasoner."""
        return (await self.mind.propose(notebook))[: self.ablation.hypotheses]

    async def design(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """See Reasoner."""
        if self.ablation.probes == "none":
            return []
        if self.ablation.probes == "random":
            return random_probes(notebook)
        designs = await self.mind.design(notebook)
        return designs if self.ablation.negatives else [one for one in designs if one.fires]

    async def refine(self, notebook: Notebook) -> Sequence[Proposal]:
        """See Reasoner."""
        return await self.mind.refine(notebook) if self.ablation.refinement else []

    async def settle(self, notebook: Notebook) -> Sequence[ProbeDesign]:
        """See Reasoner."""
        if self.ablation.probes != "designed":
            return []
        designs = await self.mind.settle(notebook)
        return designs if self.ablation.negatives else [one for one in designs if one.fires]

    async def conclude(self, notebook: Notebook) -> Explanation:
        """See Reasoner."""
        return await self.mind.conclude(notebook)


def random_probes(notebook: Notebook) -> list[ProbeDesign]:
    """Stretches of the `explain` split, with what the live hypotheses' rules predict of them."""
    table = notebook.split.tokens
    draw = np.random.default_rng([notebook.seed, notebook.feature, notebook.round])
    starts = draw.integers(0, max(1, len(table) - RANDOM_TOKENS), RANDOM_PROBES)
    texts = ["".join(table.vocab[i] for i in table.ids[s : s + RANDOM_TOKENS]) for s in starts]
    tokens = notebook.source.tokenize(texts)
    ruled = [one for one in notebook.live() if one.rule]
    return [
        ProbeDesign(
            hypothesis=one.id,
            purpose="random text",
            text=text,
            fires=bool(predict(one.rule, [cut])[0].max(initial=0) >= notebook.stats.fires_at > 0),
        )
        for place, (text, cut) in enumerate(zip(texts, tokens, strict=True))
        for one in ruled[place % max(1, len(ruled)) :][:1]
        if one.rule
    ]
