"""The token lookup table: the reference that every explanation of a lexical feature has to meet.

"token → its mean activation", with thousands of entries, knows all that the current token can tell.
How well it predicts text it was not fitted on says what kind of feature it is: *lexical* where it
predicts well, *contextual* where the token alone does not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import SplitEvidence
from .tokens import TokenTable

#: From this Pearson correlation of its lookup table on, a feature is lexical.
LEXICAL_FROM = 0.6


@dataclass(frozen=True)
class TokenLookup:
    """A fitted table. means: token → mean activation, of the tokens whose mean is not zero."""

    means: dict[str, float]

    @classmethod
    def fit(cls, split: SplitEvidence, feature: int) -> TokenLookup:
        """The table of one feature on all tokens of a split."""
        _, at, values = split.entries([feature])
        table = split.tokens
        sums = np.bincount(table.ids[at], weights=values, minlength=len(table.vocab))
        counts = np.bincount(table.ids, minlength=len(table.vocab))
        return cls({table.vocab[t]: sums[t] / counts[t] for t in np.flatnonzero(sums).tolist()})

    def predict(self, tokens: Sequence[str]) -> np.ndarray:
        """float32 [n]: the mean of each token, 0 for one that was never seen or never fired."""
        return np.array([self.means.get(token, 0.0) for token in tokens], np.float32)


def lookup_pearson(split: SplitEvidence, feature: int) -> float:
    """How well a table of one half of a split's documents predicts the other (see `pearsons`)."""
    return float(pearsons(split.tokens, *split.entries([feature]), 1)[0])


def stratum_of(pearson: float) -> str:
    """ "lexical" or "contextual"."""
    return "lexical" if pearson >= LEXICAL_FROM else "contextual"


def pearsons(
    tokens: TokenTable, places: np.ndarray, at: np.ndarray, values: np.ndarray, n: int
) -> np.ndarray:
    """float64 [n]: for n features, the Pearson correlation of table and activation.

    The table is fitted on every other document and measured over all tokens of the rest, both ways;
    the mean of the two is returned, where a correlation without any variance counts as 0. Entries
    (places, at, values: see SplitEvidence.entries) are summed by token, so that nothing of the size
    [tokens, features] is made.
    """
    _, rank = np.unique(tokens.documents, return_inverse=True)
    half = (rank % 2)[tokens.window_of].astype(bool)
    vocabulary = len(tokens.vocab)
    counts = [np.bincount(tokens.ids[half == side], minlength=vocabulary) for side in (0, 1)]
    side_of = half[at]
    keys = places * np.int64(vocabulary) + tokens.ids[at]
    folds = []
    for side in (0, 1):
        some = side_of == side
        squares = np.bincount(
            places[some], weights=np.square(values[some], dtype=float), minlength=n
        )
        folds.append((*_summed(keys[some], values[some]), squares))
    return (
        _across(folds[0], folds[1], counts[0], counts[1], n)
        + _across(folds[1], folds[0], counts[1], counts[0], n)
    ) / 2


def _summed(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, ascending, and the sum of the values of each."""
    distinct, group = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(group, weights=values, minlength=len(distinct))


def _across(
    fitted: tuple[np.ndarray, np.ndarray, np.ndarray],
    measured: tuple[np.ndarray, np.ndarray, np.ndarray],
    fitted_counts: np.ndarray,
    measured_counts: np.ndarray,
    n: int,
) -> np.ndarray:
    """Pearson on one half of the table of the other, from sums: of x, y, x², y² and xy."""
    keys, sums, _ = fitted
    other_keys, other_sums, other_squares = measured
    feature, token = np.divmod(keys, len(fitted_counts))
    mean = sums / fitted_counts[token]
    seen = measured_counts[token]
    place = np.minimum(np.searchsorted(other_keys, keys), max(0, len(other_keys) - 1))
    shared = other_keys[place] == keys if len(other_keys) else np.zeros(len(keys), bool)
    x = np.bincount(feature, weights=mean * seen, minlength=n)
    xx = np.bincount(feature, weights=mean**2 * seen, minlength=n)
    xy = np.bincount(feature[shared], weights=mean[shared] * other_sums[place[shared]], minlength=n)
    y = np.bincount(other_keys // len(fitted_counts), weights=other_sums, minlength=n)
    total = max(1, measured_counts.sum())
    spread_x, spread_y = (
        _variance(x / total, xx / total),
        _variance(y / total, other_squares / total),
    )
    covariance = xy / total - x * y / total**2
    scale = np.sqrt(spread_x * spread_y)
    return np.divide(covariance, scale, out=np.zeros(n), where=scale > 0)


def _variance(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """From mean and mean square; what is left by rounding where there is no variance becomes 0."""
    variance = square - mean**2
    return np.where(variance > 1e-10 * square, variance, 0.0)
