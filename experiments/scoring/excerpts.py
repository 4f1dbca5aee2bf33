"""Excerpts: short contexts of the `score` split, cut around one token each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def evenly(kinds: Sequence[str | bool], seed: int) -> np.ndarray:
    """int64 [n]: an order drawn by the seed in which items of each kind are spread evenly.

    So whoever is asked about a stretch of them at a time has all kinds in it, as far as there are
    enough of them.
    """
    draw = np.random.default_rng(seed)
    place = np.empty(len(kinds))
    names = np.array(kinds)
    for kind in dict.fromkeys(names.tolist()):
        own = draw.permutation(np.flatnonzero(names == kind))
        place[own] = (np.arange(len(own)) + draw.random()) / len(own)
    return np.argsort(place, kind="stable")


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


def cut(table: TokenTable, window: int, place: int, length: int = LENGTH) -> Excerpt:
    """At most `length` tokens of a window around the token at `place`, counted from its first."""
    start = int(table.starts[window])
    shown = stretch(table, window, place, length)
    first, end = int(shown[0]), int(shown[-1]) + 1
    context = Context(tuple(table.window(window)), first - start, end - start)
    return Excerpt(context, first, end, int(table.documents[window]))


def firing(
    split: SplitEvidence,
    feature: int,
    threshold: float,
    n: int,
    seed: int,
    length: int = LENGTH,
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
            yield at_peak(split, feature, int(band[lot[band].argmin()]), length)


def at_peak(split: SplitEvidence, feature: int, window: int, length: int = LENGTH) -> Excerpt:
    """The excerpt around a window's highest activation."""
    start, end = split.tokens.starts[window : window + 2]
    return cut(split.tokens, window, int(split.activations(feature)[start:end].argmax()), length)


def silent(
    split: SplitEvidence, feature: int, n: int, seed: int, length: int = LENGTH
) -> Iterator[Excerpt]:
    """n random excerpts in which the feature is nowhere above zero, each of another window."""
    table, values = split.tokens, split.activations(feature)
    lot = lots_of(table, seed)
    left = n
    for window in np.argsort(lot, kind="stable"):
        if not left:
            return
        if table.starts[window + 1] > table.starts[window]:
            found = cut(table, int(window), int(lot[window] >> np.uint64(40)), length)
            if not found.peak(values) > 0:
                left -= 1
                yield found


@lru_cache(maxsize=4)
def _shuffled(evidence: Evidence, seed: int) -> list[int]:
    features = np.sort(np.asarray(evidence.reference, np.int64))
    return np.random.default_rng(seed).permutation(features).tolist()


def others(evidence: Evidence, feature: int, n: int, seed: int) -> tuple[int, ...]:
    """n other features of the reference that fire on `explain`; the seed draws the same ones for every feature."""
    explain = evidence.reader("scorer").split("explain")
    found: list[int] = []
    for other in _shuffled(evidence, seed):
        if len(found) == n:
            break
        if other != feature and explain.stats(other).typical_max > 0:
            found.append(other)
    return tuple(found)
