"""Excerpts: short contexts of the `score` split, cut around one token each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...sae.evidence import Evidence, SplitEvidence
from ...sae.mixture import lots, stretch
from ...sae.tokens import TokenTable
from .simulator import Context

#: Tokens that are shown.
LENGTH = 32

#: A number for each window, drawn from its tokens and the seed.
lots_of = lru_cache(maxsize=4)(lots)


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A context, with its places in the split (first to end, exclusive) and its document."""

    context: Context
    first: int
    end: int
    document: int

    @property
    def text(self) -> str:
        """What is shown."""
        return "".join(self.context.shown)

    def peak(self, values: np.ndarray) -> float:
        """The highest of the split's values in what is shown, at least 0."""
        return float(values[self.first : self.end].max(initial=0.0))


def cut(table: TokenTable, window: int, place: int) -> Excerpt:
    """At most LENGTH tokens of a window around the token at `place`, counted from its first."""
    start = int(table.starts[window])
    shown = stretch(table, window, place, LENGTH)
    first, end = int(shown[0]), int(shown[-1]) + 1
    context = Context(tuple(table.window(window)), first - start, end - start)
    return Excerpt(context, first, end, int(table.documents[window]))


def firing(
    split: SplitEvidence, feature: int, threshold: float, n: int, seed: int
) -> Iterator[Excerpt]:
    """Excerpts around the peaks of windows that reach the threshold, n at most.

    The windows are ordered by peak and cut into n equal bands, one of each, so that the middle of
    the range is not left out.
    """
    peaks, lot = split.peaks(feature), lots_of(split.tokens, seed)
    windows = np.flatnonzero(peaks >= threshold * (1 - 1e-6))
    windows = windows[np.lexsort((lot[windows], -peaks[windows]))]
    for band in np.array_split(windows, n):
        if len(band):
            yield at_peak(split, feature, int(band[lot[band].argmin()]))


def at_peak(split: SplitEvidence, feature: int, window: int) -> Excerpt:
    """The excerpt around a window's highest activation."""
    start, end = split.tokens.starts[window : window + 2]
    return cut(split.tokens, window, int(split.activations(feature)[start:end].argmax()))


def silent(split: SplitEvidence, feature: int, n: int, seed: int) -> Iterator[Excerpt]:
    """n random excerpts in which the feature is nowhere above zero, each of another window."""
    table, values = split.tokens, split.activations(feature)
    lot = lots_of(table, seed)
    left = n
    for window in np.argsort(lot, kind="stable"):
        if not left:
            return
        if table.starts[window + 1] > table.starts[window]:
            found = cut(table, int(window), int(lot[window] >> np.uint64(40)))
            if not found.peak(values) > 0:
                left -= 1
                yield found


@lru_cache(maxsize=4)
def _shuffled(evidence: Evidence, seed: int) -> list[int]:
    features = np.sort(np.asarray(evidence.features, np.int64))
    return np.random.default_rng(seed).permutation(features).tolist()


def others(evidence: Evidence, feature: int, n: int, seed: int) -> tuple[int, ...]:
    """n other features that fire on `explain`; the seed draws the same ones for every feature."""
    explain = evidence.reader("scorer").split("explain")
    found: list[int] = []
    for other in _shuffled(evidence, seed):
        if len(found) == n:
            break
        if other != feature and explain.stats(other).typical_max > 0:
            found.append(other)
    return tuple(found)
