"""Neighbours: the features that fire where a feature fires, and are most easily mistaken for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .errors import FeatureError, TextError
from .evidence import Evidence
from .identifiability import ALWAYS, AMBIGUOUS, LEAST, TIED, turn_of

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
    """A feature that the data cannot tell from this one.

    overlap: the share of the tokens on which either fires where both do. shared: the share of its
    energy (squared activations) that each has where both fire, of the two the smaller one. turn: how
    far their directions can be turned unnoticed, in degrees (`identifiability.turn_of`), None where
    there was no decoder to look at.
    """

    partner: int
    overlap: float
    shared: float
    turn: float | None = None

    @property
    def holds(self) -> bool:
        """Whether both fire on ALWAYS of the tokens of either, or other directions would do as well."""
        turned = self.turn is not None and self.turn >= AMBIGUOUS
        return self.overlap >= ALWAYS or (self.shared >= TIED and turned)

    def __str__(self) -> str:
        why = [f"of the tokens on which either fires, both fire on {self.overlap:.0%}"]
        if self.overlap < ALWAYS:
            why = [
                f"each has {self.shared:.0%} or more of its squared activations where both fire",
                f"directions {self.turn:.0f}° from theirs would do as well",
            ]
        return f"Cannot be told apart from feature {self.partner} on this corpus: {', and '.join(why)}."


#: The directions of some features, [features, d].
Decoder = Callable[[Sequence[int]], np.ndarray]


def tie_of(evidence: Evidence, feature: int, decoder: Decoder | None = None) -> Tie | None:
    """Which feature the `explain` split cannot tell from this one, if there is any.

    Looked for among the neighbours, of which a tied feature is one of the nearest. With a decoder
    the pairs that `sagescope identify` calls ambiguous are found as well. Raises FeatureError for a
    feature that the evidence does not cover.
    """
    split = evidence.reader("explainer").split("explain")
    own = split.activations(feature)
    near = neighbourhood_of(evidence) if (own > 0).sum() >= LEAST else None
    found = (
        _tie(feature, other, np.stack([own, split.activations(other)], axis=1), decoder)
        for other in (near.nearest(feature) if near else ())
    )
    held = [tie for tie in found if tie is not None and tie.holds]
    return max(held, key=lambda tie: tie.shared, default=None)


def _tie(feature: int, other: int, codes: np.ndarray, decoder: Decoder | None) -> Tie | None:
    """What two have to do with each other; None with too few tokens of both. codes: [tokens, 2]."""
    codes = codes[(codes > 0).any(1)].astype(np.float64)
    both = (codes > 0).all(1)
    if both.sum() < LEAST:
        return None
    energy = codes**2
    shared = float((energy[both].sum(0) / energy.sum(0)).min())
    turn = None
    if decoder is not None and shared >= TIED:
        turn = turn_of(codes, decoder([feature, other]).astype(np.float64))
    return Tie(other, float(both.mean()), shared, turn)
