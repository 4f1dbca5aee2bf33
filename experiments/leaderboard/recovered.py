"""Beside a table of planted features: how many each explainer recovered, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..planted import PlantedSource, planted_source
from ..planted.source import DECOY
from ..planted.suite import WITHOUT_PROBES, Findings, Group, answers
from ..scoring import Score
from .manifest import Manifest, PlantedSuite
from .rows import Entry


@dataclass(frozen=True)
class Recovered:
    """What one explainer recovered with the benchmark's first seed. explainer, mind: as in the row.

    groups: see `planted.suite.Findings.groups`. false_labels: share of dead and noisy features with a
    confirmed label. lift: what probing adds with decoys, against the same explainer without it; None
    where that is no row.
    """

    explainer: str
    mind: str
    groups: tuple[Group, ...]
    false_labels: Score
    lift: Score | None

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "explainer": self.explainer,
            "mind": self.mind,
            "classes": [
                {
                    "name": one.name,
                    "features": one.features,
                    "failed": one.failed,
                    "recovered": one.recovered.model_dump(),
                    "equivalent": one.equivalent.model_dump(),
                    "confirmed": one.confirmed.model_dump(),
                }
                for one in self.groups
            ],
            "false_labels": self.false_labels.model_dump(),
            "decoy_lift": self.lift and self.lift.model_dump(),
        }


def recovered(entries: Sequence[Entry], manifest: Manifest) -> tuple[Recovered, ...]:
    """What each explainer recovered of planted features, in the order of the rows.

    Empty for benchmarks that are of no planted suite.
    """
    suite = manifest.opens
    if not isinstance(suite, PlantedSuite):
        return ()
    source = planted_source(suite.planted, suite.per_class)
    # Another seed's answer for a feature is no other feature.
    first = manifest.seeds[0]
    shown = [
        replace(entry, results=tuple(one for one in entry.results if one.seed == first))
        for entry in entries
        if entry.kind != "control"
    ]
    found = [_findings(source, entry, shown) for entry in shown]
    return tuple(
        Recovered(
            entry.explainer,
            entry.mind,
            tuple(one.groups()),
            one.false_labels,
            one.lift if one.without_probes else None,
        )
        for entry, one in zip(shown, found, strict=True)
    )


def _findings(source: PlantedSource, entry: Entry, others: Sequence[Entry]) -> Findings:
    own = answers(source, entry.results)
    blind = WITHOUT_PROBES.get(entry.explainer)
    for other in others:
        if (other.explainer, other.mind, other.kind) == (blind, entry.mind, entry.kind):
            of_decoys = [one for one in other.results if source.features[one.index].kind == DECOY]
            return Findings(own, answers(source, of_decoys))
    return Findings(own)
