"""SAEs ranked by how explainable their features are, under one explainer with one mind.

Features that fire often are easier than rare ones, so SAEs are compared on features that fire alike:
densities are sorted into bands of half a power of ten, and from each band every SAE gives as many
features as the one that has the fewest there, chosen by a hash of the feature's number. Dead features
are in no band.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from ..scoring import Score
from .board import Board, headline_of, mean_of
from .manifest import Manifest, differences
from .rows import Entry

#: Bands in a power of ten of density.
BANDS_IN_TEN = 2
#: What may differ between the benchmarks of SAEs that are ranked together.
_OWN = {"sae", "features"}


@dataclass(frozen=True)
class RankedSAE:
    """One SAE. features: explained of it. matched: of these, compared. density: their median."""

    sae: str
    features: int
    matched: int
    density: float
    scores: dict[str, Score]


@dataclass(frozen=True)
class Ranking:
    """SAEs under one explainer and mind, the most explainable first. how: what was compared."""

    explainer: str
    mind: str
    how: str
    columns: dict[str, str]
    rows: tuple[RankedSAE, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        rows = [
            {**vars(row), "scores": {name: one.model_dump() for name, one in row.scores.items()}}
            for row in self.rows
        ]
        return {"explainer": self.explainer, "mind": self.mind, "how": self.how, "rows": rows}


def rank_saes(boards: Sequence[Board]) -> tuple[list[Ranking], list[str]]:
    """Rankings of the SAEs of one subject, and a sentence for each pair that cannot stand in one.

    There is one for each explainer, with mind and settings, that has explained several SAEs.
    """
    by_explainer: dict[tuple[str, ...], list[tuple[Board, Entry]]] = {}
    for board in boards:
        for entry in board.entries:
            if entry.kind == "run":
                about = (entry.mind, entry.about, entry.simulator)
                name = (board.manifest.subject, entry.explainer, *about)
                by_explainer.setdefault(name, []).append((board, entry))
    rankings, refused = [], []
    for (_, explainer, mind, *_), pairs in by_explainer.items():
        fair = pairs[:1]
        for board, entry in pairs[1:]:
            why = _unfair(fair[0][0].manifest, board.manifest)
            if why:
                refused.append(why)
            elif board.manifest.sae not in {one.manifest.sae for one, _ in fair}:
                fair.append((board, entry))
        if len(fair) > 1:
            rankings.append(_ranking(explainer, mind, fair))
    return rankings, [*dict.fromkeys(refused)]


def _unfair(one: Manifest, other: Manifest) -> str | None:
    """Why features of two benchmarks cannot be compared, but for their SAEs."""
    if one.sae == other.sae:
        return None
    differing = list(differences(_shared(one), _shared(other)))
    if not differing:
        return None
    return (
        f"The SAEs {one.sae} and {other.sae} are not ranked together, because the benchmark "
        f"{other.name} has {'; '.join(differing)}: freeze both on the same."
    )


def _shared(manifest: Manifest) -> dict[str, Any]:
    values = {name: value for name, value in manifest.decides.items() if name not in _OWN}
    key = {name: value for name, value in (values["key"] or {}).items() if name not in _OWN}
    return {**values, "key": key}


def _ranking(explainer: str, mind: str, pairs: Sequence[tuple[Board, Entry]]) -> Ranking:
    columns = pairs[0][0].columns
    headline = headline_of([entry for _, entry in pairs], pairs[0][0].manifest)
    explained = [{one.index for one in entry.results} for _, entry in pairs]
    bands = [_bands(entry, features) for (_, entry), features in zip(pairs, explained, strict=True)]
    common = set.intersection(*(set(own) for own in bands))
    take = {band: min(len(own[band]) for own in bands) for band in common}
    rows = []
    for (board, entry), own, features in zip(pairs, bands, explained, strict=True):
        kept = {feature for band in common for feature in own[band][: take[band]]}
        chosen = replace(entry, results=tuple(one for one in entry.results if one.index in kept))
        density = median([entry.densities[one] for one in kept]) if kept else 0.0
        scores = {name: mean_of(chosen, name) for name in columns}
        rows.append(RankedSAE(board.manifest.sae, len(features), len(kept), density, scores))
    # What has no value is no zero: it stands last.
    values = {id(row): row.scores[headline].value for row in rows}
    rows.sort(key=lambda row: (values[id(row)] is None, -(values[id(row)] or 0.0)))
    how = (
        "Features are matched by how often they fire, in bands of half a power of ten; density is the "
        "median of those compared."
        if common
        else "No features of these SAEs fire equally often, so nothing can be compared."
    )
    return Ranking(explainer, mind, how, columns, tuple(rows))


def _bands(entry: Entry, features: set[int]) -> dict[int, list[int]]:
    """Band → the features in it, in an order that only their numbers decide."""
    found: dict[int, list[int]] = {}
    for feature in sorted(features, key=lambda one: hashlib.sha256(b"%d" % one).digest()):
        density = entry.densities.get(feature, 0.0)
        if density > 0:
            found.setdefault(band_of(density), []).append(feature)
    return found


def band_of(density: float) -> int:
    """The band of a density above 0: -1 from a tenth's square root to 1, and so on downwards."""
    return math.floor(BANDS_IN_TEN * math.log10(density))
