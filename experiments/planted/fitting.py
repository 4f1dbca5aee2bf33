"""Fitting: for a program's labels the direction in a model's activations that comes nearest to them.

A ridge regression whose firing and silent pieces weigh the same, and once more with the silent
pieces that it mistook most weighing as much as all others: near misses are few, and decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

#: From this F1 on, on text drawn anew, a latent realises its program.
REALISED = 0.9
#: The ridge, as a share of the mean variance of the activations.
RIDGE = 1e-3
#: Silent pieces that count as those a first fit mistook, for each firing one.
HARD = 2


@dataclass(frozen=True)
class Direction:
    """A latent fires where x · weights + bias is above threshold. weights: float32 [d]."""

    weights: np.ndarray
    bias: float
    threshold: float

    def on(self, x: np.ndarray) -> np.ndarray:
        """float32 [n]: what it makes of activations [n, d] of the model, as a JumpReLU."""
        before = x @ self.weights + np.float32(self.bias)
        return np.where(before > self.threshold, before, np.float32(0.0))

    def scaled(self, by: float) -> Direction:
        """The same, so many times as high."""
        return Direction(self.weights * np.float32(by), self.bias * by, self.threshold * by)


def fitted(x: np.ndarray, label: np.ndarray, counts: np.ndarray) -> Direction:
    """The direction for labels [n] on activations [n, d], at the pieces that count (bool [n]).

    Its threshold is still 0. Where all that counts fires or is silent, it says just that.
    """
    fires, silent = counts & (label > 0), counts & (label <= 0)
    if not fires.any() or not silent.any():
        return Direction(np.zeros(x.shape[1], np.float32), 1.0 if fires.any() else -1.0, 0.0)
    first = _ridge(x, label, [fires, silent])
    hard = np.flatnonzero(silent)
    mistaken = hard[np.argsort(-first.on(x[hard]), kind="stable")[: HARD * int(fires.sum())]]
    return _ridge(x, label, [fires, silent, mistaken])


def _ridge(x: np.ndarray, label: np.ndarray, groups: Sequence[np.ndarray]) -> Direction:
    """Least squares, each group of pieces weighing the same, of centred activations."""
    means = [x[group].mean(0, dtype=np.float64) for group in groups]
    centre, level = np.mean(means, 0), float(np.mean([label[group].mean() for group in groups]))
    spread, along = np.zeros((x.shape[1],) * 2), np.zeros(x.shape[1])
    for group in groups:
        off = (x[group] - centre).astype(np.float32)
        spread += off.T @ off / len(off)
        along += off.T @ (label[group] - np.float32(level)) / len(off)
    spread[np.diag_indices_from(spread)] += RIDGE * np.trace(spread) / len(spread)
    weights = np.linalg.solve(spread, along)
    return Direction(weights.astype(np.float32), level - float(centre @ weights), 0.0)


def best_threshold(score: np.ndarray, fires: np.ndarray) -> float:
    """The threshold on scores [n], none below 0, that tells firing ones best (by F1).

    It stands halfway to the next lower score. Where none fires: above all scores.
    """
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(fires[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + max(1, fires.sum()))
    f1[:-1][ranked[:-1] == ranked[1:]] = 0.0  # no threshold parts equal scores
    f1[ranked <= 0] = 0.0
    if not f1.any():
        return float(score.max(initial=0.0)) + 1.0
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float(ranked[best] + below) / 2


class Latent(BaseModel):
    """How well a latent realises its program, token by token. Its number is the program's.

    f1: of the tokens that fire. auc: of its activations without the threshold; None where the
    program fires on every token or none.
    """

    model_config = ConfigDict(frozen=True)

    feature: int
    f1: float
    auc: float | None

    @property
    def realised(self) -> bool:
        """Whether the model has a direction for the program; if not, nobody explains the latent."""
        return self.f1 >= REALISED


def tried(feature: int, score: np.ndarray, threshold: float, fires: np.ndarray) -> Latent:
    """A latent on fresh text: its scores without a threshold and what is true, of each token."""
    from sklearn.metrics import roc_auc_score

    predicted = score > threshold
    said = int(predicted.sum() + fires.sum())
    both = int((predicted & fires).sum())
    auc = None if fires.all() or not fires.any() else float(roc_auc_score(fires, score))
    return Latent(feature=feature, f1=2 * both / said if said else 1.0, auc=auc)
