"""The one-shot control: what the same mind says of a feature at once, with the same budget.

A language model answers the explainer `one-shot`, whose prompt shows what the loop shows first. The
rule miner says what it proposed before any probe: of its first hypotheses, which stand in the
journal, the one that costs least on the `explain` split. That is what its loop would conclude
without probes and refinement, and mines nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..agents.budget import Budget, Spending
from ..agents.explainers import EXPLAINERS, INSIDE, Task, plain_name
from ..agents.hints import HINT
from ..agents.minds.choice import PLAIN_MINDS, Mind
from ..agents.records import Explanation, Hypothesis
from ..agents.rules.fitting import cost
from ..agents.rules.language import Rule
from ..agents.rules.render import describe, labels
from ..agents.rules.sample import Sample
from ..sae.source import FeatureSource
from .calls import RunCalls
from .journal import Run
from .recorded import RecordedSource


def why_none(config: Mapping[str, Any], prompts: Path | None) -> str:
    """Why a run has no such control; "" where it has. config: the run's. prompts: edited templates."""
    explainer, mind = plain_name(config["explainer"]), config["mind"]
    if explainer == "session":
        return "in a session nobody is asked at once"
    if "one-shot" in explainer:
        return "the explanation is made at once itself"
    if explainer == "output-side":
        return "the explanation is of what the feature does, not of what it responds to"
    if explainer in INSIDE:
        return f"{explainer} asks no mind"
    if mind in PLAIN_MINDS and explainer.partition(":")[0] != "sage":
        return f"{explainer} with the mind {mind} has no first hypotheses"
    if mind not in PLAIN_MINDS and ":" not in mind:
        return f"the mind {mind} cannot be asked again"
    if config["prompts"] and prompts is None:
        return "it takes the run's edited prompts: go on with `sagescope explain --prompts`"
    return ""


async def at_once(
    source: FeatureSource,
    run: Run,
    feature: int,
    run_spending: Spending | None = None,
    prompts: Path | None = None,
) -> tuple[Explanation, dict[str, float]] | None:
    """What the run's mind says of a feature at once, and what that took; None where it cannot.

    Its calls are the run's: they are kept in its journal and count against its caps (run_spending),
    beside those of the feature. Raises what a language model's provider raises.
    """
    mind = Mind(run.config["mind"], prompts, RunCalls(run, feature))
    spending = Spending(Budget(**run.config["budget"]), run=run_spending)
    if not mind.is_language_model:
        return await asyncio.to_thread(_first, source, run, feature), _paid(spending)
    task = Task(
        RecordedSource(source, run),
        feature,
        mind,
        spending=spending,
        seed=run.config["seed"],
        record=lambda kind, *records: None,
    )
    conclusion = await EXPLAINERS["one-shot"].explain(task)
    return None if spending.cut_by_run else (conclusion.explanation, _paid(spending))


def _paid(spending: Spending) -> dict[str, float]:
    """What it took. How long is left out: it says nothing that another run would."""
    return {name: value for name, value in spending.spent().items() if name != "seconds"}


def _first(source: FeatureSource, run: Run, feature: int) -> Explanation:
    """The first hypothesis that costs least; where none was proposed, that nothing is predicted."""
    with run.reading(feature):
        proposed = [
            Hypothesis.model_validate(event.payload)
            for event in run.attempt(feature)
            if event.kind == "hypothesis"
            and event.payload["round"] == 0
            and not event.payload["kind"].startswith(HINT)
        ]
    split = source.evidence.reader("explainer").split("explain")
    rules = [one.rule for one in proposed if one.rule and one.rule.clauses]
    if not rules:
        nothing = Rule(unit=split.stats(feature).typical_max)
        return Explanation(labels=("no rule found",), description=describe(nothing), rule=nothing)
    sample = Sample(split, feature)
    rule = min(rules, key=lambda one: cost(sample, one))
    return Explanation(labels=labels(rule), description=describe(rule), rule=rule)
