"""Metrics of two columns, each with its interval: what was predicted beside what was measured.

Every metric here is a function of sums over items, so that one bootstrap resamples whole units (the
documents) whatever the metric. p: predicted, a: measured, of the same item (a token, or a context).

| function | formula | source |
|---|---|---|
| pearson | cov(p, a) / √(var(p) var(a)) | Bills et al. 2023 |
| cosine | Σ p a / √(Σ p² Σ a²) | NeuronEval (Oikarinen et al. 2025) |
| auprc | Σ (R_i − R_{i−1}) P_i, by falling p | the usual average precision |
| auc | P(p⁺ > p⁻) + ½ P(p⁺ = p⁻) | Mann & Whitney 1947 |
| gini | 2 auc − 1 | FADE (Puri et al. 2025) |
| f1 | 2 TP / (2 TP + FP + FN) | NeuronEval |
| iou | TP / (TP + FP + FN) | NeuronEval; Bau et al. 2017 |
"""

from __future__ import annotations

import numpy as np

from .score import Score, Statistic, of_units


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
    units = sums_of(columns, unit)
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
    reason = None
    if np.ptp(predicted) == 0:
        reason = "the explanation predicts the same for every token: this is the base rate"
    undefined = "no token of the mixture fires"
    units = _by_level(predicted, fires, unit)
    return of_units(units, _average_precision, seed, undefined=undefined, reason=reason)


def _by_level(predicted: np.ndarray, fires: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(firing, all) items at each predicted level, highest first: float64 [units, 2 × levels]."""
    levels, place = np.unique(-predicted, return_inverse=True)
    names, row = np.unique(unit, return_inverse=True)
    size = len(names), len(levels)
    cell = row * len(levels) + place
    counts = [np.bincount(cell, weights, np.prod(size)) for weights in (fires, np.ones(len(fires)))]
    return np.concatenate([count.reshape(size) for count in counts], axis=1)


def _average_precision(totals: np.ndarray) -> np.ndarray:
    """From (firing, all) tokens by level, highest first: [..., 2 × levels] → [...]."""
    firing, all_ = np.split(totals, 2, axis=-1)
    positives = firing.sum(axis=-1)
    precision = firing.cumsum(axis=-1) / np.maximum(all_.cumsum(axis=-1), 1.0)
    area = (firing * precision).sum(axis=-1)
    return np.where(positives > 0, area / np.maximum(positives, 1.0), np.nan)


def auc(predicted: np.ndarray, fires: np.ndarray, unit: np.ndarray, seed: int) -> Score:
    """Area under the ROC curve: how often a firing item is predicted above a silent one.

    P(p⁺ > p⁻) + ½ P(p⁺ = p⁻) over all pairs. fires: bool [n]. Undefined when all items are alike; .5 for a
    constant prediction.
    """
    undefined = "the area under the curve needs items that fire and items that are silent"
    if not len(predicted):
        return Score.undefined(undefined)
    return of_units(_by_level(predicted, fires, unit), _area, seed, undefined=undefined)


def _area(totals: np.ndarray) -> np.ndarray:
    """From (firing, all) items by level, highest first: [..., 2 × levels] → [...]."""
    firing, all_ = np.split(totals, 2, axis=-1)
    silent = all_ - firing
    pairs = firing.sum(axis=-1) * silent.sum(axis=-1)
    above = firing.cumsum(axis=-1) - firing / 2
    return np.where(pairs > 0, (silent * above).sum(axis=-1) / np.maximum(pairs, 1.0), np.nan)


def gini(area: Score) -> Score:
    """2 AUC − 1 of an AUC with its interval: −1 to 1, 0 for what knows nothing."""
    ends = {
        name: None if value is None else 2 * value - 1
        for name, value in (("value", area.value), ("low", area.low), ("high", area.high))
    }
    return area.model_copy(update=ends)


def cosine(predicted: np.ndarray, measured: np.ndarray, unit: np.ndarray, seed: int) -> Score:
    """Cosine similarity Σ p a / √(Σ p² Σ a²), without taking off the means.

    unit: int [n], the document of each item. Zero, with the reason, where all that is predicted is
    0; undefined where all that is measured is 0.
    """
    reason = None if predicted.any() else "the explanation predicts nothing to fire"
    columns = np.stack([predicted**2, measured**2, predicted * measured], axis=1)
    undefined = "nothing that was measured is above 0"
    return of_units(sums_of(columns, unit), _cosine, seed, undefined=undefined, reason=reason)


def _cosine(totals: np.ndarray) -> np.ndarray:
    pp, aa, pa = np.moveaxis(totals, -1, 0)
    scale = np.sqrt(np.where(pp > 0, pp, 1.0) * np.where(aa > 0, aa, 1.0))
    return np.where(aa > 0, np.where(pp > 0, pa / scale, 0.0), np.nan)


def f1(said: np.ndarray, fires: np.ndarray, unit: np.ndarray, seed: int) -> Score:
    """F1 = 2 TP / (2 TP + FP + FN), of bool columns [n]; undefined where nothing fires."""
    return _of_hits(said, fires, unit, seed, _f1)


def iou(said: np.ndarray, fires: np.ndarray, unit: np.ndarray, seed: int) -> Score:
    """Intersection over union TP / (TP + FP + FN), of bool columns [n]; undefined as for F1."""
    return _of_hits(said, fires, unit, seed, _iou)


def _of_hits(
    said: np.ndarray, fires: np.ndarray, unit: np.ndarray, seed: int, statistic: Statistic
) -> Score:
    """A statistic of (hits, said, firing) items."""
    columns = np.stack([said & fires, said, fires], axis=1).astype(np.float64)
    return of_units(sums_of(columns, unit), statistic, seed, undefined="no item fires")


def _f1(totals: np.ndarray) -> np.ndarray:
    hits, said, fires = np.moveaxis(totals, -1, 0)
    return np.where(fires > 0, 2 * hits / np.maximum(said + fires, 1.0), np.nan)


def _iou(totals: np.ndarray) -> np.ndarray:
    hits, said, fires = np.moveaxis(totals, -1, 0)
    return np.where(fires > 0, hits / np.maximum(said + fires - hits, 1.0), np.nan)


def sums_of(columns: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Rows of the same unit added up: float [n, k], int [n] → float64 [units, k]."""
    names, place = np.unique(unit, return_inverse=True)
    sums = [np.bincount(place, weights=column, minlength=len(names)) for column in columns.T]
    return np.stack(sums, axis=1).astype(np.float64)
