"""The rule language: what an executable explanation may say about a token and what surrounds it.

A rule is a list of clauses. A clause is a conjunction of conditions with a level, the activation it
expects as a share of the feature's typical maximum. A rule predicts for each token the highest
level of the clauses that hold there, and 0 where none does.

    fires strongly (.9) on the words “bank”, “banks” with “river” among the 8 tokens before
    fires weakly (.3) on tokens of digits, unless the text begins within 3 tokens
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: A set larger than this is a table, not an explanation.
MAX_VALUES = 16
#: Explanations with more conditions are not read by anyone.
MAX_CONDITIONS = 12

#: Named character classes: what the token without surrounding white space must match whole.
SHAPES: dict[str, str] = {
    "digits": r"\d+",
    "capitalised": r"[A-Z][a-z]+",
    "capital letter": r"[A-Z]",
    "all capitals": r"[A-Z]{2,}",
    "lower case": r"[a-z]+",
    "punctuation": r"[^\w\s]+",
    "sentence end": r"[^\w\s]*[.!?][^\w\s]*",
    "quotation mark": r"[\"'“”‘’`]+",
    "bracket": r"[()\[\]{}]+",
    "dash": r"[-–—]+",
    "number with digits": r"[\d.,:/%]*\d[\d.,:/%]*(st|nd|rd|th|s|k|m)?",
    "white space": r"",
    "not English letters": r".*[^\x00-\x7f].*",
    "anything": r"(?s).*",
}


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Match(_Node):
    """A property of one token.

    values, examples: the second only illustrate the first (words that begin with a stem, say); they
    do not count in matching.

    kind "token": the token's string is one of `values` (case and leading space count).
    kind "word": the word up to and with this token is one of `values` (case does not count).
    kind "stem" / "suffix": that word begins / ends with one of `values` (case does not count).
    kind "shape": the token has one of the shapes in SHAPES named by `values`.
    kind "regex": the token, without surrounding white space, matches one of `values` whole.
    """

    kind: Literal["token", "word", "stem", "suffix", "shape", "regex"]
    values: tuple[str, ...] = Field(min_length=1)
    examples: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Match:
        if self.kind == "shape" and (unknown := set(self.values) - set(SHAPES)):
            raise ValueError(f"no such shape: {', '.join(sorted(unknown))}")
        if self.kind == "regex":
            for pattern in self.values:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(f"bad regular expression {pattern!r}: {error}") from error
        return self

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(values))


class Near(_Node):
    """At least `at_least` tokens from offset `first` to `last` have the property.

    Offsets count from the current token (0); negative is before it; first None is the start of the
    text. (0, 0) is the current token itself; (-1, -1) the one before; (-8, -1) the eight before.
    negated: the condition holds where this does not.
    """

    type: Literal["near"] = "near"
    match: Match
    first: int | None = 0
    last: int = 0
    at_least: int = Field(default=1, ge=1)
    negated: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Near:
        if self.first is not None and self.first > self.last:
            raise ValueError(f"first offset {self.first} is behind the last {self.last}")
        return self

    @property
    def is_current(self) -> bool:
        """Whether it speaks of the current token alone."""
        return self.first == 0 and self.last == 0


class Position(_Node):
    """The token's place, counted from 0 in its text or in its sentence, is in [low, high]."""

    type: Literal["position"] = "position"
    of: Literal["text", "sentence"] = "text"
    low: int = Field(default=0, ge=0)
    high: int | None = None
    negated: bool = False


Condition = Annotated[Near | Position, Field(discriminator="type")]


class Clause(_Node):
    """All conditions hold; then the activation is about `level` × the typical maximum.

    label: what such tokens have in common, in words; "" where nobody has said.
    """

    conditions: tuple[Condition, ...] = Field(min_length=1)
    level: float = Field(ge=0)
    label: str = ""


class Rule(_Node):
    """An executable explanation. unit: the typical maximum, in the SAE's own units."""

    clauses: tuple[Clause, ...] = ()
    unit: float = Field(default=1.0, ge=0)

    @property
    def n_conditions(self) -> int:
        """How many conditions its clauses hold together."""
        return sum(len(clause.conditions) for clause in self.clauses)

    @property
    def n_values(self) -> int:
        """How many words, stems, shapes … its conditions name together."""
        conditions = [condition for clause in self.clauses for condition in clause.conditions]
        return sum(len(near.match.values) for near in conditions if isinstance(near, Near))


def current(kind: str, *values: str) -> Near:
    """The condition that the current token has a property."""
    return Near(match=Match(kind=kind, values=values))  # pyright: ignore[reportArgumentType]
