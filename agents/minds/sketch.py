"""Sketches: the executable part of a hypothesis, in the few forms that a language model writes well.

A sketch is a list of groups of tokens that fire alike. Code turns it into a rule (`agents.rules`),
runs that over all of the `explain` split, and measures the level of each group there: what the model
said of levels only orders them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..rules.language import MAX_CONDITIONS, MAX_VALUES, SHAPES, Clause, Match, Near, Position, Rule

LEVELS = {"strong": 0.8, "medium": 0.45, "weak": 0.25}
#: The farthest that a context may lie before the token, in tokens.
FARTHEST = 32

Shape = Literal[
    "digits",
    "capitalised",
    "capital letter",
    "all capitals",
    "lower case",
    "punctuation",
    "sentence end",
    "quotation mark",
    "bracket",
    "dash",
    "number with digits",
    "white space",
    "not English letters",
    "anything",
]
assert set(Shape.__args__) == set(SHAPES)


class Form(BaseModel):
    """Base of what a language model fills in. What it adds of its own is left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore")


#: Words that say something: white space alone is none.
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Group(Form):
    """Tokens that fire alike: any of the named ones, where all that is said of the context holds."""

    label: str = Field(description="what these have in common, in at most six words")
    level: Literal["strong", "medium", "weak"] = "strong"
    words: tuple[str, ...] = Field(default=(), description="whole words; case does not count")
    stems: tuple[str, ...] = Field(default=(), description="beginnings of words")
    endings: tuple[str, ...] = Field(default=(), description="ends of words")
    tokens: tuple[str, ...] = Field(
        default=(), description="exact tokens; case and a leading space count"
    )
    shapes: tuple[Shape, ...] = Field(default=(), description="classes of characters")
    after: tuple[str, ...] = Field(
        default=(), description="only if one of these words comes before the token"
    )
    not_after: tuple[str, ...] = Field(
        default=(), description="not if one of these words comes before the token"
    )
    within: int = Field(default=8, description="how many tokens before it `after` looks at")
    place: Literal["anywhere", "start of text", "start of sentence"] = "anywhere"

    def clauses(self) -> Iterator[Clause]:
        """One clause for each way to name the token that the group uses; none if it says nothing."""
        context = tuple(self._context())
        named = {
            "word": self.words,
            "stem": self.stems,
            "suffix": self.endings,
            "token": self.tokens,
            "shape": self.shapes,
        }
        current = [
            Near(match=Match(kind=kind, values=part))  # pyright: ignore[reportArgumentType]
            for kind, values in named.items()
            for part in _parts(values, exact=kind == "token")
        ]
        for conditions in ((near, *context) for near in current):
            yield self._clause(*conditions)
        if context and not current:
            yield self._clause(*context)

    def _clause(self, *conditions: Near | Position) -> Clause:
        return Clause(conditions=conditions, level=LEVELS[self.level], label=self.label)

    def _context(self) -> Iterator[Near | Position]:
        first = -max(1, min(FARTHEST, self.within))
        for values, negated in ((self.after, False), (self.not_after, True)):
            for part in _parts(values)[:1]:
                match = Match(kind="word", values=part)
                yield Near(match=match, first=first, last=-1, negated=negated)
        if self.place != "anywhere":
            of = "text" if self.place == "start of text" else "sentence"
            yield Position(of=of, high=1)


def _parts(values: Sequence[str], exact: bool = False) -> list[tuple[str, ...]]:
    """Values without empty and double ones, in sets that are small enough for a condition."""
    cleaned = [value if exact else value.strip() for value in values]
    kept = list(dict.fromkeys(value for value in cleaned if value.strip()))
    return [tuple(kept[at : at + MAX_VALUES]) for at in range(0, len(kept), MAX_VALUES)]


def rule_of(groups: Sequence[Group], unit: float) -> Rule | None:
    """The rule of a sketch; None where it says nothing executable.

    unit: the feature's typical maximum. Clauses beyond MAX_CONDITIONS conditions are left out, those
    of later groups first.
    """
    clauses: list[Clause] = []
    room = MAX_CONDITIONS
    for clause in (clause for group in groups for clause in group.clauses()):
        if len(clause.conditions) <= room:
            room -= len(clause.conditions)
            clauses.append(clause)
    return Rule(clauses=tuple(clauses), unit=unit) if clauses else None
