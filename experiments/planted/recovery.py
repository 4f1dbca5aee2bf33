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

Explanations of latents of a real model speak of the model's tokens; what they predict there is
carried to the program's (see `pieces`), so that the definition is the same one. A latent can be held
to its program just so: the ceiling of whoever explains it.

Dead and noisy features have nothing to recover. What counts there is whether an explanation is
passed off as one: see `false_label`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from ...agents.records import Explanation
from ...agents.rules.match import Matcher
from ...sae.evidence import FIRES_AT
from ...sae.tokens import TokenActivations
from .pieces import Pieces
from .programs import Reading
from .source import PlantedFeature

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


class AnswerKey(Protocol):
    """A feature source whose features have a known meaning.

    `features`: those to explain, each with its number in the source; `planted`: any of them by that
    number. The others: see PlantedSource.
    """

    @property
    def features(self) -> tuple[PlantedFeature, ...]: ...

    def planted(self, feature: int) -> PlantedFeature: ...

    def truth(self, feature: int, reading: Reading) -> np.ndarray: ...

    def contrast(self, feature: int) -> list[tuple[str, str]]: ...

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]: ...

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]: ...


@dataclass(frozen=True)
class Contrast:
    """A contrast set with its truth. kinds: of each text. y: float32 [tokens]."""

    texts: tuple[str, ...]
    pieces: Pieces
    matcher: Matcher
    kinds: tuple[str, ...]
    y: np.ndarray
    planted: PlantedFeature


@lru_cache(maxsize=512)
def contrast_of(source: AnswerKey, feature: int) -> Contrast:
    """The contrast set of a feature, made once."""
    kinds, texts = zip(*source.contrast(feature), strict=True)
    pieces = Pieces(texts, source.tokenize(texts))
    y = source.truth(feature, pieces.reading)
    matcher = Matcher(pieces.table)
    return Contrast(texts, pieces, matcher, kinds, y, source.planted(feature))


def recovery(source: AnswerKey, feature: int, explanation: Explanation) -> Recovery:
    """How far an explanation predicts a planted feature. One without a rule predicts nothing."""
    contrast = contrast_of(source, feature)
    rule = explanation.rule
    p = contrast.matcher.predict(rule) if rule else np.zeros(len(contrast.pieces.table), np.float32)
    return _compared(contrast, p, rule.unit if rule else 0.0)


async def ceiling(source: AnswerKey, feature: int) -> Recovery:
    """How far what is measured follows the program: no explanation of it can be expected to do
    better. 1 in all where the program itself is measured."""
    contrast = contrast_of(source, feature)
    measured = await source.activations(feature, contrast.texts)
    p = np.concatenate([one.activations for one in measured])
    return _compared(contrast, p, contrast.planted.scale)


def _compared(contrast: Contrast, predicted_on_pieces: np.ndarray, unit: float) -> Recovery:
    """The definition. unit: the height of what is predicted."""
    planted, p = contrast.planted, contrast.pieces.on_tokens(predicted_on_pieces)
    fires, predicted = contrast.y >= FIRES_AT * planted.scale, p >= FIRES_AT * unit
    predicted &= p > 0
    equivalent = bool((fires == predicted).all())
    kinds = np.array(contrast.kinds)
    starts = contrast.pieces.reading.table.starts
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
