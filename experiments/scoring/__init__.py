"""Scoring: how good is an explanation, on text that no explainer saw, beside its controls?

    scored = await score_explanation(explanation, source, feature, seed=0, other=another)
    scored.scores["predictive_pearson"].value, scored.controls["token_lookup"].scores["input"].low

To score piece by piece (one journal entry each), use `simulators` and `score_simulator`. To add a
scorer, write an async function of a `Target` and a `Simulator`, decorate it with
`@scorer("name", scores=(…))`, and import its module here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ...agents.records import Explanation, Record
from ...sae.source import FeatureSource
from . import (  # noqa: F401 (they register scorers)
    discrimination,
    fade,
    generated,
    output_side,
    predictive,
    simulation,
    surprisal,
    uniform,
)
from .bench import SCORERS, Details, Item, Marks, Scorer, Target, chosen, scorer
from .controls import CONTROL_NAMES, controls
from .score import Score, mean_with_interval
from .simulator import Context, RuleSimulator, Simulator, can_answer, simulator_of

__all__ = [
    "CONTROL_NAMES",
    "SCORERS",
    "SCORE_NAMES",
    "Context",
    "Details",
    "Item",
    "Marks",
    "RuleSimulator",
    "Score",
    "Scored",
    "ScoredWithControls",
    "Scorer",
    "Simulator",
    "Target",
    "can_answer",
    "chosen",
    "mean_with_interval",
    "score_explanation",
    "score_simulator",
    "scorer",
    "simulator_of",
    "simulators",
]

#: Every score that the scorers here may give.
SCORE_NAMES = tuple(name for one in SCORERS.values() for name in one.scores)


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

    scorers: names of registered scorers (see `chosen`). Raises UnknownName. The same target, seed
    and simulator always give the same scores.
    """
    marks = await asyncio.gather(*(one(target, simulator) for one in chosen(scorers).values()))
    scores: dict[str, Score] = {}
    details: dict[str, Any] = {}
    for mark in marks:
        scores.update(mark.scores)
        for name, value in mark.details.items():
            if isinstance(value, dict):
                details[name] = {**details.get(name, {}), **value}
            elif isinstance(value, tuple):
                details[name] = (*details.get(name, ()), *value)
            else:
                details[name] = value
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
