"""Predictive accuracy: does the explanation say, token by token, how the feature will act?

All on the `score` split. p: predicted, a: measured activation of a token (its positive part: a
neuron's small negative values are silence). A token *fires* from
`fires_at` of the `explain` split's statistics. A token with a > 0 is *found* when
p ≥ min(fires_at, a / 2): the explanation says that it fires or, where it only just acts, that it
acts at least half as much.

| score | formula | over |
|---|---|---|
| predictive_pearson | correlation of p and a | tokens of the mixture |
| predictive_auprc | average precision of p for "the token fires" | tokens of the mixture |
| coverage | Σ a over found tokens / Σ a | all tokens with a > 0 |
| recall | found / all, averaged over the feature's quantile bands | all tokens with a > 0 |
| precision | tokens that fire / tokens | all tokens with p ≥ fires_at |

The mixture is 10 top, 20 spread and 30 random contexts (see `sae.mixture`). Coverage and recall alone
are at their best for "always fires": read them beside precision. Intervals resample documents.

Pearson pooled over tokens follows Bills et al. 2023 ("Language models can explain neurons in
language models"), average precision the usual definition Σ (R_i − R_{i−1}) P_i without
interpolation; recall by quantile bands shows the middle of the range, which explanations from top
exemplars miss.
"""

from __future__ import annotations

import numpy as np

from ...sae.evidence import QUANTILES
from .bench import Band, Blind, Level, Marks, MixtureCounts, Target, reaches, scorer
from .metrics import auprc, pearson, sums_of
from .score import Score, of_units, ratio
from .simulator import Simulator

NAMES = ("predictive_pearson", "predictive_auprc", "coverage", "recall", "precision")
#: Each looks at one side only: what is covered, or what is claimed.
BLIND: dict[str, tuple[Blind, ...]] = {
    "coverage": ("extra",),
    "recall": ("extra",),
    "precision": ("missing",),
}
#: Edges of predicted levels, as shares of the typical maximum.
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)


@scorer("predictive", NAMES, blind=BLIND)
async def predictive(target: Target, simulator: Simulator) -> Marks:
    """The five scores of this module's table, with the details behind them."""
    if reason := target.silent:
        return Marks({name: Score.undefined(reason) for name in NAMES})
    measured = target.measured
    predicted = np.asarray(await simulator.predict(target.text), np.float64)
    _check(predicted, measured)
    recall, bands = _recall(target, predicted, measured)
    return Marks(
        {
            **_on_mixture(target, predicted, measured),
            "coverage": _coverage(target, predicted, measured),
            "recall": recall,
            "precision": _precision(target, predicted, measured),
        },
        {
            "mixture": _mixture_counts(target, measured),
            "recall_by_quantile": bands,
            "precision_by_level": _levels(target, predicted, measured),
        },
    )


def _check(predicted: np.ndarray, measured: np.ndarray) -> None:
    if predicted.shape != measured.shape:
        raise ValueError(f"{predicted.shape} predictions for {measured.shape} tokens")
    if not np.isfinite(predicted).all():
        raise ValueError("a prediction is not finite")


# --- On the mixture ------------------------------------------------------------------------------


def _on_mixture(target: Target, predicted: np.ndarray, measured: np.ndarray) -> dict[str, Score]:
    tokens, documents = target.mixture.tokens, target.mixture.documents
    p, a = predicted[tokens], measured[tokens]
    return {
        "predictive_pearson": pearson(p, a, documents, target.seed),
        "predictive_auprc": auprc(p, target.fires(a), documents, target.seed),
    }


def _mixture_counts(target: Target, measured: np.ndarray) -> MixtureCounts:
    mixture = target.mixture
    return MixtureCounts(
        top=len(mixture.top),
        spread=len(mixture.spread),
        random=len(mixture.random),
        documents=len(np.unique(mixture.documents)),
        tokens=len(mixture.tokens),
        base_rate=float(target.fires(measured[mixture.tokens]).mean()),
    )


# --- On the whole split --------------------------------------------------------------------------


def _coverage(target: Target, predicted: np.ndarray, measured: np.ndarray) -> Score:
    acts = np.flatnonzero(measured)
    mass = measured[acts]
    columns = np.stack([mass * _found(target, predicted[acts], mass), mass], axis=1)
    units = sums_of(columns, _documents(target, acts))
    return of_units(units, ratio, target.seed, undefined="nothing to cover")


def _recall(
    target: Target, predicted: np.ndarray, measured: np.ndarray
) -> tuple[Score, tuple[Band, ...]]:
    """Share found, by band: the score is the mean over the bands that hold tokens."""
    acts = np.flatnonzero(measured)
    edges = np.array(target.stats.quantiles)
    band = np.searchsorted(edges, measured[acts], side="right")
    member = np.eye(len(edges) + 1)[band]
    found = member * _found(target, predicted[acts], measured[acts])[:, None]
    units = sums_of(np.concatenate([found, member], axis=1), _documents(target, acts))
    score = of_units(units, _mean_of_bands, target.seed, undefined="nothing to find")
    hits, counts = np.split(units.sum(axis=0), 2)
    shares, lows = (0.0, *QUANTILES, 1.0), (0.0, *edges.tolist(), None)
    return score, tuple(
        Band(
            quantiles=(shares[k], shares[k + 1]),
            low=lows[k] or 0.0,
            high=lows[k + 1],
            n=int(counts[k]),
            recall=float(hits[k] / counts[k]) if counts[k] else None,
        )
        for k in range(len(counts))
    )


def _mean_of_bands(totals: np.ndarray) -> np.ndarray:
    """Mean of hits / tokens over bands that hold tokens: [..., 2 × bands] → [...]."""
    hits, counts = np.split(totals, 2, axis=-1)
    held = (counts > 0).sum(axis=-1)
    recalls = (hits / np.maximum(counts, 1.0)).sum(axis=-1)
    return np.where(held > 0, recalls / np.maximum(held, 1), np.nan)


def _precision(target: Target, predicted: np.ndarray, measured: np.ndarray) -> Score:
    said = np.flatnonzero(target.fires(predicted))
    columns = np.stack([target.fires(measured[said]), np.ones(len(said))], axis=1)
    units = sums_of(columns, _documents(target, said))
    undefined = "the explanation predicts no token to fire"
    return of_units(units, ratio, target.seed, undefined=undefined)


def _levels(target: Target, predicted: np.ndarray, measured: np.ndarray) -> tuple[Level, ...]:
    """What was measured where each level was predicted (tokens predicted above 0)."""
    said = np.flatnonzero(predicted > 0)
    unit = target.stats.typical_max
    # A hair above the edges, so that float32 rounding of a level does not decide its bin.
    place = np.searchsorted(LEVELS, predicted[said] / unit * (1 + 1e-6), side="right") - 1
    levels = []
    for k, low in enumerate(LEVELS):
        values = measured[said[place == k]]
        levels.append(
            Level(
                low=low,
                high=LEVELS[k + 1] if k + 1 < len(LEVELS) else None,
                n=len(values),
                fires=float(target.fires(values).mean()) if len(values) else None,
                mean=float(values.mean() / unit) if len(values) else None,
            )
        )
    return tuple(levels)


def _found(target: Target, predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    return reaches(predicted, np.minimum(target.stats.fires_at, measured / 2))


def _documents(target: Target, tokens: np.ndarray) -> np.ndarray:
    table = target.held_out.tokens
    return table.documents[table.window_of[tokens]]
