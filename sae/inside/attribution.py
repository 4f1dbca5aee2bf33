"""Attribution: which tokens of a text made a feature fire on one of them.

What is explained is the feature's pre-activation at one token: a number for each token up to there
says what that token adds to it. A source may carry `attributions`, an `Attributions`;
`attributions_of` gets it. `sagescope.sae.inside.model_attribution` computes them.

    occlusion              the fall when the token's embedding is replaced by the baseline
    gradient-x-input       ∂f/∂e · e
    integrated-gradients   (e - e₀) · ∫₀¹ ∂f/∂e (e₀ + α (e - e₀)) dα    (Sundararajan et al. 2017)
    random                 drawn, whatever the text: what the others are to be compared with

The baseline e₀ is the mean embedding of the vocabulary; the BOS token is never replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np

from ..errors import SAEError
from ..source import FeatureSource

Method = Literal["occlusion", "gradient-x-input", "integrated-gradients", "random"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Attribution:
    """What each token of a text adds to a feature at one of them.

    tokens: the n strings up to the one explained, which is the last; without the BOS token. values:
    float32 [n]. activation: of the feature there. value, baseline: the pre-activation with the text
    as it is, and with all tokens replaced; for integrated gradients, the values add up to their
    difference. gap: by how much they do not, as a share of that difference, None for other methods.
    rows: how many rows of tokens were run for it.
    """

    tokens: tuple[str, ...]
    values: np.ndarray
    activation: float
    value: float
    baseline: float
    gap: float | None = None
    rows: int = 0


@dataclass(frozen=True)
class Curves:
    """What becomes of a feature's activation as tokens go or come in an order, the first by rank.

    insertion: float32 [n + 1], all tokens replaced at first, then each put back. deletion: float32
    [n + 1], likewise replaced one after another. Both as shares of the activation with the whole
    text. insertion_auc, deletion_auc: means of the curves by the trapezoidal rule: a good order has
    a high insertion and a low deletion.
    """

    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve, over a width of 1."""
        return _area(self.insertion)

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve, over a width of 1."""
        return _area(self.deletion)


class Attributions(Protocol):
    """Attributions of features to the tokens of texts."""

    def check(self) -> None:
        """Raise SAEError for an SAE whose latents have no pre-activation of their own."""
        ...

    async def attributed(
        self,
        feature: int,
        tokens: Sequence[str],
        at: int,
        method: Method = "occlusion",
        reach: int | None = None,
    ) -> Attribution:
        """What each token up to place `at` adds to the feature there.

        tokens: of a text, as the source cut it. reach: only so many tokens up to and with that place
        are read, as if the text began there (None: all). Raises FeatureError for a feature that the
        source does not have, TextError for a text that cannot be run, SAEError as `check`.
        """
        ...

    async def curves(
        self, feature: int, tokens: Sequence[str], at: int, order: Sequence[float]
    ) -> Curves:
        """Insertion and deletion, the tokens with the highest `order` [at + 1] first.

        Raises as `attributed`, and TextError where the feature is silent there.
        """
        ...


def attributions_of(source: FeatureSource) -> Attributions:
    """The attributions of a source. Raises SAEError for one that has none."""
    found: Attributions | None = getattr(source, "attributions", None)
    if found is None:
        raise SAEError(
            f"{source.subject}/{source.sae} gives activations and not the model behind them (a "
            f"function, or a model that runs elsewhere), so that no token can be taken away inside "
            f"it: explain it with `sage`, or take an SAE on its model in this process."
        )
    return found


def _area(curve: np.ndarray) -> float:
    return float(((curve[1:] + curve[:-1]) / 2).mean())
