"""A rule as a table that can be read: each clause with examples that match and that are blocked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...sae.evidence import SplitEvidence
from ...sae.inside.attention import HeadInputs
from ...sae.visible import visible
from ..records import Context, RuleCase
from ..rules.language import Clause, Near, Rule
from ..rules.match import Matcher
from ..rules.render import describe_clause
from ..rules.sample import matcher_of
from .skip_grams import Chosen, keys_of, queries_of

#: Clauses in the table, examples on each side, tokens before and after the place.
ROWS, EXAMPLES, BEFORE, AFTER = 12, 2, 24, 4


def cases_of(
    rule: Rule, split: SplitEvidence, feature: int, chosen: Chosen, inputs: HeadInputs
) -> tuple[RuleCase, ...]:
    """The clauses that hold on most of the activation first, at most ROWS; those of one label as one."""
    values, floor = split.activations(feature), max(split.stats(feature).fires_at, 1e-12)
    matcher = matcher_of(split)
    lines: dict[str, list[Clause]] = {}
    for clause in rule.clauses:
        lines.setdefault(text_of(clause), []).append(clause)
    masks = {text: _any(matcher, clauses) for text, clauses in lines.items()}
    found = []
    for text in sorted(lines, key=lambda one: -float(values[masks[one]].sum()))[:ROWS]:
        clauses, hits = lines[text], np.flatnonzero(masks[text])
        strong = hits[np.argsort(-values[hits], kind="stable")]
        blocked = (
            _outnumbered(clauses[0], masks[text], split, values, floor)
            if kind_of(clauses[0]) == "counting"
            else _blocked(clauses[0], split, values, floor)
        )
        level = max(clause.level for clause in clauses)
        found.append(
            RuleCase(
                kind=kind_of(clauses[0]),
                text=text,
                figures={"level": level, **_figures(clauses[0], chosen, inputs)},
                tokens=len(hits),
                fired=int(np.count_nonzero(values[hits] >= floor)),
                matches=tuple(_context(split, values, at) for at in _spread(split, strong)),
                blocked=blocked,
            )
        )
    return tuple(found)


def text_of(clause: Clause) -> str:
    """A clause in words."""
    return clause.label or describe_clause(clause)


def _any(matcher: Matcher, clauses: Sequence[Clause]) -> np.ndarray:
    found = matcher.clause(clauses[0])
    for clause in clauses[1:]:
        found = found | matcher.clause(clause)
    return found


def kind_of(clause: Clause) -> str:
    """What sort of rule a clause is."""
    nears = [c for c in clause.conditions if isinstance(c, Near)]
    if not any(near.is_current for near in nears):
        return "counting"
    if any(near.negated for near in nears):
        return "absence"
    return "skip-gram" if keys_of(clause) else "itself"


def _figures(clause: Clause, chosen: Chosen, inputs: HeadInputs) -> dict[str, float]:
    """S, share of attention and offset of the clause's strongest pair."""
    keys, queries = keys_of(clause), queries_of(clause)
    for pair in chosen.pairs:  # the best first
        query = None if pair.query is None else inputs.tokens[pair.query]
        is_here = (
            inputs.tokens[pair.key] in keys and query in queries
            if keys
            else pair.query is None and inputs.tokens[pair.key] in queries
        )
        if is_here:
            offset = {"offset": float(pair.offset)} if pair.offset else {}
            return {"S": pair.value, "attention": pair.share, **offset}
    return {}


def _blocked(
    clause: Clause, split: SplitEvidence, values: np.ndarray, floor: float
) -> tuple[Context, ...]:
    """Silent contexts in which all conditions but one hold, that one being what is missing.

    Conditions are taken from the last: the distractor before the key before the query.
    """
    matcher, found = matcher_of(split), []
    for missing in reversed(clause.conditions):
        if isinstance(missing, Near) and missing.is_current:
            continue
        others = [one for one in clause.conditions if one is not missing]
        mask = ~matcher.condition(missing) & (values < floor)
        for one in others:
            mask &= matcher.condition(one)
        why = _why(missing)
        rows = np.random.default_rng(0).permutation(np.flatnonzero(mask))
        found += [_context(split, values, at, why) for at in _spread(split, rows)]
    return tuple(found[:EXAMPLES])


def _outnumbered(
    clause: Clause, holds: np.ndarray, split: SplitEvidence, values: np.ndarray, floor: float
) -> tuple[Context, ...]:
    """Silent contexts that have some of what counts for the feature, but not enough more."""
    plus, minus = [one for one in clause.conditions if isinstance(one, Near)]
    some = Near(match=plus.match, first=None, last=0)
    places = np.flatnonzero(matcher_of(split).condition(some) & ~holds & (values < floor))
    found = []
    for at in _spread(split, np.random.default_rng(0).permutation(places)):
        start = int(split.tokens.starts[split.tokens.window_of[at]])
        row = [split.tokens.vocab[i] for i in split.tokens.ids[start : at + 1]]
        counts = [sum(token in one.match.values for token in row) for one in (plus, minus)]
        why = f"{counts[0]} for it and {counts[1]} against it so far"
        found.append(_context(split, values, at, why))
    return tuple(found)


def _why(missing: object) -> str:
    if not isinstance(missing, Near):
        return "elsewhere in the text"
    names = ", ".join(f"“{visible(value.strip() or value)}”" for value in missing.match.values[:3])
    more = " …" if len(missing.match.values) > 3 else ""
    if missing.negated:
        return f"{names}{more} stands before"
    where = "anywhere before" if missing.first is None else f"in the {-missing.first} before"
    return f"no {names}{more} {where if missing.first != -1 else 'just before'}"


def _spread(split: SplitEvidence, places: Sequence[int] | np.ndarray) -> list[int]:
    """The first of each window, in order, as far as a table wants them."""
    found: dict[int, int] = {}
    for place in places:
        found.setdefault(int(split.tokens.window_of[place]), int(place))
        if len(found) == EXAMPLES:
            break
    return list(found.values())


def _context(split: SplitEvidence, values: np.ndarray, at: int, why: str = "") -> Context:
    tokens = split.tokens
    window = int(tokens.window_of[at])
    start, end = int(tokens.starts[window]), int(tokens.starts[window + 1])
    first, last = max(start, at - BEFORE), min(end, at + AFTER + 1)
    return Context(
        tokens=tuple(tokens.vocab[i] for i in tokens.ids[first:last]),
        activations=tuple(values[first:last].tolist()),
        at=at - first,
        why=why,
    )
