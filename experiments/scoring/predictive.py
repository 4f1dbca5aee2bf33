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
from .bench import Band, Level, Marks, MixtureCounts, Target, reaches, scorer
from .score import Score, of_units, ratio
from .simulator import Simulator

NAMES = ("predictive_pearson", "predictive_auprc", "coverage", "recall", "precision")
#: Edges of predicted levels, as shares of the typical maximum.
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8)


@scorer("predictive", NAMES)
async def predictive(target: Target, simulator: Simulator) -> Marks:
    """The five scores of this module's table, with the details behind them."""
    measured = np.maximum(target.held_out.activations(target.feature), 0).astype(np.float64)
    for silent, split in ((not target.stats.typical_max, "explain"), (not measured.any(), "score")):
        if silent:
            reason = f"the feature never fires on the {split} split"
            return Marks({name: Score.undefined(reason) for name in NAMES})
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


def pearson(predicted: np.ndarray, measured: np.ndarray, unit: np.ndarray, seed: int) -> Score:
    """Pearson's correlation over tokens, cov(p, a) / √(var(p) var(a)).

    unit: int [n], the document of each token. A constant prediction has no skill: 0, and the reason
    says so. A constant measurement cannot be predicted: undefined.
    """
    if np.ptp(measured) == 0:
        return Score.undefined("the feature has the same activation on every token of the mixture")
    reason = None
    if np.ptp(predicted) == 0:
        reason = "the explanation predicts the same for every token, which has no predictive skill"
    p, a = _standard(predicted), _standard(measured)
    columns = np.stack([np.ones_like(p), p, a, p * p, a * a, p * a], axis=1)
    units = _sums(columns, unit)
    undefined = "the feature hardly varies over the mixture"
    return of_units(units, _correlation, seed, undefined=undefined, reason=reason)


def _standard(values: np.ndarray) -> np.ndarray:
    deviation = values.std()
    return (values - values.mean()) / deviation if np.ptp(values) else np.zeros_like(values)


def _correlation(totals: np.ndarray) -> np.ndarray:
    """Pearson from sums of 1, p, a, p², a², pa: [..., 6] → [...]. 0 for a constant p."""
    n, p, a, pp, aa, pa = np.moveaxis(totals, -1, 0)
    var_p, var_a = pp / n - (p / n) ** 2, aa / n - (a / n) ** 2
    # The columns have unit variance, so that what is left below this is rounding.
    known, varies = var_a > 1e-9, var_p > 1e-9
    scale = np.sqrt(np.where(known, var_a, 1.0) * np.where(varies, var_p, 1.0))
    r = np.clip((pa / n - p * a / n**2) / scale, -1, 1)
    return np.where(known, np.where(varies, r, 0.0), np.nan)


def auprc(predicted: np.ndarray, fires: np.ndarray, unit: np.ndarray, seed: int) -> Score:
    """Average precision Σ (R_i − R_{i−1}) P_i over the distinct predicted levels, highest first.

    fires: bool [n]. unit: int [n], the document of each token. Undefined when no token fires. A
    constant prediction gets the share of tokens that fire; the reason says so.
    """
    levels, place = np.unique(-predicted, return_inverse=True)
    reason = None
    if len(levels) == 1:
        reason = "the explanation predicts the same for every token: this is the base rate"
    names, row = np.unique(unit, return_inverse=True)
    size = len(names), len(levels)
    cell = row * len(levels) + place
    counts = [np.bincount(cell, weights, np.prod(size)) for weights in (fires, np.ones(len(fires)))]
    units = np.concatenate([count.reshape(size) for count in counts], axis=1)
    undefined = "no token of the mixture fires"
    return of_units(units, _average_precision, seed, undefined=undefined, reason=reason)


def _average_precision(totals: np.ndarray) -> np.ndarray:
    """From (firing, all) tokens by level, highest first: [..., 2 × levels] → [...]."""
    firing, all_ = np.split(totals, 2, axis=-1)
    positives = firing.sum(axis=-1)
    precision = firing.cumsum(axis=-1) / np.maximum(all_.cumsum(axis=-1), 1.0)
    area = (firing * precision).sum(axis=-1)
    return np.where(positives > 0, area / np.maximum(positives, 1.0), np.nan)


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
    units = _sums(columns, _documents(target, acts))
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
    units = _sums(np.concatenate([found, member], axis=1), _documents(target, acts))
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
    units = _sums(columns, _documents(target, said))
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


def _sums(columns: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Rows of the same unit added up: float [n, k], int [n] → float64 [units, k]."""
    names, place = np.unique(unit, return_inverse=True)
    sums = [np.bincount(place, weights=column, minlength=len(names)) for column in columns.T]
    return np.stack(sums, axis=1).astype(np.float64)
