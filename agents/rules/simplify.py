"""Simplifying rules: leaving out what the evidence, probes above all, does not bear out."""

from __future__ import annotations

from collections.abc import Iterator

from .fitting import cost, refit
from .language import Clause, Near, Rule
from .sample import Sample


def simplified(rule: Rule, sample: Sample) -> Rule:
    """The rule without those conditions, and words in its contexts, that cost more than they gain."""
    lowest = cost(sample, rule)
    place = 0
    while place < len(rule.clauses):
        for clause in _simpler(rule.clauses[place]):
            clauses = [*rule.clauses[:place], clause, *rule.clauses[place + 1 :]]
            other = rule.model_copy(update={"clauses": tuple(refit(sample, clauses))})
            price = cost(sample, other)
            if price < lowest:
                rule, lowest = other, price
                break
        else:
            place += 1
    return rule


def _simpler(clause: Clause) -> Iterator[Clause]:
    """The clause with one condition less, then with one word less in what stands before."""
    for place, condition in enumerate(clause.conditions):
        rest = (*clause.conditions[:place], *clause.conditions[place + 1 :])
        if rest:
            yield clause.model_copy(update={"conditions": rest})
        if not isinstance(condition, Near) or condition.is_current:
            continue
        values = condition.match.values
        for dropped in values if len(values) > 1 else ():
            match = condition.match.model_copy(
                update={"values": tuple(value for value in values if value != dropped)}
            )
            fewer = condition.model_copy(update={"match": match})
            conditions = (*clause.conditions[:place], fewer, *clause.conditions[place + 1 :])
            yield clause.model_copy(update={"conditions": conditions})
