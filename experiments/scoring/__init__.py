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
from ...agents.rules.drafts import room_of
from ...sae.source import FeatureSource
from . import (  # noqa: F401 (they register their scorers)
    classify,
    discrimination,
    fade,
    generated,
    graded,
    output_side,
    predictive,
    saebench,
    simulation,
    surprisal,
    uniform,
)
from .bench import SCORERS, Details, Item, Marks, Scorer, Target, blind_to, chosen, scorer
from .choice import BY_RULE, KINDS, Choice, simulator_of
from .controls import CONTROL_NAMES, controls, target_of
from .score import Score, mean_with_interval
from .simulator import Context, RuleSimulator, Simulator, settled

__all__ = [
    "BY_RULE",
    "CONTROL_NAMES",
    "KINDS",
    "SCORERS",
    "SCORE_NAMES",
    "Choice",
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
    "blind_to",
    "chosen",
    "mean_with_interval",
    "score_explanation",
    "score_simulator",
    "scorer",
    "simulator_of",
    "simulators",
    "target_of",
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
    marks = await settled(*(one(target, simulator) for one in chosen(scorers).values()))
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
    target: Target,
    explanation: Explanation,
    other: Explanation | None = None,
    choice: Choice = BY_RULE,
    *,
    one_shot: Explanation | None = None,
    controlled: bool = True,
) -> dict[str, Simulator]:
    """Everything to score for one feature: "explanation" first, then its controls by name.

    Each is to be scored on `target_of(name, target)`. other: another feature's explanation; without
    it there is no random control. choice: what answers for them. one_shot: what the same mind said
    at once. controlled: whether there are any controls. Raises CannotAnswer where nothing can
    answer.
    """
    choice = choice.of(explanation) if choice.kind == "auto" else choice
    source = target.source
    own = {"explanation": simulator_of(explanation, source.tokenize, choice, room_of(source))}
    return own | controls(target, explanation, other, one_shot, choice) if controlled else {**own}


async def score_explanation(
    explanation: Explanation,
    source: FeatureSource,
    feature: int,
    *,
    seed: int = 0,
    other: Explanation | None = None,
    scorers: Sequence[str] | None = None,
    choice: Choice = BY_RULE,
) -> ScoredWithControls:
    """Score an explanation of a feature, and its controls, on the `score` split.

    other: another feature's explanation, for the random control. choice: what answers for both, by
    default their rules (an explanation without one foresees silence). Raises FeatureError for a feature that the source does not have, CannotAnswer
    where nothing can answer for the explanation.
    """
    target = Target(source, feature, seed)
    subjects = simulators(target, explanation, other, choice)
    found = await asyncio.gather(
        *(
            score_simulator(target_of(name, target), simulator, scorers)
            for name, simulator in subjects.items()
        )
    )
    own, *rest = found
    names = list(subjects)[1:]
    return ScoredWithControls(
        scores=own.scores, details=own.details, controls=dict(zip(names, rest, strict=True))
    )
