"""Bounds of regular expressions that people, agents and submissions write.

Python's `re` tries every way to match, and some patterns have exponentially many (`(a+)+b`): one such
rule would stop whoever runs it. Patterns of the rule miner and of planted programs are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from re import _parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from ...sae.errors import RuleError

#: A longer regular expression is no explanation.
LONGEST_REGEX = 200
#: Ways to match a token of LONGEST_TEXT characters that are tried in the worst case.
MOST_WAYS, LONGEST_TEXT = 100_000, 20

_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def check_regex(pattern: str) -> None:
    """Raise RuleError, with what to change, for a pattern that nobody may hand in.

    It is longer than LONGEST_REGEX, or may take for ever. A valid pattern is expected.
    """
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
