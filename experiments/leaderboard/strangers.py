"""Strangers' rules: what a submission's rule must be, so that it can be run and is an explanation.

A rule is refused that has no number to compare, that is a table of words in the form of a rule (the
bounds are the rule miner's own), or whose regular expressions may take for ever.
"""

from __future__ import annotations

from ...agents.rules.language import MAX_CONDITIONS, MAX_VALUES, Near, Position, Rule
from ...agents.rules.regex_bounds import check_regex
from ...sae.errors import RuleError

#: Offsets, places and counts of tokens; no context is longer.
FARTHEST = 100_000
#: Bounds of the unit, in which squares of activations still are numbers; of a level, in units.
SMALLEST_UNIT, LARGEST_UNIT, LARGEST_LEVEL = 1e-12, 1e12, 1e3


def check_rule(rule: Rule | None) -> None:
    """Raise RuleError, with what to change, for a rule that no stranger may hand in."""
    if rule is None:
        return
    if not SMALLEST_UNIT <= rule.unit <= LARGEST_UNIT:
        raise RuleError(
            f"The rule's unit {rule.unit:g} is no typical maximum: leave it out, and the feature's "
            f"own is taken."
        )
    if rule.n_conditions > MAX_CONDITIONS:
        raise RuleError(
            f"The rule has {rule.n_conditions} conditions, and at most {MAX_CONDITIONS} are an "
            f"explanation: keep those that tell most."
        )
    for clause in rule.clauses:
        if not clause.level <= LARGEST_LEVEL:
            raise RuleError(
                f"The level {clause.level:g} is no share of a typical maximum: write one from 0 to 1."
            )
        for condition in clause.conditions:
            _check_condition(condition)


def _check_condition(condition: Near | Position) -> None:
    if isinstance(condition, Near):
        numbers = (condition.first, condition.last, condition.at_least)
        values = len(condition.match.values)
        if values > MAX_VALUES:
            raise RuleError(
                f"A condition names {values} words or forms, and at most {MAX_VALUES} are an "
                f"explanation: more are a table."
            )
        if condition.match.kind == "regex":
            for pattern in condition.match.values:
                check_regex(pattern)
    else:
        numbers = (condition.low, condition.high)
    for number in numbers:
        if number is not None and abs(number) > FARTHEST:
            raise RuleError(f"An offset or place beyond {FARTHEST:,} tokens is in no context.")
