"""Levels: how strongly the groups of a sketch fire, measured on the `explain` split.

What a language model said of levels orders its groups and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..notebook import Notebook
from ..rules.fitting import refit
from ..rules.language import Rule
from .samples import sample_of
from .sketch import Group, rule_of


def measured_rule(groups: Sequence[Group], notebook: Notebook) -> Rule | None:
    """The rule of a sketch, the clauses that carry most activation first.

    None where the sketch says nothing executable.
    """
    rule = rule_of(groups, notebook.stats.typical_max)
    if rule is None:
        return None
    sample = sample_of(notebook)
    clauses = refit(sample, rule.clauses)
    places, masks = sample.held(clauses)
    target = sample.target[places]
    mass = [float(target[mask].sum()) for mask in masks]
    order = sorted(range(len(clauses)), key=lambda place: -mass[place])
    return rule.model_copy(update={"clauses": tuple(clauses[place] for place in order)})
