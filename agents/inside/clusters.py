"""Clusters of samples that share contributors: the mechanisms by which a feature fires.

Each sample is a set of contributors. Samples are joined, nearest first, by the mean Jaccard distance
between groups (CircuitLens, Golimblevskaia et al. 2025, clusters them by density); where to stop is
the cut with the highest mean silhouette (Rousseeuw 1987). One cluster is an answer: a cut counts only
where its silhouette is beyond what the same contributors give when each is dealt out to samples anew,
independently of the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Hashable, Sequence

import numpy as np

#: Contributors of a smaller share of the samples are left out (rho of the paper).
RHO = 0.1
#: The most clusters, and the smallest share of the samples that one may have.
MOST, SMALLEST = 8, 0.05
#: How often contributors are dealt out anew, and how many standard deviations beyond that is enough.
DEALT, BEYOND = 20, 5.0
#: A lower mean silhouette is no structure, whatever chance gives.
LEAST = 0.05


def presence(
    samples: Sequence[Collection[Hashable]], rho: float = RHO
) -> tuple[np.ndarray, list[Hashable]]:
    """bool [samples, contributors]: which sample has which, of those that enough samples have."""
    counts: dict[Hashable, int] = {}
    for sample in samples:
        for one in set(sample):
            counts[one] = counts.get(one, 0) + 1
    enough = (one for one, n in counts.items() if n >= max(2.0, rho * len(samples)))
    # Sets have another order in each process, and chance is dealt out column by column.
    kept = sorted(enough, key=repr)
    place = {one: number for number, one in enumerate(kept)}
    found = np.zeros((len(samples), len(kept)), bool)
    for row, sample in enumerate(samples):
        found[row, [place[one] for one in set(sample) if one in place]] = True
    return found, kept


def jaccard(present: np.ndarray) -> np.ndarray:
    """float [samples, samples]: shared contributors as a share of all that two samples have."""
    counts = present.sum(1)
    shared = present.astype(np.float64) @ present.T.astype(np.float64)
    union = counts[:, None] + counts[None] - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 0.0)


def clustered(present: np.ndarray, seed: int = 0) -> np.ndarray:
    """int [samples]: the cluster of each sample, the largest 0. present: see `presence`."""
    n = len(present)
    if n < 4 or not present.any():
        return np.zeros(n, int)
    labels, score = _best_cut(present)
    draw = np.random.default_rng(seed)
    dealt = np.array([_best_cut(draw.permuted(present, axis=0))[1] for _ in range(DEALT)])
    if score < max(LEAST, dealt.mean() + BEYOND * dealt.std()):
        return np.zeros(n, int)
    return labels


def _best_cut(present: np.ndarray) -> tuple[np.ndarray, float]:
    """The cut with the highest silhouette, and that; -1 where there is none of two clusters."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics import silhouette_score

    near = jaccard(present)
    away = 1 - near
    np.fill_diagonal(away, 0)
    tree = linkage(squareform(away, checks=False), "average")
    best, score, known = np.zeros(len(present), int), -1.0, set()
    # Outliers are clusters of one, so that a few large ones may need many cuts.
    for cut in range(2, min(len(present), 4 * MOST)):
        labels = _without_small(fcluster(tree, cut, "maxclust"), near)
        key = labels.tobytes()
        if key in known or not 2 <= len(np.unique(labels)) <= MOST:
            continue
        known.add(key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = float(silhouette_score(away, labels, metric="precomputed"))
        if found > score + 1e-9:
            best, score = labels, found
    return best, score


def _without_small(labels: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Clusters numbered from the largest on, with what is in too small ones in the nearest other."""
    names, counts = np.unique(labels, return_counts=True)
    least = max(2.0, SMALLEST * len(labels))
    large = names[counts >= least]
    if not len(large):
        return np.zeros(len(labels), int)
    order = large[np.argsort(-counts[counts >= least], kind="stable")]
    means = np.stack([near[:, labels == name].mean(1) for name in order], axis=1)
    found = means.argmax(1)
    for place, name in enumerate(order):
        found[labels == name] = place
    return found
