"""Neighbours: the features that fire where a feature fires, and are most easily mistaken for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .errors import FeatureError, TextError
from .evidence import Evidence
from .identifiability import ALWAYS, LEAST

#: Features that are read at once; bounds memory.
CHUNK = 512
#: Tokens of the `explain` split that are compared on, evenly spaced; bounds memory and time.
TOKENS = 100_000
#: Activations that are looked at to find neighbours. More is only in functions of many features.
MOST_ENTRIES = 50_000_000


class Neighbourhood:
    """Which features of an evidence's reference are most like a feature.

    cos(f, g) = Σ_t f_t g_t / √(Σ_t f_t² Σ_t g_t²) of their activations, token by token, over up to
    TOKENS tokens of the `explain` split. f may be any feature that the evidence covers, g one of its
    `reference`, which is the same wherever the evidence was made.
    """

    def __init__(self, evidence: Evidence):
        self.features = np.sort(np.asarray(evidence.reference, np.int64))
        self._covered = evidence.features
        self._split = evidence.reader("explainer").split("explain")

    def nearest(self, feature: int, n: int = 8) -> tuple[int, ...]:
        """The n features most like it, the most alike first; those that never fire with it are none.

        Raises FeatureError for a feature that the evidence does not cover.
        """
        if feature not in self._covered:
            raise FeatureError(f"The evidence does not cover feature {feature}.")
        place = np.flatnonzero(self.features == feature)
        own = self._units[:, place] if len(place) else self._of([feature])
        cosines = np.asarray((self._units.T @ own).todense()).ravel()
        cosines[place] = 0.0
        order = np.lexsort((self.features, -cosines))[:n]
        return tuple(int(self.features[k]) for k in order if cosines[k] > 0)

    @cached_property
    def _units(self):
        return self._of(self.features.tolist())

    def _of(self, features: list[int]):
        """Sparse [tokens, features]: activations, each feature's scaled to length 1."""
        from scipy.sparse import csc_array

        step = max(1, -(-len(self._split.tokens) // TOKENS))
        rows, columns, values = [], [], []
        for start in range(0, len(features), CHUNK):
            places, at, found = self._split.entries(features[start : start + CHUNK])
            kept = (at % step == 0) & (found > 0)
            rows.append(at[kept] // step)
            columns.append(places[kept] + start)
            values.append(found[kept].astype(np.float64))
        shape = (-(-len(self._split.tokens) // step), len(features))
        where = (np.concatenate(rows), np.concatenate(columns)) if rows else ([], [])
        matrix = csc_array((np.concatenate(values) if values else [], where), shape=shape)
        lengths = np.sqrt((matrix * matrix).sum(axis=0))
        lengths[lengths == 0] = 1.0
        return csc_array(matrix / lengths[None, :])


@lru_cache(maxsize=4)
def neighbourhood_of(evidence: Evidence) -> Neighbourhood | None:
    """Who is near whom; None where that takes too long, or a feature's trouble forbids it."""
    features = np.asarray(evidence.reference, np.int64)
    explain = evidence.reader("explainer").split("explain")
    if not len(features) or explain.sizes(features).sum() > MOST_ENTRIES:
        return None
    found = Neighbourhood(evidence)
    try:
        found.nearest(int(features[0]), 1)
    except TextError:
        return None
    return found


@dataclass(frozen=True)
class Tie:
    """The feature that one fires together with nearly whenever either does.

    overlap: the share of the tokens on which either fires where both do, ALWAYS or more.
    """

    partner: int
    overlap: float

    def __str__(self) -> str:
        return (
            f"Cannot be told apart from feature {self.partner} on this corpus: of the tokens on which "
            f"either fires, both fire on {self.overlap:.0%}."
        )


def tie_of(evidence: Evidence, feature: int) -> Tie | None:
    """Which feature the `explain` split cannot tell from this one, if there is any.

    Looked for among the neighbours, of which a tied feature is one of the nearest. Raises
    FeatureError for a feature that the evidence does not cover.
    """
    split = evidence.reader("explainer").split("explain")
    own = split.activations(feature) > 0
    near = neighbourhood_of(evidence) if own.sum() >= LEAST else None
    ties = []
    for other in near.nearest(feature) if near else ():
        fires = split.activations(other) > 0
        both = int((own & fires).sum())
        if both >= LEAST and both >= ALWAYS * int((own | fires).sum()):
            ties.append(Tie(other, both / int((own | fires).sum())))
    return max(ties, key=lambda tie: tie.overlap, default=None)
