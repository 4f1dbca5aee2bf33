"""Planted mixtures: features that fire on several things that have nothing in common."""

from __future__ import annotations

from dataclasses import replace

from . import words
from .concepts import closed_set, word
from .formats import written
from .plans import Draw, Plan, snippets
from .programs import Case, Program, Words
from .structures import context, phrase

#: What each mixture is made of; they take turns.
MIXTURES = (
    (word, word),
    (word, closed_set),
    (word, word, word),
    (closed_set, written),
    (phrase, word),
    (written, word),
    (phrase, closed_set),
    (context, word),
)
#: How often the corpus has the word of a rare second meaning.
RARE = 8


def disjunction(draw: Draw, turn: int) -> Plan:
    """Two or three unrelated meanings; each alone is half of the truth or less."""
    parts = [make(draw, draw.random.randrange(100)) for make in MIXTURES[turn % len(MIXTURES)]]
    cases: list[Case] = []
    for part in parts:
        assert isinstance(part.program, Program)
        cases += part.program.cases
    return Plan(
        " or ".join(part.form for part in parts),
        "; or ".join(part.label for part in parts),
        Program(tuple(cases)),
        tuple(
            replace(one, kind=f"{one.kind} ({n})")
            for n, part in enumerate(parts, 1) for one in part.corpus
        ),
        tuple(
            replace(one, kind=f"{one.kind} ({n})")
            for n, part in enumerate(parts, 1) for one in part.contrast
        ),
        reserved=tuple(one for part in parts for one in part.reserved),
    )  # fmt: skip


def with_second_meaning(plan: Plan, draw: Draw) -> Plan:
    """The plan with a rare word on which it fires too; a plan without cases stays what it is."""
    if not isinstance(plan.program, Program) or not plan.program.cases:
        return plan
    rare = draw.one(words.NOUNS)
    own = tuple(snippets("second meaning", [rare], RARE))
    return replace(
        plan,
        label=f"{plan.label}; or, rarely, “{rare}”",
        program=Program((*plan.program.cases, Case((Words((rare,)),)))),
        corpus=(*plan.corpus, *own),
        contrast=(*plan.contrast, *own),
        reserved=(*plan.reserved, rare),
    )
