"""The contexts that predictions are compared on: top, spread over the range, and random.

From the windows of a split (`score` for scorers, `select` for choosing among explanations), each at most once and at most 128 tokens of it:

- 10 top: those with the highest peaks (a window's peak is its highest activation);
- 20 spread: the other firing windows, ordered by peak and cut into 20 equal bands, one of each;
- 30 random: any of the rest, firing or not.

So half of the contexts are what the feature meets in ordinary text, a third is even over its
range, and a sixth is its top. Top and spread windows that are longer than 128 tokens are cut around
their peak, random ones at random. Draws depend on the seed and on each window's own text, not on
the order of the corpus.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .evidence import SplitEvidence
from .tokens import TokenTable

TOP, SPREAD, RANDOM = 10, 20, 30
#: Tokens taken of one window.
LIMIT = 128


@dataclass(frozen=True)
class Mixture:
    """Chosen tokens of a split.

    top, spread, random: int64, window numbers of each kind. stretches: int64, the places in the
    split of each window's tokens, in that order of kinds. table: the split's tokens.
    """

    top: np.ndarray
    spread: np.ndarray
    random: np.ndarray
    stretches: tuple[np.ndarray, ...]
    table: TokenTable

    @cached_property
    def tokens(self) -> np.ndarray:
        """int64 [t]: the places of all chosen tokens in the split."""
        return np.concatenate(self.stretches) if self.stretches else np.zeros(0, np.int64)

    @cached_property
    def documents(self) -> np.ndarray:
        """int64 [t]: the document of each of them."""
        return self.table.documents[self.table.window_of[self.tokens]]


def draw(split: SplitEvidence, feature: int, seed: int) -> Mixture:
    """The mixture for one feature; fewer windows where the split has no more."""
    table, peaks = split.tokens, split.peaks(feature)
    lot = lots(table, seed)
    order = np.lexsort((lot, -peaks))
    order = order[np.diff(table.starts)[order] > 0]
    n_firing = int((peaks[order] > 0).sum())
    top, firing = order[:n_firing][:TOP], order[:n_firing][TOP:]
    bands = [band for band in np.array_split(firing, SPREAD) if len(band)]
    spread = np.array([band[lot[band].argmin()] for band in bands], np.int64)
    rest = np.setdiff1d(order, np.concatenate([top, spread]))
    random = rest[np.argsort(lot[rest], kind="stable")][:RANDOM]

    stretches = [stretch_at_peak(split, feature, window) for window in [*top, *spread]]
    stretches += [stretch(table, window, int(lot[window] >> np.uint64(40))) for window in random]
    return Mixture(top, spread, random, tuple(stretches), table)


def stretch_at_peak(
    split: SplitEvidence, feature: int, window: int, limit: int = LIMIT
) -> np.ndarray:
    """int64: the places of at most `limit` tokens of a window, around its highest activation."""
    start, end = split.tokens.starts[window : window + 2]
    peak = int(split.activations(feature)[start:end].argmax())
    return stretch(split.tokens, window, peak, limit)


def stretch(table: TokenTable, window: int, place: int, limit: int = LIMIT) -> np.ndarray:
    """int64: the places of at most `limit` tokens of a window, around the one at `place`.

    place: within the window, modulo its length.
    """
    start, end = (int(edge) for edge in table.starts[window : window + 2])
    first = min(max(start + place % (end - start) - limit // 2, start), max(start, end - limit))
    return np.arange(first, min(first + limit, end))


def lots(table: TokenTable, seed: int) -> np.ndarray:
    """uint64 [windows]: a number for each window, drawn from its tokens and the seed."""
    codes = [zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in table.vocab]
    codes = np.array(codes, np.uint64)[table.ids] if len(table) else np.zeros(0, np.uint64)
    # Weights by position, so that the same tokens in another order are another text.
    weighed = _mixed(codes + _mixed(table.position.astype(np.uint64)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(weighed, dtype=np.uint64)])
    return _mixed(np.diff(sums[table.starts]) ^ _mixed(np.full(1, seed % 2**64, np.uint64)))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): near numbers become unrelated ones."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
