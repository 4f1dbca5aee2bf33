"""Scores of SAEs whose features do not fire equally often, made comparable.

Quirke, Shabalin, Belrose (2025, arXiv 2509.25596) report that binary SAEs look easier to explain
until scores are frequency-adjusted: codes of 0 and 1 come with features that fire very often, and
are explained by little. They do not say in their abstract how they adjust, so two ways stand here.

*At one density.* With y the score and x = log10 of the density of feature f of SAE s,

    y_sf = a_s + b x_sf + e_sf,   b = Σ_s Σ_f (x_sf - x̄_s)(y_sf - ȳ_s) / Σ_s Σ_f (x_sf - x̄_s)²,
    adjusted_s = ȳ_s - b (x̄_s - x̄),

x̄ the mean over all features of all SAEs: the analysis of covariance, one slope for all SAEs and an
intercept for each (Fisher 1932, Statistical Methods for Research Workers, § 49.1). It answers: what would
SAE s score if its features fired as often as those of the others? Drawn features match in their bands
of density, so what is left to adjust is within bands.

*By firings.* With W_sb the firings a token of all features of s in band b, drawn or not,

    weighted_s = Σ_b W_sb ȳ_sb / Σ_b W_sb,

over bands that have drawn features (post-stratification; Holt & Smith 1979). It answers: how well is
a firing of s explained, whichever feature it is of? Features that fire very often count as much as
they fire, as far as their band is among those drawn: `reached` is the share of firings that are.

Intervals are percentiles of RESAMPLES bootstrap samples in which features of each SAE are drawn anew,
by band for the weighted ones (a feature that is alone in its band varies as those of other bands do
around their means, and where the weights leave fewer than LEAST_UNITS effective features, 1 / Σ w²
by Kish 1965, there is no interval); the slope is fitted in each. Differences between two SAEs, whose features
are different ones, are of the same resamples; their p is of a permutation test: how often a
difference is as large when the features of both are dealt out to them at random, y - b x in place
of y where scores are adjusted. As with Kennedy (1995, Journal of Business & Economic Statistics 13)
y is cleared of x once and what is left is dealt out; b, fitted to all, is not fitted anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..leaderboard.saes import band_of
from ..scoring.compare import Difference, corrected
from ..scoring.score import LEAST_UNITS, RESAMPLES_OF_MEAN, Score

#: Bootstrap samples, and random permutations.
RESAMPLES = RESAMPLES_OF_MEAN
FEW = "fewer than three features have it, so there is no interval"
HEAVY = "most firings stand on fewer than three features, so there is no interval"


@dataclass(frozen=True)
class Scored:
    """One SAE's features that have a score. density, value: float64 [n], in the same order."""

    density: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, density: Sequence[float], value: Sequence[float]) -> Scored:
        """From numbers. Raises ValueError for a density of 0, which has no logarithm."""
        made = cls(np.asarray(density, np.float64), np.asarray(value, np.float64))
        if (made.density <= 0).any():
            raise ValueError("a feature that never fires has no logarithm of its density")
        return made

    @property
    def log(self) -> np.ndarray:
        """x of the module's formula."""
        return np.log10(self.density)

    @property
    def bands(self) -> np.ndarray:
        """int64 [n]: the band of each."""
        return np.array([band_of(one) for one in self.density], np.int64)


# -------------------------------------------------------------------- at one density


def slope(saes: Mapping[str, Scored]) -> float:
    """b: by how much a score changes for ten times the density; 0 where densities do not vary."""
    return float(_slopes([(one.log[None], one.value[None]) for one in saes.values()])[0])


def raw(saes: Mapping[str, Scored], seed: int = 0) -> dict[str, Score]:
    """ȳ of each SAE."""
    resampled = {name: one.value[_draws(one, seed, name)].mean(-1) for name, one in saes.items()}
    return {name: _score(one.value.mean(), resampled[name], one) for name, one in saes.items()}


def at_one_density(saes: Mapping[str, Scored], seed: int = 0) -> dict[str, Score]:
    """adjusted of each SAE that has any feature."""
    some = {name: one for name, one in saes.items() if len(one.value)}
    values, resampled = _adjusted(some, seed)
    return {name: _score(values[name], resampled[name], one) for name, one in some.items()}


def _adjusted(
    saes: Mapping[str, Scored], seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The values, and those of each resample."""

    def means(samples: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        fitted = _slopes([*samples.values()])
        sizes = {name: x.shape[-1] for name, (x, _) in samples.items()}
        total = sum(x.sum(-1) for x, _ in samples.values()) / sum(sizes.values())
        return {
            name: y.mean(-1) - fitted * (x.mean(-1) - total) for name, (x, y) in samples.items()
        }

    whole = means({name: (one.log[None], one.value[None]) for name, one in saes.items()})
    drawn = {name: _draws(one, seed, name) for name, one in saes.items()}
    again = means(
        {name: (one.log[drawn[name]], one.value[drawn[name]]) for name, one in saes.items()}
    )
    return {name: float(value[0]) for name, value in whole.items()}, again


def _slopes(samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """b of several samples at once: (x, y) of each SAE, [samples, n] each."""
    products = squares = 0.0
    for x, y in samples:
        apart = x - x.mean(-1, keepdims=True)
        products = products + (apart * y).sum(-1)
        squares = squares + np.square(apart).sum(-1)
    products, squares = np.atleast_1d(products), np.atleast_1d(squares)
    return np.divide(products, squares, out=np.zeros_like(products), where=squares > 1e-12)


# -------------------------------------------------------------------- by firings


@dataclass(frozen=True)
class Weighted:
    """weighted of one SAE. reached: the share of its firings in the bands that it is of."""

    score: Score
    reached: float


def by_firings(
    saes: Mapping[str, Scored], firings: Mapping[str, Mapping[int, float]], seed: int = 0
) -> dict[str, Weighted]:
    """weighted of each SAE that has any feature. firings: SAE → band → W."""
    return {
        name: _weighted(name, one, firings[name], seed)
        for name, one in saes.items()
        if len(one.value)
    }


def _weighted(name: str, one: Scored, firings: Mapping[int, float], seed: int) -> Weighted:
    bands = one.bands
    there = sorted(set(bands.tolist()))
    weight = np.array([firings.get(band, 0.0) for band in there])
    reached = float(weight.sum() / (sum(firings.values()) or 1.0))
    if not weight.sum():
        return Weighted(Score.undefined("nothing fires in the bands that are compared"), 0.0)
    shares = weight / weight.sum()
    owns = [one.value[bands == band] for band in there]
    value = float(sum(share * own.mean() for share, own in zip(shares, owns, strict=True)))
    around = np.concatenate([own - own.mean() for own in owns if len(own) > 1] or [np.empty(0)])
    effective = 1 / sum(share**2 / len(own) for share, own in zip(shares, owns, strict=True))
    if not len(around) or effective < LEAST_UNITS:
        return Weighted(Score(value=value, n=len(one.value), reason=HEAVY), reached)
    resampled = np.zeros(RESAMPLES)
    for place, (share, own) in enumerate(zip(shares, owns, strict=True)):
        pool = own if len(own) > 1 else own + around
        picks = _generator(seed, name, place).integers(len(pool), size=(RESAMPLES, len(own)))
        resampled += share * pool[picks].mean(-1)
    return Weighted(_score(value, resampled, one), reached)


# -------------------------------------------------------------------- differences


def differences(
    saes: Mapping[str, Scored], reference: str, adjust: bool, seed: int = 0
) -> dict[str, Difference]:
    """Each SAE less the reference; adjust: of adjusted scores. Not yet corrected for their number."""
    some = {name: one for name, one in saes.items() if len(one.value)}
    if reference not in some:
        return {}
    if adjust:
        values, resampled = _adjusted(some, seed)
    else:
        values = {name: float(one.value.mean()) for name, one in some.items()}
        resampled = {n: one.value[_draws(one, seed, n)].mean(-1) for n, one in some.items()}
    b = slope(some) if adjust else 0.0
    left = {name: one.value - b * one.log for name, one in some.items()}
    found = {}
    for name in some:
        if name == reference:
            continue
        n = min(len(some[name].value), len(some[reference].value))
        p = permuted(left[name], left[reference], seed)
        spread = resampled[name] - resampled[reference]
        low, high = (
            np.quantile(spread, [0.025, 0.975]).tolist() if n >= LEAST_UNITS else (None,) * 2
        )
        found[name] = Difference(
            value=values[name] - values[reference],
            low=low,
            high=high,
            n=n,
            left=values[name],
            right=values[reference],
            p=p,
            adjusted=p,
            reason=None if n >= LEAST_UNITS else FEW,
        )
    return found


def permuted(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the permutation test of a difference of means: (1 + hits) / (1 + RESAMPLES)."""
    pooled = np.concatenate([one, other])
    observed = abs(one.mean() - other.mean())
    draw = np.random.default_rng(seed)
    order = draw.permuted(np.tile(np.arange(len(pooled)), (RESAMPLES, 1)), axis=1)
    dealt = pooled[order]
    apart = np.abs(dealt[:, : len(one)].mean(-1) - dealt[:, len(one) :].mean(-1))
    # Sums of the same numbers in another order differ in the last bits.
    return float((1 + (apart >= observed - 1e-12).sum()) / (1 + RESAMPLES))


def all_corrected(
    found: Mapping[str, Mapping[str, Difference]],
) -> dict[str, dict[str, Difference]]:
    """Differences by score and SAE, with Holm's correction over all of them."""
    flat = {(score, name): one for score, by in found.items() for name, one in by.items()}
    made: dict[str, dict[str, Difference]] = {score: {} for score in found}
    for (score, name), one in corrected(flat).items():
        made[score][name] = one
    return made


# -------------------------------------------------------------------- resampling


def _generator(seed: int, name: str, place: int = 0) -> np.random.Generator:
    """Of an SAE by its name, so that which others stand in the table changes nothing."""
    return np.random.default_rng([seed, place, *name.encode()])


def _draws(one: Scored, seed: int, name: str) -> np.ndarray:
    """int64 [RESAMPLES, n]: features drawn with replacement."""
    n = len(one.value)
    return _generator(seed, name).integers(n, size=(RESAMPLES, n)) if n else np.empty((1, 0), int)


def _score(value: float, resampled: np.ndarray, one: Scored) -> Score:
    if len(one.value) < LEAST_UNITS:
        return Score(value=float(value), n=len(one.value), reason=FEW)
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    if high - low <= 1e-12:
        return Score(value=float(value), n=len(one.value), reason="all features score the same")
    return Score(value=float(value), low=low, high=high, n=len(one.value))
