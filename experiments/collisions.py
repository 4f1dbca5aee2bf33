"""Label collisions: how many features of a run are called the same as another?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .results import Result

#: Texts → float32 [n, d], each row of length 1 (see `scoring.embedding.Encoder.vectors`).
Vectors = Callable[[Sequence[str]], np.ndarray]
#: The cosine of two features' labels from which they are nearly the same.
NEAR = 0.9


@dataclass(frozen=True)
class Collisions:
    """Features that share their labels.

    features: those that have labels. groups: ids of features, each group of two or more whose
    label sets are equal; order, case and white space do not count. near: how many have labels whose
    embedding is near another's, the equal ones among them; None where that was not asked. pairs: the
    near ones, each with the cosine of their labels, the nearest first.
    """

    features: int
    groups: tuple[tuple[str, ...], ...]
    near: int | None = None
    pairs: tuple[tuple[str, str, float], ...] = ()

    @property
    def same(self) -> int:
        """Features whose label set is another's too."""
        return sum(map(len, self.groups))

    @property
    def share(self) -> float | None:
        """Share of features whose label set is another's too; None with fewer than two."""
        return self.same / self.features if self.features > 1 else None

    @property
    def near_share(self) -> float | None:
        """Share of features whose labels are nearly another's; None where that is not known."""
        return None if self.near is None or self.features < 2 else self.near / self.features

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "features": self.features,
            "same": self.same,
            "near": self.near,
            "groups": [list(group) for group in self.groups],
            "pairs": [
                {"features": [one, other], "cosine": cosine} for one, other, cosine in self.pairs
            ],
        }

    def line(self) -> str:
        """In one line; "" with fewer than two features."""
        if self.features < 2:
            return ""
        near = "" if self.near is None else f", {self.near} nearly"
        return f"Labels: {self.same} of {self.features} features share theirs with another{near}."


def collisions(
    results: Sequence[Result], vectors: Vectors | None = None, near: float = NEAR
) -> Collisions:
    """The collisions among the labels of some results. vectors: embeds labels, to find near ones."""
    labelled = {one.feature: found for one in results if (found := _labels(one))}
    groups: dict[frozenset[str], list[str]] = {}
    for feature, labels in labelled.items():
        groups.setdefault(labels, []).append(feature)
    shared = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    if vectors is None:
        return Collisions(len(labelled), shared)
    pairs = _near(labelled, vectors, near)
    close = {feature for one, other, _ in pairs for feature in (one, other)}
    return Collisions(len(labelled), shared, len(close), pairs)


def _labels(result: Result) -> frozenset[str]:
    words = (" ".join(label.split()).casefold() for label in result.explanation.labels)
    return frozenset(word for word in words if word)


def _near(
    labelled: Mapping[str, frozenset[str]], vectors: Vectors, near: float
) -> tuple[tuple[str, str, float], ...]:
    """Pairs of features whose labels are near each other, with the cosine, the nearest first."""
    if not labelled:
        return ()
    rows = np.asarray(vectors(["; ".join(sorted(one)) for one in labelled.values()]), np.float64)
    cosines = np.triu(rows @ rows.T, 1)
    names = [*labelled]
    found = [
        (names[i], names[j], round(float(cosines[i, j]), 6))
        for i, j in zip(*np.nonzero(cosines >= near - 1e-6), strict=True)
    ]
    return tuple(sorted(found, key=lambda pair: -pair[2]))
