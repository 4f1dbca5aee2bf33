"""Fitting rules to a sample: what a rule loses and costs, its levels, which clauses earn theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .language import Clause, Rule
from .match import highest
from .sample import Sample
from .values import VALUE_COST

#: What one more condition must gain: a share of the energy Σ w y² (a value: see `values`).
CONDITION_COST = 0.006


def loss(sample: Sample, clauses: Sequence[Clause]) -> float:
    """Σ w (y − p)² of a rule of these clauses."""
    # Where no clause holds, which is nearly everywhere, the gap is the target.
    places, masks = sample.held(clauses)
    gap = sample.target[places] - highest(clauses, masks, len(places))
    terms = sample.weighted_squares.copy()
    terms[places] = sample.weight[places] * np.square(gap)
    return float(np.sum(terms))


def cost(sample: Sample, rule: Rule) -> float:
    """The loss of a rule and what its conditions and values cost: the lower, the better."""
    length = CONDITION_COST * rule.n_conditions + VALUE_COST * rule.n_values
    return loss(sample, rule.clauses) + sample.weighted_energy * length


def refit(sample: Sample, clauses: Sequence[Clause], turns: int = 4) -> list[Clause]:
    """The same clauses with levels fitted to the tokens on which each has the last word."""
    if not clauses:
        return []
    # Where no clause holds there is nothing to fit, and that is nearly everywhere.
    held, masks = sample.held(clauses)
    weights, targets = sample.weight[held], sample.target[held]
    products = weights * targets
    levels = np.array([clause.level for clause in clauses])
    before = None
    for _ in range(turns):
        stacked = np.where(masks, levels[:, None], -1.0)
        owner = np.where(stacked.max(axis=0) >= 0, stacked.argmax(axis=0), -1)
        if before is not None and np.array_equal(owner, before):
            break  # the same tokens give the same levels
        before = owner
        for place in range(len(clauses)):
            mine = owner == place
            weight = float(weights[mine].sum())
            if weight > 0:
                levels[place] = float(products[mine].sum()) / (weight + 1.0)
    return [
        clause.model_copy(update={"level": round(float(level), 3)})
        for clause, level in zip(clauses, levels, strict=True)
    ]


def prune(sample: Sample, clauses: Sequence[Clause]) -> list[Clause]:
    """Leave out clauses whose absence costs less than their conditions are worth."""
    kept = list(clauses)
    while kept:
        whole = loss(sample, kept)
        losses = []
        for place, clause in enumerate(kept):
            rest = [*kept[:place], *kept[place + 1 :]]
            worth = CONDITION_COST * len(clause.conditions) * sample.weighted_energy
            losses.append(loss(sample, rest) - whole - worth)
        worst = int(np.argmin(losses))
        if losses[worst] >= 0:
            break
        kept = refit(sample, [*kept[:worst], *kept[worst + 1 :]])
    return sorted(kept, key=lambda clause: -clause.level)
