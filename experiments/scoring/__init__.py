"""Scoring: how good is an explanation, on text that no explainer saw, beside its controls?

    scored = await score_explanation(explanation, source, feature, seed=0, other=another)
    scored.scores["predictive_pearson"].value, scored.controls["token_lookup"].scores["input"].low

To score piece by piece (one journal entry each), use `simulators` and `score_simulator`. To add a
scorer, write an async function of a `Target` and a `Simulator`, decorate it with `@scorer("name")`,
and import its module here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ...agents.records import Explanation, Record
from ...sae.source import FeatureSource
from . import generated, predictive
from .bench import SCORERS, Details, Item, Marks, Simulator, Target, chosen, scorer
from .controls import CONTROL_NAMES, controls
from .score import Score, mean_with_interval
from .simulator import RuleSimulator, simulator_of

__all__ = [
    "CONTROL_NAMES",
    "SCORERS",
    "SCORE_NAMES",
    "Details",
    "Item",
    "Marks",
    "RuleSimulator",
    "Score",
    "Scored",
    "ScoredWithControls",
    "Simulator",
    "Target",
    "mean_with_interval",
    "score_explanation",
    "score_simulator",
    "scorer",
    "simulator_of",
    "simulators",
]

#: Every score of the scorers here, in the order of their modules.
SCORE_NAMES = (*predictive.NAMES, *generated.NAMES)


class Scored(Record):
    """What an explanation, or a control, scored. scores: by name. details: what lies behind them."""

    scores: dict[str, Score]
    details: Details = Details()


class ScoredWithControls(Scored):
    """An explanation's scores beside those of its controls (by name, see `controls`)."""

    controls: dict[str, Scored] = Field(default_factory=dict)


async def score_simulator(
    target: Target, simulator: Simulator, scorers: Sequence[str] | None = None
) -> Scored:
    """What one simulator scores on one feature.

    scorers: names of registered scorers, by default all. Raises UnknownName. The same target, seed
    and simulator always give the same scores.
    """
    marks = await asyncio.gather(
        *(function(target, simulator) for function in chosen(scorers).values())
    )
    scores: dict[str, Score] = {}
    details: dict[str, Any] = {}
    for mark in marks:
        scores.update(mark.scores)
        details.update(mark.details)
    return Scored(scores=scores, details=Details(**details))


def simulators(
    target: Target, explanation: Explanation, other: Explanation | None = None
) -> dict[str, Simulator]:
    """Everything to score for one feature: "explanation" first, then its controls by name.

    other: another feature's explanation; without it there is no random control.
    """
    own = simulator_of(explanation, target.source.tokenize)
    return {"explanation": own, **controls(target, other)}


async def score_explanation(
    explanation: Explanation,
    source: FeatureSource,
    feature: int,
    *,
    seed: int = 0,
    other: Explanation | None = None,
    scorers: Sequence[str] | None = None,
) -> ScoredWithControls:
    """Score an explanation of a feature, and its controls, on the `score` split.

    other: another feature's explanation, for the random control. Raises FeatureError for a feature
    that the source does not have.
    """
    target = Target(source, feature, seed)
    subjects = simulators(target, explanation, other)
    found = await asyncio.gather(
        *(score_simulator(target, simulator, scorers) for simulator in subjects.values())
    )
    own, *rest = found
    names = list(subjects)[1:]
    return ScoredWithControls(
        scores=own.scores, details=own.details, controls=dict(zip(names, rest, strict=True))
    )
