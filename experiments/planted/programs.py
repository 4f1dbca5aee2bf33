"""Programs: the planted meaning of a feature, as small functions of a text that compose.

    Program((Case((Words(("bank",)), Before(Words(("river",)), -4)), level=1.0),))

is 1 on "bank" with "river" among the four tokens before it. A program runs on a `Reading` (many
texts at once), knows no rule miner and no rule language, and can be translated into a `Rule`, the
reference that an explanation could at best be.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ...agents.rules.language import Clause, Condition, Match, Near, Position, Rule
from ...sae.tokens import TokenTable

#: A word, an address, a date, a call or a number is one token; so is each mark. The white space
#: before a token is part of it.
_TOKEN = re.compile(
    r"\s*(?:https?://[\w./-]*\w|[\w.]+@\w+\.\w+|#\w+|\w+\(\)|\w+\.(?:txt|py|csv)\b"
    r"|\d+(?:[-/:.,]\d+)+|\w+(?:['’-]\w+)*|[^\w\s])|\s+$"
)
_SENTENCE_ENDS = frozenset(".!?")


def tokenize(text: str) -> tuple[str, ...]:
    """The tokens of a text; they concatenate to it."""
    return tuple(_TOKEN.findall(text))


class Reading:
    """Texts as programs see them. table: their tokens, one window a text."""

    def __init__(self, table: TokenTable):
        self.table = table
        self.n = len(table)
        self.plain = [token.strip() for token in table.vocab]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Reading:
        """The reading of texts not yet tokenised."""
        return cls(TokenTable.of([tokenize(text) for text in texts]))

    @cached_property
    def in_sentence(self) -> np.ndarray:
        """int64 [n]: each token's place in its sentence, from 0."""
        ends = np.array([token in _SENTENCE_ENDS for token in self.plain], bool)[self.table.ids]
        begins = np.zeros(self.n, bool)
        begins[1:] = ends[:-1]
        begins[self.table.starts[:-1][np.diff(self.table.starts) > 0]] = True
        place = np.arange(self.n)
        return place - np.maximum.accumulate(np.where(begins, place, 0))

    def where(self, holds: list[bool]) -> np.ndarray:
        """bool [n]: the tokens whose string is marked; `holds` is as long as the vocabulary."""
        return np.array(holds, bool)[self.table.ids]


@dataclass(frozen=True)
class Words:
    """The token is one of the words; case counts only if `cased`."""

    values: tuple[str, ...]
    cased: bool = False

    def holds(self, reading: Reading) -> np.ndarray:
        """bool [n]."""
        wanted = {value if self.cased else value.casefold() for value in self.values}
        seen = reading.plain if self.cased else [token.casefold() for token in reading.plain]
        return reading.where([token in wanted for token in seen])

    @property
    def match(self) -> Match:
        """The same in the rule language."""
        if not self.cased and all(value.isalnum() for value in self.values):
            return Match(kind="word", values=self.values)
        flag = "" if self.cased else "(?i)"
        return Match(kind="regex", values=tuple(flag + re.escape(v) for v in self.values))


@dataclass(frozen=True)
class Form:
    """The whole token has a form, given as a regular expression."""

    pattern: str

    def holds(self, reading: Reading) -> np.ndarray:
        """bool [n]."""
        pattern = re.compile(self.pattern)
        return reading.where([bool(pattern.fullmatch(token)) for token in reading.plain])

    @property
    def match(self) -> Match:
        """The same in the rule language."""
        return Match(kind="regex", values=(self.pattern,))


Property = Words | Form


@dataclass(frozen=True)
class Before:
    """At least `times` of the tokens from offset `first` to `last` have a property.

    Offsets are negative: -1 is the token before. first None: the start of the text.
    """

    what: Property
    first: int | None
    last: int = -1
    times: int = 1

    def holds(self, reading: Reading) -> np.ndarray:
        """bool [n]."""
        total = np.concatenate([[0], np.cumsum(self.what.holds(reading))])
        place = np.arange(reading.n)
        begin = reading.table.starts[reading.table.window_of]
        low = begin if self.first is None else np.maximum(begin, place + self.first)
        high = np.maximum(low, place + self.last + 1)
        return total[high] - total[low] >= self.times


@dataclass(frozen=True)
class Place:
    """The token's place in its text or sentence, from 0, is from `low` to `high`."""

    of: Literal["text", "sentence"]
    low: int = 0
    high: int | None = None

    def holds(self, reading: Reading) -> np.ndarray:
        """bool [n]."""
        place = reading.table.position if self.of == "text" else reading.in_sentence
        return (place >= self.low) & (place <= (np.inf if self.high is None else self.high))


@dataclass(frozen=True)
class Not:
    """What must not hold."""

    what: Words | Form | Before

    def holds(self, reading: Reading) -> np.ndarray:
        """bool [n]."""
        return ~self.what.holds(reading)


Test = Words | Form | Before | Place | Not


@dataclass(frozen=True)
class Case:
    """Where all tests hold, the activation is `level`."""

    tests: tuple[Test, ...]
    level: float = 1.0

    def holds(self, reading: Reading) -> np.ndarray:
        """bool [n]."""
        return np.logical_and.reduce([test.holds(reading) for test in self.tests])


@dataclass(frozen=True)
class Program:
    """The highest level of the cases that hold on a token; none at all is a dead feature."""

    cases: tuple[Case, ...]

    def run(self, reading: Reading) -> np.ndarray:
        """float32 [n]: the activation on each token, highest 1."""
        found = np.zeros(reading.n, np.float32)
        for case in self.cases:
            np.maximum(found, case.level, out=found, where=case.holds(reading))
        return found

    def rule(self, unit: float = 1.0) -> Rule | None:
        """The reference: the same in the rule language. unit: the activation of level 1."""
        clauses = [
            Clause(conditions=tuple(_condition(test) for test in case.tests), level=case.level)
            for case in self.cases
        ]
        return Rule(clauses=tuple(clauses), unit=unit)


@dataclass(frozen=True)
class Chance:
    """Fires on a random share of tokens, whatever they are: nothing about the text foretells it.

    Deterministic: a token's place and the text before and around it decide, through a hash.
    """

    share: float
    seed: int

    def run(self, reading: Reading) -> np.ndarray:
        """float32 [n]: 0, or a height between .3 and 1."""
        found = np.zeros(reading.n, np.float32)
        starts = reading.table.starts
        for window, draw in enumerate(windows_draws(reading.table, self.seed)):
            start, end = starts[window : window + 2]
            fires = draw.random(end - start) < self.share
            found[start:end] = np.where(fires, 0.3 + 0.7 * draw.random(end - start), 0.0)
        return found

    def rule(self, unit: float = 1.0) -> Rule | None:
        """None: there is nothing to say."""
        return None


def windows_draws(table: TokenTable, seed: int) -> list[np.random.Generator]:
    """A generator of random numbers for each text, decided by its tokens and `seed`."""
    codes = np.array([zlib.crc32(token.encode()) for token in table.vocab], np.uint32)
    spans = zip(table.starts[:-1], table.starts[1:], strict=True)
    return [
        np.random.default_rng([seed, zlib.crc32(codes[table.ids[start:end]].tobytes())])
        for start, end in spans
    ]


def _condition(test: Test) -> Condition:
    if isinstance(test, Place):
        return Position(of=test.of, low=test.low, high=test.high)
    if isinstance(test, Not):
        near = _condition(test.what)
        assert isinstance(near, Near)
        return near.model_copy(update={"negated": True})
    if isinstance(test, Before):
        return Near(match=test.what.match, first=test.first, last=test.last, at_least=test.times)
    return Near(match=test.match)
