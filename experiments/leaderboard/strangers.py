"""Strangers' rules: what a submission's rule must be, so that it can be run and is an explanation.

A rule is refused that has no number to compare, that is a table of words in the form of a rule (the
bounds are the rule miner's own), or whose regular expressions may take for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from re import _parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from ...agents.rules.language import MAX_CONDITIONS, MAX_VALUES, Near, Position, Rule
from ...sae.errors import RuleError

#: A longer regular expression is no explanation.
LONGEST_REGEX = 200
#: Ways to match a text of LONGEST_TEXT characters that are tried in the worst case.
MOST_WAYS, LONGEST_TEXT = 10_000, 20
#: Offsets, places and counts of tokens; no context is longer.
FARTHEST = 100_000
#: Bounds of the unit, in which squares of activations still are numbers; of a level, in units.
SMALLEST_UNIT, LARGEST_UNIT, LARGEST_LEVEL = 1e-12, 1e12, 1e3

_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


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
                _check_regex(pattern)
    else:
        numbers = (condition.low, condition.high)
    for number in numbers:
        if number is not None and abs(number) > FARTHEST:
            raise RuleError(f"An offset or place beyond {FARTHEST:,} tokens is in no context.")


def _check_regex(pattern: str) -> None:
    what = None
    if len(pattern) > LONGEST_REGEX:
        what = f"is longer than {LONGEST_REGEX} characters"
    elif _nested(_parser.parse(pattern), inside=False):
        what = "repeats what repeats"
    elif _ways(_parser.parse(pattern)) > MOST_WAYS:
        what = "can match in too many ways"
    if what:
        raise RuleError(f"The regular expression {pattern[:40]!r} {what}: write a simpler one.")


def _nested(parts: Any, inside: bool) -> bool:
    """Whether a parsed pattern repeats a part that repeats or branches."""
    for operator, argument in parts:
        repeats = str(operator) in _REPEATS
        if inside and (repeats or str(operator) in ("BRANCH", "GROUPREF")):
            return True
        below = inside or (repeats and argument[1] > 1)
        if any(_nested(part, below) for part in _within(argument)):
            return True
    return False


def _ways(parts: Any) -> float:
    """How many ways of matching LONGEST_TEXT characters there are to try, at most.

    Parts one after another multiply, alternatives add up, and a repetition has one way for each
    number of times: `a*a*a*b` tries 21³.
    """
    ways = 1.0
    for operator, argument in parts:
        inner = [_ways(part) for part in _within(argument)]
        if str(operator) == "BRANCH":
            ways *= sum(inner)
            continue
        if str(operator) in _REPEATS:
            low, high = (min(int(bound), LONGEST_TEXT) for bound in argument[:2])
            ways *= high - low + 1
        ways *= math.prod(inner)
    return ways


def _within(argument: Any) -> Iterator[Any]:
    """The patterns inside one part's argument."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, tuple | list):
        for one in argument:
            yield from _within(one)
