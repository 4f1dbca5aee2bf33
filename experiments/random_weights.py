"""The random-weights control: features of the same SAE on the subject model with random weights.

An SAE's features can look explicable on a model that was never trained (Heap et al. 2025, "Sparse
autoencoders can interpret randomly initialized transformers"): what is explained then is the text
and the SAE, not the model. So a few features of the same SAE on that model are drawn, each of the
stratum and about the density of one of the run's, explained by the same explainer with the same mind and budget, and scored by the same
scorers, as a run of its own beside the run (`RUN.random-weights`). They are other features than the
run's: each of the run's stands beside the one of the same stratum that is nearest in density, and
beside none where all are more than ALIKE times as dense, or as sparse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..sae.source import FeatureSource
from .journal import Run
from .results import Result, standing_events, with_scores

if TYPE_CHECKING:
    from pandas import DataFrame

#: Features of the model with random weights where nobody has chosen: enough for a mean, and, with
#: the tokens below, some twenty seconds on two cores the first time.
FEATURES = 8
#: Tokens of the corpus that are collected on it, or as many as the run's own evidence, if fewer.
TOKENS = 20_000
#: Densities may differ by this factor, and a feature must have fired so often to be explained at all.
ALIKE, FIRED_AT_LEAST = 2.0, 20


def usual(is_language_model: bool) -> int:
    """How many features where nobody has chosen: none that would have to be paid for."""
    return 0 if is_language_model else FEATURES


def random_source(source: FeatureSource) -> FeatureSource | None:
    """The source's features on its model with random weights; None where it has no model."""
    make = getattr(source, "with_random_weights", None)
    return make(TOKENS) if make else None


def matched(
    source: FeatureSource, features: Sequence[int], other: FeatureSource, n: int, seed: int
) -> list[int]:
    """Up to n features of the other source, each like one of `features` of the source.

    The seed draws those that are matched, of both strata by turns: each gets the nearest in density
    that is left of its stratum, if there is one within ALIKE that fired often enough.
    """
    table = _figures(other)
    left = table[table["fired"] >= FIRED_AT_LEAST]
    own = _figures(source)
    own = own.loc[[f for f in features if f in own.index and own.loc[f, "density"] > 0]]
    own = own.sample(frac=1, random_state=seed)
    turns = own.groupby("stratum").cumcount().argsort(kind="stable")
    found: list[int] = []
    wanted = own.iloc[turns]
    for stratum, density in zip(wanted["stratum"], wanted["density"], strict=True):
        place = nearest(float(density), _by_feature(left[left["stratum"] == stratum]["density"]))
        if place is not None and len(found) < n:
            found.append(place)
            left = left.drop(index=place)
    return sorted(found)


def densities(source: FeatureSource) -> dict[int, float]:
    """Feature → the share of tokens of `explain` that it fires on."""
    return _by_feature(_figures(source)["density"])


def _by_feature(column: Any) -> dict[int, float]:
    """A column of a table of features."""
    return dict(zip(map(int, column.index), map(float, column), strict=True))


def nearest(density: float, pool: Mapping[int, float]) -> int | None:
    """The one of a pool (feature → density) that is nearest by ratio; None where none is ALIKE."""
    apart = {one: abs(math.log(other / density)) for one, other in pool.items() if other > 0}
    best = min(apart, key=lambda one: (apart[one], one), default=None)
    return best if best is not None and apart[best] <= math.log(ALIKE) + 1e-9 else None


def _figures(source: FeatureSource) -> DataFrame:
    return source.evidence.reader("explainer").table("explain")


def stand_beside(run: Run, results: Sequence[Result], density: Mapping[int, float]) -> None:
    """Write the scores of features with random weights beside those of the run's features.

    results: of the random-weights run; density: of its features. A feature gets the same one every
    time, and a word where none is like it.
    """
    scored = [one for one in results if any(one.scores.values())]
    if not scored:
        absent(run, "no feature of the model with random weights was scored")
        return
    for feature, standing in standing_events(run).items():
        if not standing.get("explanation"):
            continue
        stratum = (standing.get("facts") or {}).get("stratum")
        own = ((standing.get("facts") or {}).get("stats") or {}).get("density") or 0.0
        pool = {one.index: one for one in scored if one.stratum == stratum}
        like = nearest(own, {index: density[index] for index in pool}) if own else None
        if like is None:
            why = f"no {stratum} feature of the model with random weights fires about as often"
            _write(run, feature, standing, {"of": "random_weights", "why": why})
        else:
            _write(run, feature, standing, _payload(pool[like], density[like]))


def absent(run: Run, why: str) -> None:
    """Write why a run has no such control beside each of its features that was scored."""
    for feature, standing in standing_events(run).items():
        if standing.get("explanation"):
            _write(run, feature, standing, {"of": "random_weights", "why": why})


def _payload(result: Result, density: float) -> dict[str, Any]:
    details = {**result.details.get("explanation", {}), "items": []}
    kept = {"failed": {}, "more": {}, "recall_by_quantile": []}
    answered = {name: details[name] for name in ("simulator", "judge") if name in details}
    return {
        **answered,
        "of": "random_weights",
        "feature": result.feature,
        "run": result.run,
        "density": density,
        "scores": {name: one.model_dump() for name, one in result.scores.items() if one},
        "details": {**{key: details.get(key, empty) for key, empty in kept.items()}, "items": []},
        "scorers": [],
    }


def _write(run: Run, feature: int, standing: dict[str, Any], payload: dict[str, Any]) -> None:
    """Write the event unless it says nothing new."""
    before = standing.get("random_weights")
    if before and "why" not in before and "why" in payload:
        return  # what was scored stands
    if (
        before is None
        or ("why" in before and before != payload)
        or ("why" not in before and with_scores(before, payload)["scores"] != before["scores"])
    ):
        run.write("scored", payload, feature)
