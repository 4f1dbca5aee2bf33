"""Differences between explainers: paired by feature, with intervals, tests, and Holm's correction.

d_f = a_f − b_f is the difference of one score on feature f; where a side has several values for a
feature (seeds, say), their mean counts. The feature is the independent unit.

| what | how | source |
|---|---|---|
| value | mean of d_f over the features that both sides have | |
| low, high | 95 % bootstrap over features, 10,000 resamples, BCa where it applies | Efron & Tibshirani 1993, chapter 14; SciPy |
| p | two-sided sign-flip test of "d_f is as likely as −d_f": exact up to 13 features, else 10,000 random flips, the observed one counted among them | Fisher 1935, § 21; Phipson & Smyth 2010 |
| adjusted | p after Holm's step-down correction over all comparisons made together | Holm 1979 |

A difference is *shown* where its interval leaves out zero and its adjusted p is at most .05.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import ConfigDict, Field

from ...agents.records import Record
from .score import RESAMPLES_OF_MEAN, Score, of_units, ratio

#: What a comparison says whose interval has zero in it.
NOT_SHOWN = "no difference shown"
#: An adjusted p up to this counts as a difference.
LEVEL = 0.05
#: Up to this many pairs every way to flip their signs is tried.
EXACT_UP_TO = 13
#: Random flips of more pairs.
FLIPS = 10_000

#: The values of one side by feature: one, or several (seeds); None where a score is undefined.
Values = Mapping[Any, "float | Score | Sequence[float | Score | None] | None"]
Key = TypeVar("Key", bound=Hashable)


class Difference(Record):
    """Mean difference left − right of one score, over the features that both sides have.

    value, low, high, n, reason: as in Score. left, right: the means over the same features. p: of
    the sign-flip test; None where there is no pair. adjusted: p after Holm's correction, p itself
    where nothing else was compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = Field(default=0, ge=0)
    left: float | None = None
    right: float | None = None
    p: float | None = None
    adjusted: float | None = None
    reason: str | None = None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out zero, and the adjusted p is at most LEVEL.

        Where all pairs differ alike there is no interval, and the test alone decides.
        """
        if not self.value or self.adjusted is None or self.adjusted > LEVEL:
            return False
        return self.low is None or self.high is None or not self.low <= 0 <= self.high


def difference(left: Values, right: Values, seed: int = 0) -> Difference:
    """The mean difference left − right over the features that both have a value for.

    seed: of resamples and flips. With fewer than three pairs, or pairs that all differ alike, there is
    no interval, with none no value; `reason` then says why.
    """
    a, b = _means(left), _means(right)
    common = sorted(a.keys() & b.keys(), key=str)
    pairs = np.array([[a[name], b[name]] for name in common], np.float64).reshape(-1, 2)
    deltas = pairs[:, 0] - pairs[:, 1]
    units = np.stack([deltas, np.ones(len(deltas))], axis=1)
    undefined = "no feature has a value on both sides"
    score = of_units(units, ratio, seed, undefined=undefined, resamples=RESAMPLES_OF_MEAN)
    if score.value is None:
        return Difference(value=None, reason=score.reason)
    p = sign_flip(deltas, seed)
    return Difference(
        value=score.value,
        low=score.low,
        high=score.high,
        n=len(common),
        left=float(pairs[:, 0].mean()),
        right=float(pairs[:, 1].mean()),
        p=p,
        adjusted=p,
    )


def differences(sides: Mapping[Key, Values], seed: int = 0) -> dict[tuple[Key, Key], Difference]:
    """Every pair of sides, in the order given, with Holm's correction over all of them."""
    names = list(sides)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    return corrected({(a, b): difference(sides[a], sides[b], seed) for a, b in pairs})


def corrected(found: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """Comparisons that were made together, each with its `adjusted` p."""
    tested = {name: one.p for name, one in found.items() if one.p is not None}
    adjusted = dict(zip(tested, holm([*tested.values()]), strict=True))
    return {
        name: one.model_copy(update={"adjusted": adjusted.get(name)}) for name, one in found.items()
    }


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    Of m values the k-th smallest (k from 0) becomes the highest of (m − j) p_j over j ≤ k, at most 1.
    """
    values = np.asarray(ps, np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted.tolist()


def sign_flip(deltas: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test: how often |mean| is as large under random signs.

    deltas: at least one. Up to EXACT_UP_TO of them (zeros do not count, flipping them changes
    nothing) all 2ⁿ signs; beyond, (1 + hits) / (1 + FLIPS).
    """
    values = np.asarray(deltas, np.float64)
    observed = abs(values.sum())
    # Only sizes matter, so that neither order nor side changes what is drawn.
    values = np.sort(np.abs(values[values != 0]))
    # Sums of the same numbers in another order differ in the last bits.
    reached = observed - 1e-9 * values.sum()
    n = len(values)
    if n <= EXACT_UP_TO:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float((np.abs(signs @ values) >= reached).mean())
    draw = np.random.default_rng(seed)
    signs = 1.0 - 2.0 * draw.integers(0, 2, (FLIPS, n))
    return float((1 + (np.abs(signs @ values) >= reached).sum()) / (1 + FLIPS))


def _means(values: Values) -> dict[Hashable, float]:
    """Feature → mean of its defined values; features without any are left out."""
    found = {}
    for name, given in values.items():
        several = given if isinstance(given, Sequence) else [given]
        numbers = [one.value if isinstance(one, Score) else one for one in several]
        known = [number for number in numbers if number is not None and np.isfinite(number)]
        if known:
            found[name] = float(np.mean(known))
    return found
