"""Evidence: what a feature did on a corpus, split before anybody looks (DESIGN, rule 1).

An `Evidence` holds, for each split, the tokens and every feature's activation on them. Statistics,
exemplars, silent contexts and near misses are read off these. A reader gets only the splits of its
role. `sagescope.sae.collect` makes one from a model with an SAE, `FunctionSource` from a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from .errors import FeatureError, WrongSplit
from .tokens import TokenActivations, TokenTable

if TYPE_CHECKING:
    from pandas import DataFrame

#: Feature numbers, in any order.
Features = Sequence[int] | np.ndarray

Role = Literal["explainer", "selector", "scorer"]

#: Which splits each role may read. Thresholds and controls of the scorers come from `explain`.
MAY_READ: dict[Role, tuple[str, ...]] = {
    "explainer": ("explain",),
    "selector": ("explain", "select"),
    "scorer": ("explain", "score"),
}

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
#: Contexts whose highest activations average to the typical maximum.
TOP_CONTEXTS = 10
#: How many bytes of activations a split keeps at hand.
KEPT_BYTES = 64 << 20
#: A token fires when it reaches this share of the typical maximum (DESIGN, rule 3).
FIRES_AT = 0.2


@dataclass(frozen=True)
class FeatureStats:
    """How one feature fires on a split, in the SAE's own units.

    tokens: how many were seen. fired: on how many the activation is above zero. density: their
    share. mean, quantiles: of the non-zero activations (at QUANTILES). typical_max: mean of the
    highest activations of the TOP_CONTEXTS strongest windows. fires_at: FIRES_AT × typical_max,
    the activation from which a token counts as firing.
    """

    tokens: int
    fired: int
    density: float
    maximum: float
    mean: float
    quantiles: tuple[float, ...]
    typical_max: float

    @property
    def fires_at(self) -> float:
        """The activation from which a token counts as firing."""
        return FIRES_AT * self.typical_max


@dataclass(frozen=True)
class Exemplar:
    """A window with the feature's activation on each token. peak: place of the highest."""

    window: int
    tokens: tuple[str, ...]
    activations: np.ndarray
    peak: int


class SplitEvidence:
    """One split of the evidence: its tokens, and any feature's activations on them.

    activations_of: a feature's activations on all n tokens, float32 [n], computed on demand.
    """

    def __init__(self, name: str, tokens: TokenTable, activations_of: Callable[[int], np.ndarray]):
        self.name = name
        self.tokens = tokens
        kept = max(4, KEPT_BYTES // (4 * max(1, len(tokens))))
        self._activations_of = lru_cache(maxsize=min(64, kept))(activations_of)
        self._stats: dict[int, FeatureStats] = {}

    def activations(self, feature: int) -> np.ndarray:
        """float32 [n]: the feature's activation on each token of the split. Do not write to it."""
        return self._activations_of(feature)

    def entries(self, features: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Everything that is not zero, of several features at once.

        Returns place in `features` (int64), token (int64) and activation (float32), each [nnz],
        ordered by place, then token.
        """
        found = [np.flatnonzero(self.activations(feature)) for feature in features]
        values = [self.activations(f)[at] for f, at in zip(features, found, strict=True)]
        places = np.repeat(np.arange(len(features)), [len(at) for at in found])
        if not found:
            return places, np.empty(0, np.int64), np.empty(0, np.float32)
        return places, np.concatenate(found), np.concatenate(values)

    def sizes(self, features: Features) -> np.ndarray:
        """int64: at most how many entries each of the features has."""
        return np.full(len(features), len(self.tokens))

    def peaks(self, feature: int) -> np.ndarray:
        """float32 [windows]: the feature's highest activation in each window."""
        peaks = np.zeros(len(self.tokens.starts) - 1, np.float32)
        # reduceat gives wrong maxima where a stretch is empty.
        filled = np.diff(self.tokens.starts) > 0
        if filled.any():
            starts = self.tokens.starts[:-1][filled]
            peaks[filled] = np.maximum.reduceat(self.activations(feature), starts)
        return peaks

    def stats(self, feature: int) -> FeatureStats:
        """How the feature fires on this split."""
        if feature not in self._stats:
            self._stats[feature] = self._computed_stats(feature)
        return self._stats[feature]

    def _computed_stats(self, feature: int) -> FeatureStats:
        values = self.activations(feature)
        firing = values[values > 0]
        peaks = np.sort(self.peaks(feature))[::-1][:TOP_CONTEXTS]
        peaks = peaks[peaks > 0]
        return FeatureStats(
            tokens=len(values),
            fired=len(firing),
            density=len(firing) / max(1, len(values)),
            maximum=float(firing.max(initial=0.0)),
            mean=float(firing.mean()) if len(firing) else 0.0,
            quantiles=tuple(np.quantile(firing, QUANTILES).tolist()) if len(firing) else (),
            typical_max=float(peaks.mean()) if len(peaks) else 0.0,
        )

    def exemplar(self, feature: int, window: int) -> Exemplar:
        """One window as an exemplar of the feature."""
        start, end = self.tokens.starts[window : window + 2]
        values = self.activations(feature)[start:end]
        peak = int(values.argmax()) if len(values) else 0
        return Exemplar(window, tuple(self.tokens.window(window)), values, peak)

    def top(self, feature: int, n: int) -> list[Exemplar]:
        """The n windows with the highest activations, highest first."""
        peaks = self.peaks(feature)
        order = np.argsort(-peaks, kind="stable")[:n]
        return [self.exemplar(feature, int(window)) for window in order if peaks[window] > 0]

    def spread(self, feature: int, n: int, seed: int = 0) -> list[Exemplar]:
        """n firing windows spread evenly over the quantiles of their highest activations."""
        peaks = self.peaks(feature)
        firing = np.flatnonzero(peaks > 0)
        firing = firing[np.argsort(-peaks[firing], kind="stable")]
        bands = np.array_split(firing, max(1, min(n, len(firing))))
        draw = np.random.default_rng(seed)
        return [self.exemplar(feature, int(draw.choice(band))) for band in bands if len(band)]

    def silent(self, feature: int, n: int, seed: int = 0) -> list[Exemplar]:
        """n random windows in which the feature is nowhere above zero."""
        quiet = np.flatnonzero(self.peaks(feature) <= 0)
        chosen = np.random.default_rng(seed).permutation(quiet)[:n]
        return [self.exemplar(feature, int(window)) for window in chosen]

    def near_misses(self, feature: int, n: int, seed: int = 0) -> list[Exemplar]:
        """n silent windows that contain the tokens the feature fires on most.

        The favourite tokens are the ten with the highest summed activation.
        """
        values = self.activations(feature)
        mass = np.bincount(self.tokens.ids, weights=values, minlength=len(self.tokens.vocab))
        favourites = np.argsort(-mass, kind="stable")[:10]
        favourites = favourites[mass[favourites] > 0]
        is_favourite = np.zeros(len(mass), bool)
        is_favourite[favourites] = True
        holds = np.zeros(len(self.tokens.starts) - 1, bool)
        holds[self.tokens.window_of[is_favourite[self.tokens.ids]]] = True
        chosen = np.flatnonzero(holds & (self.peaks(feature) <= 0))
        chosen = np.random.default_rng(seed).permutation(chosen)[:n]
        return [self.exemplar(feature, int(window)) for window in chosen]


class Evidence:
    """Every feature's activations on a corpus, by split.

    splits: split name → its evidence. features: the features it covers. reference: those of them
    among which a feature's neighbours and rivals are looked for, all unless it is set: it must not
    depend on how much happens to be collected (see `on_demand`). table: gives the figures of
    all features on all splits (see `sagescope.sae.summary`), which are else computed when first
    asked for.
    """

    def __init__(
        self,
        splits: Mapping[str, SplitEvidence],
        features: Sequence[int],
        table: Callable[[], DataFrame] | None = None,
    ):
        self.splits: Mapping[str, SplitEvidence] = dict(splits)
        self.features = self.reference = features
        self._make_table = table

    def reader(self, role: Role) -> EvidenceReader:
        """The evidence as `role` may see it."""
        return EvidenceReader(self.splits, role, self.table)

    def table(self, split: str = "explain") -> DataFrame:
        """One row a feature: how it fires on the split, and what its stratum is.

        Columns: fired, density, maximum, mean, typical_max, one a quantile (q10 … q99), as in
        FeatureStats; lookup_pearson and stratum, always of `explain`. Index: the feature.
        """
        whole = self._table
        return whole[whole["split"] == split].drop(columns="split").set_index("feature")

    def stratum(self, feature: int) -> str:
        """ "lexical" or "contextual": how well a token lookup table predicts it (see `lookup`)."""
        if feature not in self._strata:
            raise FeatureError(f"The evidence does not cover feature {feature}.")
        return self._strata[feature]

    @cached_property
    def _table(self) -> DataFrame:
        if self._make_table is not None:
            return self._make_table()
        from .summary import summarise

        return summarise(self.splits, self.features)

    @cached_property
    def _strata(self) -> dict[int, str]:
        return self.table()["stratum"].to_dict()


@dataclass(frozen=True)
class EvidenceReader:
    """Evidence that gives only the splits of one role."""

    _splits: Mapping[str, SplitEvidence]
    role: Role
    _table: Callable[[str], DataFrame]

    def split(self, name: str) -> SplitEvidence:
        """One split. Raises WrongSplit for one that this role must not see."""
        self._check(name)
        return self._splits[name]

    def table(self, name: str = "explain") -> DataFrame:
        """The figures of all features on one split (see Evidence.table). Raises WrongSplit."""
        self._check(name)
        return self._table(name)

    def _check(self, name: str) -> None:
        if name not in MAY_READ[self.role]:
            allowed = " and ".join(MAY_READ[self.role])
            raise WrongSplit(f"A {self.role} may read {allowed}, not {name!r}.")


def as_activations(tokens: Sequence[str], values: Sequence[float]) -> TokenActivations:
    """One text's tokens and activations, checked to be of equal length and finite."""
    activations = np.asarray(values, dtype=np.float32)
    if len(tokens) != len(activations):
        raise ValueError(f"{len(tokens)} tokens but {len(activations)} activations")
    return TokenActivations(tuple(tokens), activations)
