"""The random-weights control: features of the same SAE on the subject model with random weights.

An SAE's features can look explicable on a model that was never trained (Heap et al. 2025, "Sparse
autoencoders can interpret randomly initialized transformers"): what is explained then is the text
and the SAE, not the model. So a few features of the same SAE on that model are drawn by the rule of
the demo, explained by the same explainer with the same mind and budget, and scored by the same
scorers, as a run of its own beside the run (`RUN.random-weights`). They are other features than the
run's: each of the run's stands beside one of the same stratum, where there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ..sae.errors import SagescopeError
from ..sae.source import FeatureSource
from .features import draw
from .journal import Run
from .results import Result, standing_events, with_scores

#: Features of the model with random weights where nobody has chosen: enough for a mean, and, with
#: the tokens below, some twenty seconds on two cores the first time.
FEATURES = 8
#: Tokens of the corpus that are collected on it, or as many as the run's own evidence, if fewer.
TOKENS = 20_000


def usual(is_language_model: bool) -> int:
    """How many features where nobody has chosen: none that would have to be paid for."""
    return 0 if is_language_model else FEATURES


def random_source(source: FeatureSource) -> FeatureSource | None:
    """The source's features on its model with random weights; None where it has no model."""
    make = getattr(source, "with_random_weights", None)
    return make(TOKENS) if make else None


def drawn(source: FeatureSource, n: int, seed: int) -> list[int]:
    """n features of that source, or as many as fire often enough; see `features.draw`."""
    for count in range(n, 0, -1):
        try:
            return draw(source.evidence, count, seed)
        except SagescopeError:
            continue
    return []


def stand_beside(run: Run, results: Sequence[Result]) -> None:
    """Write the scores of features with random weights beside those of the run's features.

    results: of the random-weights run. A feature gets the same one every time.
    """
    scored = [one for one in results if any(one.scores.values())]
    if not scored:
        absent(run, "no feature of the model with random weights was scored")
        return
    for feature, standing in standing_events(run).items():
        if not standing.get("explanation"):
            continue
        stratum = (standing.get("facts") or {}).get("stratum")
        pool = [one for one in scored if one.stratum == stratum] or scored
        place = int(hashlib.sha256(f"{run.config['seed']} {feature}".encode()).hexdigest(), 16)
        _write(run, feature, standing, _payload(pool[place % len(pool)]))


def absent(run: Run, why: str) -> None:
    """Write why a run has no such control beside each of its features that was scored."""
    for feature, standing in standing_events(run).items():
        if standing.get("explanation"):
            _write(run, feature, standing, {"of": "random_weights", "why": why})


def _payload(result: Result) -> dict[str, Any]:
    details = {**result.details.get("explanation", {}), "items": []}
    kept = {"failed": {}, "more": {}, "recall_by_quantile": []}
    return {
        "of": "random_weights",
        "feature": result.feature,
        "run": result.run,
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
