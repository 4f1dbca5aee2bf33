"""Which features of several SAEs are explained: one seeded rule, matched by how often they fire.

Features that fire often are easier to explain than rare ones, and architectures differ in how often
theirs fire. So densities (share of the tokens of `explain` on which a feature fires) are sorted into
the bands of `leaderboard.saes`, half a power of ten each, and of the features that all SAEs have
in a band as many count as the SAE has that has the fewest. Of these places n are drawn by the seed;
at each, every SAE puts a feature of that band, in an order drawn by the seed too. So the first m
places are matched as well as all are, and whoever has less time explains the first m of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...sae.errors import FeatureError
from ...sae.evidence import Evidence
from ..features import FIRED_AT_LEAST
from ..leaderboard.saes import band_of


def able(evidence: Evidence) -> dict[int, float]:
    """Feature → density, of those that fired often enough to be explained (FIRED_AT_LEAST)."""
    table = evidence.reader("explainer").table("explain")
    some = table[table["fired"] >= FIRED_AT_LEAST]
    return dict(zip(map(int, some.index), map(float, some["density"]), strict=True))


def matched(
    densities: Mapping[str, Mapping[int, float]], n: int, seed: int
) -> dict[str, list[int]]:
    """n features of each SAE: those at the same place fire alike (the module says how).

    densities: SAE → feature → density, above 0. Raises FeatureError where fewer than n match.
    """
    by_band = {name: _by_band(own) for name, own in densities.items()}
    common = set.intersection(*(set(own) for own in by_band.values()))
    room = {band: min(len(own[band]) for own in by_band.values()) for band in sorted(common)}
    places = np.repeat(list(room), list(room.values()))
    if len(places) < n:
        raise FeatureError(
            f"Only {len(places)} features of each SAE fire as often as some of every other: explain "
            f"no more than these, or leave out the SAE that fires otherwise ({_scarcest(by_band)})."
        )
    bands = np.random.default_rng([seed, 0]).permutation(places)[:n].tolist()
    return {name: _at(bands, own, seed) for name, own in by_band.items()}


def _by_band(densities: Mapping[int, float]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for feature in sorted(densities):
        found.setdefault(band_of(densities[feature]), []).append(feature)
    return found


def _at(bands: Sequence[int], own: Mapping[int, Sequence[int]], seed: int) -> list[int]:
    """A feature for each place."""
    orders = {
        # A seed is not negative, and bands are.
        band: iter(np.random.default_rng([seed, 1, -band]).permutation(own[band]).tolist())
        for band in set(bands)
    }
    return [next(orders[band]) for band in bands]


def _scarcest(by_band: Mapping[str, Mapping[int, Sequence[int]]]) -> str:
    """The SAE without which most features would match."""

    def without(name: str) -> int:
        rest = [own for other, own in by_band.items() if other != name]
        common = set.intersection(*(set(own) for own in rest)) if rest else set()
        return sum(min(len(own[band]) for own in rest) for band in common)

    return max(by_band, key=without)
