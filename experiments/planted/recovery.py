"""Recovery: whether an explanation predicts a planted feature on its contrast set.

The one definition, with y the true and p the predicted activation of each token of the contrast
set, without noise and drop-out:

    A text fires truly where max y ≥ .2 u, with u the height that was planted, and
    as predicted where max p ≥ .2 u', with u' the unit of the explanation's rule.

    a(kind, side) = share of the texts of one kind of contrast that truly fire (or are silent) and
                    are predicted so
    agreement     = ½ (mean over kinds of a(kind, fires) + mean over kinds of a(kind, silent))
    pearson       = the correlation of y and p over all tokens

    recovered  ⇔  agreement ≥ .95 and pearson ≥ .90

Each kind (recased, look-alike, too far, decoy alone, …) counts the same on its side, so that a
single condition left out cannot hide behind many easy texts. Where a set has no silent text, since
the feature fires somewhere in every text (features of places), tokens take the place of texts in
`agreement`. equivalent: in every text the same tokens fire, truly and as predicted; the exact check.

Dead and noisy features have nothing to recover. What counts there is whether an explanation is
passed off as one: see `false_label`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...agents.records import Explanation
from ...agents.rules.match import Matcher
from ...sae.evidence import FIRES_AT
from .programs import Reading
from .source import PlantedSource

#: From these on a feature counts as recovered.
AGREEMENT, PEARSON = 0.95, 0.90


@dataclass(frozen=True)
class Recovery:
    """How far an explanation predicts a planted feature (definitions: see the module).

    kinds: (kind, truly fires) → share predicted so. recovered is None for a feature that has
    nothing to recover.
    """

    agreement: float
    pearson: float
    equivalent: bool
    recovered: bool | None
    kinds: dict[tuple[str, bool], float]


@dataclass(frozen=True)
class Contrast:
    """A contrast set with its truth. kinds: of each text. y: float32 [tokens]."""

    reading: Reading
    matcher: Matcher
    kinds: tuple[str, ...]
    y: np.ndarray
    unit: float


@lru_cache(maxsize=512)
def contrast_of(source: PlantedSource, feature: int) -> Contrast:
    """The contrast set of a feature, made once."""
    kinds, texts = zip(*source.contrast(feature), strict=True)
    reading = Reading.of(texts)
    unit = source.features[feature].scale
    return Contrast(reading, Matcher(reading.table), kinds, source.truth(feature, reading), unit)


def recovery(source: PlantedSource, feature: int, explanation: Explanation) -> Recovery:
    """How far an explanation predicts a planted feature. One without a rule predicts nothing."""
    contrast = contrast_of(source, feature)
    rule = explanation.rule
    p = contrast.matcher.predict(rule) if rule else np.zeros_like(contrast.y)
    unit = rule.unit if rule else 0.0
    fires, predicted = contrast.y >= FIRES_AT * contrast.unit, p >= FIRES_AT * unit
    predicted &= p > 0
    equivalent = bool((fires == predicted).all())
    kinds = np.array(contrast.kinds)
    starts = contrast.reading.table.starts
    in_text, said_in_text = (np.logical_or.reduceat(x, starts[:-1]) for x in (fires, predicted))
    if in_text.all():
        kinds = np.repeat(kinds, np.diff(starts))
    else:
        fires, predicted = in_text, said_in_text
    shares = {
        (str(kind), side): float((predicted[here] == side).mean())
        for kind in dict.fromkeys(kinds.tolist())
        for side in (True, False)
        if (here := (kinds == kind) & (fires == side)).any()
    }
    sides = [[v for (_, fired), v in shares.items() if fired == side] for side in (True, False)]
    agreement = float(np.mean([np.mean(side) for side in sides if side]))
    pearson = _pearson(contrast.y, p)
    planted = source.features[feature]
    return Recovery(
        agreement=agreement,
        pearson=pearson,
        equivalent=equivalent,
        recovered=None
        if planted.form in ("dead", "noisy")
        else agreement >= AGREEMENT and pearson >= PEARSON,
        kinds=shares,
    )


def _pearson(y: np.ndarray, p: np.ndarray) -> float:
    """The correlation; of two constants 1 where both or neither are above 0, else 0."""
    flat = [values.std() <= 1e-5 * values.max(initial=0.0) for values in (y, p)]
    if all(flat):
        return float((y.max(initial=0.0) > 0) == (p.max(initial=0.0) > 0))
    return 0.0 if any(flat) else float(np.corrcoef(y, p)[0, 1])
