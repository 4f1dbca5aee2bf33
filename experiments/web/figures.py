"""The geometry of what is drawn: numbers for the templates' SVG, which has no style of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

#: Bars of a histogram.
BINS = 28


@dataclass(frozen=True)
class Bar:
    """One bar. low, high: which values it counts. n: how many. height: share of the highest bar,
    on a scale of square roots, so that rare strong activations are seen. fires: it is above the
    threshold."""

    low: float
    high: float
    n: int
    height: float
    fires: bool


def histogram(values: np.ndarray, fires_at: float, bins: int = BINS) -> list[Bar]:
    """Activations above zero, counted between zero and the highest."""
    if not len(values):
        return []
    counts, edges = np.histogram(values, bins, (0.0, float(values.max())))
    most = counts.max()
    return [
        Bar(float(low), float(high), int(n), float(np.sqrt(n / most)), (low + high) / 2 >= fires_at)
        for low, high, n in zip(edges, edges[1:], counts, strict=False)
    ]


@dataclass(frozen=True)
class Point:
    """One feature in a scatter: its values on both sides, and where it stands (0 to 100)."""

    feature: int
    name: str
    left: float
    right: float
    x: float
    y: float
    about: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points in a square. low, high: the range of both axes. ticks: (value, place)."""

    points: Sequence[Point]
    low: float
    high: float
    ticks: Sequence[tuple[float, float]]

    def place(self, value: float) -> float:
        """A value as a place from 0 to 100."""
        return 100 * (value - self.low) / (self.high - self.low)


def scatter(found: Sequence[dict[str, Any]]) -> Scatter:
    """A scatter of rows that have `feature`, `name`, `left`, `right` and `about`."""
    values = [row[side] for row in found for side in ("left", "right")]
    low = min(0.0, floor(5 * min(values, default=0.0)) / 5)
    high = max(1.0, ceil(5 * max(values, default=1.0)) / 5)
    ticks = [low + k * (high - low) / 4 for k in range(5)]
    empty = Scatter([], low, high, [])
    points = [
        Point(
            **row, x=round(empty.place(row["left"]), 2), y=round(100 - empty.place(row["right"]), 2)
        )
        for row in found
    ]
    return Scatter(points, low, high, [(tick, round(empty.place(tick), 2)) for tick in ticks])
