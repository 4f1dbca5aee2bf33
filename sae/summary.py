"""The figures of all features at once: how they fire on each split, and their strata.

Features are taken a block at a time, so that memory does not grow with the corpus; within a block
everything is array operations. The figures are those of `FeatureStats`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .evidence import QUANTILES, TOP_CONTEXTS, SplitEvidence
from .lookup import pearsons, stratum_of

if TYPE_CHECKING:
    from pandas import DataFrame

#: How many non-zero activations are looked at at once.
BLOCK = 1_000_000

QUANTILE_NAMES = tuple(f"q{round(100 * share)}" for share in QUANTILES)


def summarise(splits: Mapping[str, SplitEvidence], features: Sequence[int]) -> DataFrame:
    """The figures of `features` on every split: a row for each of them on each split.

    Columns: see `Evidence.table`, and "split". lookup_pearson and stratum are those of `explain`.
    """
    import pandas as pd

    wanted = np.asarray(features)
    lookup = _lookups(splits["explain"], wanted)
    frames = []
    for name, split in splits.items():
        figures = pd.DataFrame(_figures(split, wanted))
        figures.insert(0, "split", name)
        figures.insert(1, "feature", wanted)
        figures["lookup_pearson"] = lookup
        figures["stratum"] = [stratum_of(value) for value in lookup]
        frames.append(figures)
    return pd.concat(frames, ignore_index=True)


def _lookups(split: SplitEvidence, features: np.ndarray) -> np.ndarray:
    found = [
        pearsons(split.tokens, *split.entries(block), len(block))
        for block in _blocks(split, features)
    ]
    return np.concatenate(found) if found else np.empty(0)


def _figures(split: SplitEvidence, features: np.ndarray) -> dict[str, np.ndarray]:
    parts = [_block_figures(split, block) for block in _blocks(split, features)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _blocks(split: SplitEvidence, features: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive features that together have at most BLOCK entries (or one that has more)."""
    ends = np.cumsum(split.sizes(features))
    start = 0
    while start < len(features):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        yield features[start:stop]
        start = stop


def _block_figures(split: SplitEvidence, features: np.ndarray) -> dict[str, np.ndarray]:
    n = len(features)
    places, at, values = split.entries(features)
    firing = values > 0
    places, at, values = places[firing], at[firing], values[firing]
    fired = np.bincount(places, minlength=n)
    sums = np.bincount(places, weights=values, minlength=n)
    starts = np.concatenate([[0], np.cumsum(fired)])
    ranked = values[np.lexsort((values, places))]
    return {
        "fired": fired,
        "density": fired / max(1, len(split.tokens)),
        "maximum": _quantile(ranked, starts, 1.0),
        "mean": np.divide(sums, fired, out=np.zeros(n), where=fired > 0),
        "typical_max": _typical_max(places, split.tokens.window_of[at], values, n),
        **{
            name: _quantile(ranked, starts, share)
            for name, share in zip(QUANTILE_NAMES, QUANTILES, strict=True)
        },
    }


def _quantile(ranked: np.ndarray, starts: np.ndarray, share: float) -> np.ndarray:
    """Linear-interpolated quantile of each group of `ranked`, 0 for an empty one."""
    sizes = np.diff(starts)
    place = starts[:-1] + share * np.maximum(sizes - 1, 0)
    below = np.floor(place).astype(np.int64)
    last = np.maximum(starts[1:] - 1, 0)
    if not len(ranked):
        return np.zeros(len(sizes))
    low = ranked[np.minimum(below, last)].astype(float)
    high = ranked[np.minimum(below + 1, last)].astype(float)
    return np.where(sizes > 0, low + (high - low) * (place - below), 0.0)


def _typical_max(places: np.ndarray, windows: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Mean of the highest activations of each feature's TOP_CONTEXTS strongest windows."""
    if not len(values):
        return np.zeros(n)
    new = np.flatnonzero(np.concatenate([[True], (np.diff(places) != 0) | (np.diff(windows) != 0)]))
    peaks, owners = np.maximum.reduceat(values, new), places[new]
    order = np.lexsort((-peaks, owners))
    peaks, owners = peaks[order], owners[order]
    rank = np.arange(len(owners)) - np.searchsorted(owners, owners)
    top = rank < TOP_CONTEXTS
    sums = np.bincount(owners[top], weights=peaks[top], minlength=n)
    counts = np.bincount(owners[top], minlength=n)
    return np.divide(sums, counts, out=np.zeros(n), where=counts > 0)
