"""What the corpus says of a feature: contexts by quantile, the histogram, neighbours.

From the journal what a run wrote down; from the source, where it is at hand, all of the `explain`
split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...agents.rules.language import Rule
from ...agents.rules.match import predict
from ...sae.evidence import Exemplar, FeatureStats, SplitEvidence
from ...sae.neighbours import neighbourhood_of
from ...sae.source import FeatureSource
from ..sessions.views import Reading, Scale, around_peak
from .figures import Bar, histogram
from .pages import Piece, pieces

#: Bands of contexts, by how strong their strongest token is among all that are active.
BANDS = ((0.99, 1.0), (0.9, 0.99), (0.75, 0.9), (0.5, 0.75), (0.25, 0.5), (0.0, 0.25))
#: Contexts of each band.
EACH = 2
NEIGHBOURS = 8


@dataclass(frozen=True)
class Context:
    """A text as it is shown. maximum: its highest activation. about: where it is from."""

    maximum: float
    pieces: Sequence[Piece]
    about: str = ""


@dataclass(frozen=True)
class Band:
    """Contexts of one band of quantiles. of: how many contexts the corpus has in it."""

    name: str
    of: int
    contexts: Sequence[Context]


@dataclass(frozen=True)
class Evidence:
    """A feature on the `explain` split: how it fires, and contexts from strong to weak."""

    stats: FeatureStats
    bars: Sequence[Bar]
    bands: Sequence[Band]
    silent: Sequence[Context]
    near: Sequence[Context]


def context_of(reading: Reading, scale: Scale, rule: Rule | None = None) -> Context:
    """A text around its peak, with what a rule says of it."""
    pairs = [*around_peak(reading)]
    # The dots that stand for what was cut are no tokens.
    start = int(bool(pairs) and pairs[0] == ("… ", 0.0) and reading.kind != "typed")
    end = len(pairs) - int(bool(pairs) and pairs[-1] == (" …", 0.0) and reading.kind != "typed")
    levels = predict(rule, [[token for token, _ in pairs[start:end]]])[0] if rule else None
    shown = pieces(pairs[start:end], scale, levels)
    before = [Piece("… ")] if start else []
    after = [Piece(" …")] if end < len(pairs) else []
    return Context(reading.maximum, [*before, *shown, *after], reading.kind)


def recorded(shown: dict[str, Any], kind: str, scale: Scale, rule: Rule | None) -> Context:
    """A context that the journal has."""
    values = tuple(shown["activations"])
    reading = Reading(
        kind=kind,
        tokens=tuple(shown["tokens"]),
        activations=values,
        maximum=max(values, default=0.0),
        peak=shown["peak"],
        fired=scale.fires(max(values, default=0.0)),
    )
    return context_of(reading, scale, rule)


def evidence_of(
    source: FeatureSource, feature: int, scale: Scale, rule: Rule | None, seed: int = 0
) -> Evidence:
    """What the source knows of a feature. It may take minutes where nothing was collected yet."""
    source.cover([feature])
    split = source.evidence.reader("explainer").split("explain")
    stats = split.stats(feature)

    def shown(found: Sequence[Exemplar], kind: str) -> list[Context]:
        return [context_of(Reading.of(one, kind, scale), scale, rule) for one in found]

    values = split.activations(feature)
    return Evidence(
        stats,
        histogram(values[values > 0], stats.fires_at),
        [
            Band(_name(band), n, shown(found, ""))
            for band, n, found in _by_band(split, feature, seed)
        ],
        shown(split.silent(feature, EACH, seed), "silent"),
        shown(split.near_misses(feature, EACH, seed), "near miss"),
    )


def _by_band(
    split: SplitEvidence, feature: int, seed: int
) -> list[tuple[tuple[float, float], int, list[Exemplar]]]:
    peaks = split.peaks(feature)
    active = np.flatnonzero(peaks > 0)
    ranked = active[np.argsort(peaks[active], kind="stable")]
    draw = np.random.default_rng(seed)
    found, top = [], len(ranked)
    for low, high in BANDS:
        first = int(low * len(ranked))
        members, top = ranked[first:top], first
        chosen = draw.choice(members, min(EACH, len(members)), replace=False)
        if high == 1.0:
            chosen = members[-EACH:]
        chosen = sorted(chosen, key=lambda window: -peaks[window])
        found.append(
            ((low, high), len(members), [split.exemplar(feature, int(one)) for one in chosen])
        )
    return found


def _name(band: tuple[float, float]) -> str:
    low, high = (f"{100 * share:g}" for share in band)
    return f"strongest {100 - float(low):g} %" if high == "100" else f"{low}–{high} %"


def neighbours_of(source: FeatureSource, feature: int) -> Sequence[int] | None:
    """The features most like it; None where that would take too long to find."""
    source.cover([feature])
    found = neighbourhood_of(source.evidence)
    return None if found is None else found.nearest(feature, NEIGHBOURS)
