"""Simplifying rules: leaving out what the evidence, probes above all, does not bear out.

What a clause says of the token itself stays: a corpus in which "river" is always followed by "bank"
cannot tell that the rule speaks of banks.
"""

from __future__ import annotations

from collections.abc import Iterator

from .fitting import cost, refit
from .language import Clause, Near, Rule
from .sample import Sample


def simplified(rule: Rule, sample: Sample) -> Rule:
    """The rule without those contexts, and words in them, that cost more than they gain."""
    for place in range(len(rule.clauses)):
        while True:
            options = [
                rule,
                *(_with(rule, place, c, sample) for c in _simpler(rule.clauses[place])),
            ]
            best = min(options, key=lambda option: cost(sample, option))
            if best is rule:
                break
            rule = best
    return rule


def _with(rule: Rule, place: int, clause: Clause, sample: Sample) -> Rule:
    """The rule with another clause in one place, its levels fitted anew."""
    clauses = [*rule.clauses[:place], clause, *rule.clauses[place + 1 :]]
    return rule.model_copy(update={"clauses": tuple(refit(sample, clauses))})


def _simpler(clause: Clause) -> Iterator[Clause]:
    """The clause with one context less, then with one word less in what stands before."""
    for place, condition in enumerate(clause.conditions):
        if isinstance(condition, Near) and condition.is_current:
            continue
        rest = (*clause.conditions[:place], *clause.conditions[place + 1 :])
        if rest:
            yield clause.model_copy(update={"conditions": rest})
        if not isinstance(condition, Near):
            continue
        values = condition.match.values
        for dropped in values if len(values) > 1 else ():
            match = condition.match.model_copy(
                update={"values": tuple(value for value in values if value != dropped)}
            )
            fewer = condition.model_copy(update={"match": match})
            conditions = (*clause.conditions[:place], fewer, *clause.conditions[place + 1 :])
            yield clause.model_copy(update={"conditions": conditions})
