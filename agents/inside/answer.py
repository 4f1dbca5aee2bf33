"""Answers of explainers that look inside: a rule, or that there is none, made a conclusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..groups import coverage, groups_of
from ..loop import Investigation
from ..notebook import Notebook
from ..records import Explanation
from ..rules.language import Rule
from ..rules.mind import LABELS, RuleMind
from ..rules.render import describe
from ..task import Task


def begun(task: Task) -> Investigation:
    """An investigation in which the explainer itself proposes and designs; no mind is asked."""
    return Investigation(
        task.source,
        task.feature,
        RuleMind(),
        spending=task.spending,
        seed=task.seed,
        record=task.record,
    )


def stated(
    rule: Rule,
    notebook: Notebook,
    *,
    hypothesis: int | None = None,
    description: str = "",
    notes: Sequence[str] = (),
) -> Explanation:
    """A rule as an explanation, with its groups. description: the rule's own words by default."""
    groups = groups_of(rule, notebook)
    return Explanation(
        labels=tuple(group.label for group in groups[:LABELS]),
        description=description or describe(rule),
        rule=rule,
        coverage=coverage(rule, notebook),
        groups=groups,
        notes=tuple(notes),
        hypothesis=hypothesis,
    )


def nothing_found(
    label: str, description: str, notebook: Notebook, notes: Sequence[str] = ()
) -> Explanation:
    """The answer that there is nothing of the kind to say: it predicts that no token fires.

    It covers nothing, and rests on no hypothesis.
    """
    return Explanation(
        labels=(label,),
        description=description,
        rule=Rule(unit=notebook.stats.typical_max),
        coverage=0.0,
        notes=tuple(notes),
    )


def status_of(cut: bool) -> Literal["concluded", "out_of_budget"]:
    """How it ended. cut: whether the budget left something out."""
    return "out_of_budget" if cut else "concluded"
