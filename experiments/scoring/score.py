"""A score: a number, the interval it lies in, and what it rests on.

Every interval here is a bootstrap over independent units (Efron & Tibshirani 1993; SciPy's
implementation). Each unit is a row of sums, and a statistic is a function of the rows' total. So
ratios, correlations and means are all resampled by the same few lines, whole units at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from ...agents.records import Record

#: Resamples within one feature, and for a mean over features.
RESAMPLES = 1_000
RESAMPLES_OF_MEAN = 10_000
#: BCa needs one statistic for each unit left out; beyond this many units it changes nothing seen.
BCA_UNITS = range(8, 501)
#: Two units give a bootstrap three values to choose from, and no idea how far they may lie apart.
LEAST_UNITS = 3
NO_SPREAD = "resamples all give the same, or have no value, so there is no interval"

#: A statistic of totals: float64 [..., k] → float64 [...], NaN where it is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]


class Score(Record):
    """A number with its 95 % interval.

    value: None when it is undefined; `reason` then says why. low, high: None when there is no
    interval: no value, fewer than LEAST_UNITS units, or units that all give the same, which do not
    show how others would vary. n: the independent units it rests on: documents of
    the score split, generated texts, or features for a mean. failed: units that could not be run;
    they count in nothing else. reason: also what a defined value alone does not tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    reason: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Score:
        if self.value is None and not self.reason:
            raise ValueError("an undefined score must say why")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends")
        if self.value is None and self.low is not None:
            raise ValueError("an undefined score has no interval")
        return self

    @classmethod
    def undefined(cls, reason: str, failed: int = 0) -> Score:
        """A score that has no value, and why."""
        return cls(value=None, failed=failed, reason=reason)


def of_units(
    units: np.ndarray,
    statistic: Statistic,
    seed: int,
    *,
    undefined: str,
    reason: str | None = None,
    resamples: int = RESAMPLES,
) -> Score:
    """The statistic of all units together, with its interval.

    units: float64 [n, k], one row of sums for each independent unit. undefined: why the statistic
    may have no value; it then becomes the reason.
    """
    # The order of documents must not matter, not even to the last bit.
    units = units[np.lexsort(units.T[::-1])]
    value = float(statistic(units.sum(axis=0)))
    if not np.isfinite(value):
        return Score.undefined(undefined)
    low, high = interval(units, statistic, seed, resamples) or (None, None)
    if low is None and len(units) >= LEAST_UNITS:
        reason = reason or NO_SPREAD
    return Score(value=value, low=low, high=high, n=len(units), reason=reason)


def interval(
    units: np.ndarray, statistic: Statistic, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of a statistic of totals.

    BCa where it applies (BCA_UNITS, statistic defined and not the same in every resample), else
    percentile. None with fewer than LEAST_UNITS, when all resamples give the same, or when most
    resamples leave it undefined.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    n, k = units.shape
    if n < LEAST_UNITS:
        return None

    def of_resamples(chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(_counts(chosen, n) @ units)

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # SciPy warns where BCa or a resample is undefined; both are dealt with below.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            (np.arange(n),),
            of_resamples,
            n_resamples=resamples,
            batch=max(1, 1_000_000 // max(n, k)),
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        spread = result.bootstrap_distribution
        defined = spread[np.isfinite(spread)]
        if len(defined) < len(spread) / 2:
            return None
        low, high = np.quantile(defined, [0.025, 0.975]).tolist()
        if n in BCA_UNITS and len(defined) == len(spread) and low < high:
            result = bootstrap(
                (np.arange(n),),
                of_resamples,
                n_resamples=0,
                batch=max(1, 1_000_000 // max(n, k)),
                vectorized=True,
                method="BCa",
                bootstrap_result=result,
            )
            corrected = result.confidence_interval
            if np.isfinite(corrected.low) and np.isfinite(corrected.high):
                low, high = float(corrected.low), float(corrected.high)
    # Sums in another order differ in their last bits.
    return (low, high) if high - low > 1e-12 else None


def _counts(chosen: np.ndarray, n: int) -> np.ndarray:
    """How often each of n units was drawn: int [..., draws] → float64 [..., n]."""
    rows = np.asarray(chosen).astype(np.int64).reshape(-1, np.shape(chosen)[-1])
    flat = rows + n * np.arange(len(rows))[:, None]
    counts = np.bincount(flat.ravel(), minlength=n * len(rows)).astype(np.float64)
    return counts.reshape(*np.shape(chosen)[:-1], n)


def ratio(totals: np.ndarray) -> np.ndarray:
    """The first total over the second; undefined where the second is 0."""
    over = totals[..., 1]
    return np.where(over > 0, totals[..., 0] / np.where(over > 0, over, 1.0), np.nan)


def share(passed: Sequence[bool], seed: int, *, undefined: str, failed: int = 0) -> Score:
    """Share of True with its interval.

    When all are alike, every resample is the same and a bootstrap would claim certainty; the Wilson
    interval of the proportion (Wilson 1927) stands in.
    """
    from scipy.stats import binomtest

    units = np.array([[value, 1.0] for value in passed], np.float64).reshape(-1, 2)
    score = of_units(units, ratio, seed, undefined=undefined)
    if len(passed) > 1 and len(set(passed)) == 1:
        exact = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
        ends = {"low": float(exact.low), "high": float(exact.high), "reason": None}
        score = score.model_copy(update=ends)
    return score.model_copy(update={"failed": failed})


def harmonic(left: float, right: float) -> float:
    """Harmonic mean 2ab / (a + b); 0 when both are 0."""
    return 2 * left * right / (left + right) if left + right > 0 else 0.0


def mean_with_interval(
    values: Sequence[Score | float | None],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Score:
    """Mean over features with its interval, whole features resampled (DESIGN, rule 5).

    values: one for each feature, or several with `clusters` naming the feature of each. Undefined
    ones are left out of the mean; how many is in the reason. n: features that have a value.
    """
    numbers = [value.value if isinstance(value, Score) else value for value in values]
    names = range(len(numbers)) if clusters is None else clusters
    sums: dict[Hashable, list[float]] = {}
    for name, number in zip(names, numbers, strict=True):
        if number is not None and np.isfinite(number):
            total = sums.setdefault(name, [0.0, 0.0])
            total[0] += number
            total[1] += 1
    missing = len(numbers) - sum(int(count) for _, count in sums.values())
    reason = f"undefined for {missing} of {len(numbers)}" if missing else None
    return of_units(
        np.array(list(sums.values()), np.float64).reshape(-1, 2),
        ratio,
        seed,
        undefined=reason or "there is no feature",
        reason=reason,
        resamples=RESAMPLES_OF_MEAN,
    )
