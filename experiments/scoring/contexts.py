"""The panel: contexts of the `score` split that an explanation is asked about one by one.

Each is at most LENGTH tokens of a window, cut around one of its tokens:

| kind | around | how many |
|---|---|---|
| firing | the peak of a window that reaches the firing threshold | FIRING |
| weak | the peak of a window that acts and stays below it | WEAK |
| random | any token | SILENT |
| near miss | one of the ten tokens that the feature fires on most | SILENT |
| neighbour | a token on which a neighbouring feature fires (see `sae.neighbours`) | SILENT |

The last three are silent: the feature is nowhere above zero in what is shown. Firing and weak
windows are ordered by peak and cut into as many equal bands as are wanted, one window of each band:
so each stands for equally many windows of its kind, and the middle of the range is not left out.
No window gives two contexts of the same kind. A source whose features cannot all be looked at has no
neighbours (see `sae.neighbours`).

All draws depend on the seed and on each window's own text. Thresholds, favourite tokens and
neighbours come from the `explain` split, every text from `score`, which no explainer reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...sae.evidence import Evidence, SplitEvidence
from ...sae.neighbours import neighbourhood_of
from ...sae.tokens import TokenTable
from .excerpts import LENGTH, evenly, lots_of
from .simulator import Context

FIRING, WEAK, SILENT = 20, 10, 10
#: The kinds of silent contexts, in the order of every table.
NEGATIVES = ("random", "near miss", "neighbour")
#: Tokens that near misses are made around, and neighbours that are asked.
FAVOURITES, NEIGHBOURS = 10, 5


@dataclass(frozen=True, eq=False)
class Drawn:
    """A context with what the feature does in it, which no simulator sees.

    start: its first token's place in the split. activations: float64, of the tokens shown, in the
    SAE's units, at least 0. anchor: the token that it is cut around, counted from the window's
    first. document: what it is part of. stands_for: how many windows of the split, where it was
    drawn as one of a band, else 1.
    """

    kind: str
    context: Context
    start: int
    activations: np.ndarray
    anchor: int
    document: int
    stands_for: float = 1.0

    @property
    def peak(self) -> float:
        """The highest activation shown."""
        return float(self.activations.max(initial=0.0))

    @property
    def text(self) -> str:
        """What is shown."""
        return "".join(self.context.shown)


@dataclass(frozen=True)
class Panel:
    """The contexts of one feature, so mixed that a stretch of them has every sort in it."""

    drawn: tuple[Drawn, ...]

    @property
    def contexts(self) -> list[Context]:
        """What simulators are shown."""
        return [one.context for one in self.drawn]

    def of(self, *kinds: str) -> tuple[Drawn, ...]:
        """The contexts of some kinds."""
        return tuple(one for one in self.drawn if one.kind in kinds)


def panel(
    evidence: Evidence, feature: int, seed: int, measured: SplitEvidence | None = None
) -> Panel:
    """The panel of one feature; fewer of a kind where the split has no more.

    measured: the `score` split with the feature's activations as they are to count (the shuffled
    ones of a control, say), by default the evidence's own.
    """
    return Panel(mixed(tuple(_Draw(evidence, feature, seed, measured).all()), seed))


def mixed(drawn: tuple[Drawn, ...], seed: int) -> tuple[Drawn, ...]:
    """The same in an order drawn by the seed, in which each kind is spread evenly.

    So whoever answers some at a time has all kinds before them, and places tell nothing.
    """
    return tuple(drawn[k] for k in evenly([one.kind for one in drawn], seed))


class _Draw:
    """The draws of one feature from the `score` split."""

    def __init__(self, evidence: Evidence, feature: int, seed: int, measured: SplitEvidence | None):
        reader = evidence.reader("scorer")
        self.evidence, self.feature = evidence, feature
        self.explain, self.split = reader.split("explain"), reader.split("score")
        self.measured = measured or self.split
        self.table: TokenTable = self.split.tokens
        self.values = np.maximum(self.measured.activations(feature), 0).astype(np.float64)
        self.active = np.concatenate([[0], np.cumsum(self.values > 0)])
        self.lot = lots_of(self.table, seed)

    def all(self) -> Iterator[Drawn]:
        threshold = self.explain.stats(self.feature).fires_at * (1 - 1e-6)
        if threshold <= 0:
            return
        peaks = self.measured.peaks(self.feature)
        yield from self._bands("firing", peaks, peaks >= threshold, FIRING)
        yield from self._bands("weak", peaks, (peaks > 0) & (peaks < threshold), WEAK)
        yield from self._silent("random", [self._any_tokens()])
        yield from self._silent("near miss", [self._tokens_with(self._favourites())])
        yield from self._silent("neighbour", [*self._neighbours()])

    # ---------------------------------------------------------------- where it acts

    def _bands(self, kind: str, peaks: np.ndarray, wanted: np.ndarray, n: int) -> Iterator[Drawn]:
        windows = np.flatnonzero(wanted)
        windows = windows[np.lexsort((self.lot[windows], -peaks[windows]))]
        for band in np.array_split(windows, n):
            if len(band):
                window = int(band[self.lot[band].argmin()])
                start, end = self.table.starts[window : window + 2]
                yield self._cut(kind, int(start + self.values[start:end].argmax()), len(band))

    # ---------------------------------------------------------------- where it is silent

    def _any_tokens(self) -> np.ndarray:
        """One token of each window."""
        starts, sizes = self.table.starts[:-1], np.diff(self.table.starts)
        filled = sizes > 0
        offset = (self.lot[filled] >> np.uint64(20)) % sizes[filled].astype(np.uint64)
        return starts[filled] + offset.astype(np.int64)

    def _favourites(self) -> set[str]:
        tokens = self.explain.tokens
        values = np.maximum(self.explain.activations(self.feature), 0)
        mass = np.bincount(tokens.ids, weights=values, minlength=len(tokens.vocab))
        best = sorted(np.flatnonzero(mass), key=lambda token: (-mass[token], tokens.vocab[token]))
        return {tokens.vocab[token] for token in best[:FAVOURITES]}

    def _tokens_with(self, strings: set[str]) -> np.ndarray:
        wanted = np.array([token in strings for token in self.table.vocab], bool)
        return np.flatnonzero(wanted[self.table.ids])

    def _neighbours(self) -> Iterator[np.ndarray]:
        """Where each of the nearest features fires, by that feature's own threshold."""
        near = neighbourhood_of(self.evidence)
        if near is None or self.feature not in self.evidence.features:
            return
        for other in near.nearest(self.feature, NEIGHBOURS):
            threshold = self.explain.stats(other).fires_at * (1 - 1e-6)
            yield np.flatnonzero(self.split.activations(other) >= threshold)

    def _silent(self, kind: str, sources: Sequence[np.ndarray]) -> Iterator[Drawn]:
        """Up to SILENT contexts around the given tokens, from each of the sources by turns."""
        queues = [iter(self._quiet(anchors)) for anchors in sources]
        taken: set[int] = set()
        while queues and len(taken) < SILENT:
            for queue in list(queues):
                anchor = next((a for a in queue if self._window(a) not in taken), None)
                if anchor is None:
                    queues.remove(queue)
                elif len(taken) < SILENT:
                    taken.add(self._window(anchor))
                    yield self._cut(kind, anchor)

    def _quiet(self, anchors: np.ndarray) -> list[int]:
        """Of tokens, those in whose context nothing fires; in the order of their windows' lots."""
        start, end = self._edges(anchors)
        anchors = anchors[self.active[end] == self.active[start]]
        windows = self.table.window_of[anchors]
        return anchors[np.lexsort((anchors, self.lot[windows]))].tolist()

    # ---------------------------------------------------------------- cutting

    def _window(self, token: int) -> int:
        return int(self.table.window_of[token])

    def _edges(self, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the contexts around tokens begin and end."""
        windows = self.table.window_of[anchors]
        low, high = self.table.starts[windows], self.table.starts[windows + 1]
        start = np.clip(anchors - LENGTH // 2, low, np.maximum(low, high - LENGTH))
        return start, np.minimum(start + LENGTH, high)

    def _cut(self, kind: str, anchor: int, stands_for: float = 1.0) -> Drawn:
        (start,), (end,) = (edge.tolist() for edge in self._edges(np.array([anchor])))
        window = self._window(anchor)
        first = int(self.table.starts[window])
        return Drawn(
            kind,
            Context(tuple(self.table.window(window)), start - first, end - first),
            start,
            self.values[start:end],
            anchor - first,
            int(self.table.documents[window]),
            stands_for,
        )
