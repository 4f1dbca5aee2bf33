"""Outliers of a product: which rows of a matrix a vector points at, beside random directions.

The threshold is no fixed z: how far the largest of V products lies above their mean depends on V, on
the width and on the rows themselves. It is the quantile of what random directions reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

#: Random directions that a threshold is calibrated on, and the quantile of their largest z.
DIRECTIONS, QUANTILE = 400, 0.95
#: How many numbers are held in float32 at once.
AT_ONCE = 1 << 25
#: A matrix of at most so many numbers is held in float32 as a whole.
HELD = 1 << 26
#: Turns in which what stands out is taken away, to see what it hides.
TURNS = 8


@dataclass(frozen=True)
class Outliers:
    """Rows that stand out. rows: int64 [n]. z: float [n], standard deviations above the mean of all
    rows, in the turn in which each stood out first. values: float [n], row · direction, less the
    mean. highest: the largest z of all rows in the first turn."""

    rows: np.ndarray
    z: np.ndarray
    values: np.ndarray
    highest: float


class Rows:
    """A matrix [n, d] whose products with directions are looked through for outliers.

    read: how a direction looks at the rows, [..., d] -> [..., d] (the transpose of a norm), for
    random directions as for others.
    """

    def __init__(
        self,
        matrix: torch.Tensor,
        read: Callable[[torch.Tensor], torch.Tensor] = lambda direction: direction,
        seed: int = 0,
    ):
        # Converting it for each product would take longer than the product.
        self._matrix = matrix.float() if matrix.numel() <= HELD else matrix
        self._read, self._seed = read, seed

    def outliers(self, direction: torch.Tensor, most: int, explain_away: bool = True) -> Outliers:
        """The rows that stand out of the products with a direction [d], at most `most` of them.

        explain_away: a direction that is a sum of rows also has a product with rows that merely lie
        near some of them, which widens the spread that outliers are measured by. So what the rows
        found so far explain of the direction, by least squares, is taken away, and it is looked
        again, until nothing new stands out. A direction of which nothing stands out at first has no
        outliers.
        """
        read = self._read(direction.float())
        first = self._products(read)
        z = _standardised(first)
        highest = float(z.max())
        chosen: list[int] = []
        heights: list[float] = []
        left = read
        for _ in range(TURNS if explain_away else 1):
            if chosen:
                z[chosen] = -torch.inf  # before, so that no row is found twice
            fresh = torch.where(z >= self.threshold)[0]
            fresh = fresh[z[fresh].argsort(descending=True, stable=True)][: most - len(chosen)]
            if not len(fresh):
                break
            heights += z[fresh].tolist()
            chosen += fresh.tolist()
            if len(chosen) >= most:
                break
            left = read - self._explained(read, chosen)
            if not left.norm() > 1e-4 * read.norm():
                break
            z = _standardised(self._products(left), without=chosen)
        values = (first - first.mean())[chosen] if chosen else first[:0]
        return Outliers(
            np.array(chosen, np.int64),
            np.array(heights, np.float64),
            values.double().cpu().numpy(),
            highest,
        )

    @cached_property
    def threshold(self) -> float:
        """z from which a row stands out: QUANTILE of the largest z of random directions."""
        width = self._matrix.shape[1]
        draw = np.random.default_rng(self._seed)  # the same on every device
        found = []
        for _ in range(0, DIRECTIONS, 50):
            drawn = draw.standard_normal((50, width), np.float32)
            directions = torch.as_tensor(drawn, device=self._matrix.device)
            products = self._products(self._read(directions))
            found += _standardised(products).max(0).values.tolist()
        return float(np.quantile(found, QUANTILE))

    def _products(self, directions: torch.Tensor) -> torch.Tensor:
        """float32 [n], or [n, k] for directions [k, d]."""
        rows = max(1, AT_ONCE // self._matrix.shape[1])
        columns = directions.movedim(-1, 0)
        return torch.cat([part.float() @ columns for part in self._matrix.split(rows)])

    @cached_property
    def _mean(self) -> torch.Tensor:
        rows = max(1, AT_ONCE // self._matrix.shape[1])
        sums = [part.float().sum(0) for part in self._matrix.split(rows)]
        return torch.stack(sums).sum(0) / len(self._matrix)

    def _explained(self, read: torch.Tensor, chosen: list[int]) -> torch.Tensor:
        basis = (self._matrix[chosen].float() - self._mean).T
        # Rows may depend on each other.
        solved = torch.linalg.lstsq(basis.cpu(), read.cpu()[:, None], driver="gelsd").solution
        return basis @ solved[:, 0].to(basis.device)


def _standardised(products: torch.Tensor, without: list[int] | None = None) -> torch.Tensor:
    """Less the mean of all rows, over their standard deviation; those `without` do not count in it."""
    counted = products
    if without:
        kept = torch.ones(len(products), dtype=torch.bool, device=products.device)
        kept[without] = False
        counted = products[kept]
    return (products - counted.mean(0)) / counted.std(0).clamp_min(1e-12)
