"""Spelling out mined rules: words as they are mostly written, whole stems, examples, no repeats."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .fitting import loss, refit
from .forms import form
from .language import MAX_CONDITIONS, Clause, Match, Near
from .sample import Sample

#: How many examples illustrate a stem, an ending or a shape.
EXAMPLES = 6


def spelled(clause: Clause, sample: Sample) -> Clause:
    """The clause with words as they are mostly spelled, and with examples where values are parts.

    A stem is lengthened to what nearly all words that fire with it share.
    """
    places, weight = sample.focus
    counts = sample.clause(clause)[places] & (places < sample.n_corpus)
    inside = np.where(counts, weight * sample.target[places], 0.0)
    conditions = []
    for condition in clause.conditions:
        if isinstance(condition, Near):
            match = _spelled_match(condition.match, sample, inside, condition.is_current)
            condition = condition.model_copy(update={"match": match})
        conditions.append(condition)
    return clause.model_copy(update={"conditions": tuple(conditions)})


def without_repeats(clauses: Sequence[Clause]) -> list[Clause]:
    """Clauses, highest level first, without values that a higher clause of one condition names."""
    named: set[tuple[str, str]] = set()
    kept = []
    for clause in clauses:
        near = clause.conditions[0]
        if len(clause.conditions) == 1 and isinstance(near, Near) and near.is_current:
            kind = near.match.kind
            new = tuple(value for value in near.match.values if (kind, value) not in named)
            named.update((kind, value) for value in new)
            if not new:
                continue
            match = near.match.model_copy(update={"values": new})
            clause = clause.model_copy(
                update={"conditions": (near.model_copy(update={"match": match}),)}
            )
        kept.append(clause)
    return kept


def words_apart(clauses: Sequence[Clause], sample: Sample) -> list[Clause]:
    """Clauses with words and marks in one set of tokens parted, where that loses nothing.

    Apart, the words may be named as words and the marks by their form, which leave case and the
    space before them open.
    """
    kept = list(clauses)
    for clause in clauses:
        parts = _parts(clause)
        if parts and sum(map(len, (c.conditions for c in (*kept, *parts)))) <= MAX_CONDITIONS:
            place = kept.index(clause)
            apart = refit(sample, [*kept[:place], *parts, *kept[place + 1 :]])
            if loss(sample, apart) <= loss(sample, kept):
                kept = apart
    return kept


def _parts(clause: Clause) -> list[Clause]:
    """The clause for its words alone and for its marks alone; none where it has not both."""
    for place, near in enumerate(clause.conditions):
        if isinstance(near, Near) and near.is_current and near.match.kind == "token":
            plain = [value.strip() for value in near.match.values]
            words = tuple(dict.fromkeys(v.casefold() for v in plain if v.isalnum()))
            marks = tuple(form(value, exact=False) for value in plain if not value.isalnum())
            if not words or not marks or not all(marks):
                return []
            matches = Match(kind="word", values=words), Match(kind="regex", values=marks)
            before, after = clause.conditions[:place], clause.conditions[place + 1 :]
            return [
                clause.model_copy(update={"conditions": (*before, Near(match=m), *after)})
                for m in matches
            ]
    return []


def _spelled_match(match: Match, sample: Sample, inside: np.ndarray, is_current: bool) -> Match:
    """`inside`: float [focus], the weighted activation that the clause accounts for."""
    if match.kind == "word":
        return match.model_copy(update={"values": tuple(map(sample.spelling, match.values))})
    if match.kind == "token" or not is_current:
        return match
    by_token = match.kind in ("shape", "regex")
    view = sample.tokens if by_token else sample.words
    mass = np.bincount(view.ids[sample.focus[0]], weights=inside, minlength=len(view.names))
    best = [n for n in np.argsort(-mass, kind="stable")[:EXAMPLES] if mass[n] > 0]
    names = [view.names[n] for n in best if view.names[n].strip()]
    examples = names if by_token else [sample.spelling(name) for name in names]
    update: dict[str, object] = {"examples": tuple(dict.fromkeys(examples))}
    if match.kind == "stem":
        names = [view.names[n] for n in np.flatnonzero(mass > 0.02 * mass.sum())]
        update["values"] = tuple(_longest_stem(stem, names) for stem in match.values)
    return match.model_copy(update=update)


def _longest_stem(stem: str, words: Sequence[str]) -> str:
    """`stem`, lengthened to what all of `words` that begin with it share."""
    family = [word for word in words if word.startswith(stem)] or [stem]
    first, last = min(family), max(family)  # what these share, all between them share
    same = (a == b for a, b in zip(first, last, strict=False))
    return first[: sum(itertools.takewhile(bool, same))]
