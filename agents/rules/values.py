"""Which values a condition should name: the choice of words, tokens or endings under one gain.

The miner asks this thousands of times for a feature, so everything that does not depend on the gain
is prepared once, and an answer is a few sums over stretches of sorted rows.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .language import MAX_VALUES
from .sample import View

#: What one more value in a set must gain: a share of the energy Σ w y².
VALUE_COST = 0.0008
#: How many standard errors of its gain a value, and a clause, is marked down by.
Z = 1.0


class Values:
    """The names of a view that tokens of the focus have, or have before them.

    view: how tokens are named. rows: int [m], places in the focus, ascending. ids: int [m], the
    name's number in the view. documents: int [focus], ascending. A name that a row has twice counts
    once.
    """

    def __init__(self, view: View, rows: np.ndarray, ids: np.ndarray, documents: np.ndarray):
        self.kind = view.kind
        self._view = view
        named = ids > 0
        # numpy sorts 16-bit integers by radix, ten times as fast as longer ones.
        short = ids[named].astype(np.uint16 if len(view.names) <= 1 << 16 else np.int64)
        order = np.argsort(short, kind="stable")
        rows, ids = rows[named][order], ids[named][order]
        fresh = _changes(ids, rows)
        self._rows, ids = rows[fresh], ids[fresh]
        self._starts = np.flatnonzero(_changes(ids))
        self._numbers = ids[self._starts]
        #: Of each entry, the number of its stretch of one name in one document; of each name, its first.
        self._part = np.cumsum(_changes(ids, documents[self._rows])) - 1
        self._first_part = self._part[self._starts]
        self._n_rows = len(documents)
        #: Whether a row may have several names, which may then say the same.
        self._overlap = len(self._rows) > self._n_rows

    def named(self, chosen: np.ndarray) -> list[str]:
        """The names at some places."""
        return [self._view.names[number] for number in self._numbers[chosen]]

    def holds(self, chosen: np.ndarray, n: int) -> np.ndarray:
        """bool [n]: which of the n tokens of the focus have one of the names at some places."""
        held = np.zeros(n, bool)
        for place in chosen:
            held[self._rows[self._stretch(place)]] = True
        return held

    def best(self, gains: np.ndarray, energy: float) -> np.ndarray:
        """The places of the at most MAX_VALUES names with the highest gain above error and cost.

        gains: float [focus]. The error of a name's gain is sqrt(Σ over documents (its gain in the
        document)²). A name counts only with what it gains beyond those chosen before it.
        """
        return self._chosen(gains, *self._sums(gains), VALUE_COST * energy)

    def best_and_worst(self, gains: np.ndarray, energy: float) -> tuple[np.ndarray, np.ndarray]:
        """`best` of the gains, and of the gains with their signs turned."""
        total, error = self._sums(gains)
        cost = VALUE_COST * energy
        return self._chosen(gains, total, error, cost), self._chosen(-gains, -total, error, cost)

    def _sums(self, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float [names]: each name's gain, and its standard error."""
        if not len(self._rows):
            return np.zeros(0), np.zeros(0)
        rows = np.flatnonzero(gains)
        if 2 * len(rows) < len(gains):
            # Within a clause that holds on few tokens, hardly any entry adds to a sum.
            order, begins = self._by_row
            counts = begins[rows + 1] - begins[rows]
            shift = np.repeat(begins[rows] - np.cumsum(counts) + counts, counts)
            parts = order[shift + np.arange(len(shift))]
            weights = np.repeat(gains[rows], counts)
        else:
            parts, weights = self._part, gains.take(self._rows)
        of_part = np.bincount(parts, weights=weights, minlength=int(self._part[-1]) + 1)
        squares = np.add.reduceat(np.square(of_part), self._first_part)
        return np.add.reduceat(of_part, self._first_part), np.sqrt(squares)

    def _chosen(
        self, gains: np.ndarray, total: np.ndarray, error: np.ndarray, cost: float
    ) -> np.ndarray:
        score = total - Z * error - cost
        able = np.flatnonzero(score > 0)
        order = able[np.argsort(-score[able], kind="stable")][: 2 * MAX_VALUES]
        return self._marginal(order, gains, cost) if self._overlap else order[:MAX_VALUES]

    def _marginal(self, order: np.ndarray, gains: np.ndarray, cost: float) -> np.ndarray:
        covered = np.zeros(len(gains), bool)
        chosen: list[int] = []
        for place in order:
            rows = self._rows[self._stretch(place)]
            if gains[rows[~covered[rows]]].sum() > cost:
                chosen.append(place)
                covered[rows] = True
            if len(chosen) == MAX_VALUES:
                break
        return np.array(chosen, np.int64)

    @cached_property
    def _by_row(self) -> tuple[np.ndarray, np.ndarray]:
        """The stretch of each entry, ordered by row; and where each row's begin, and their number."""
        counts = np.bincount(self._rows, minlength=self._n_rows)
        # As for ids: rows are sorted by radix where they are short.
        short = self._rows.astype(np.uint16 if self._n_rows <= 1 << 16 else np.int64)
        order = np.argsort(short, kind="stable")
        return self._part[order], np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.append(self._starts[1:], len(self._rows))

    def _stretch(self, place: int) -> slice:
        return slice(self._starts[place], self._ends[place])


def _changes(*keys: np.ndarray) -> np.ndarray:
    """bool [n]: where any of the keys differs from the entry before; True at the first."""
    changed = np.zeros(len(keys[0]), bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return changed
