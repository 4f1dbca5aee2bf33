"""Rules in words: labels and a description a person can check."""

from __future__ import annotations

from ...sae.visible import visible
from .language import MAX_VALUES, Clause, Condition, Match, Near, Position, Rule

#: Lowest level that still counts as each strength.
STRENGTHS = ((0.6, "strongly"), (0.3, "moderately"), (0.0, "weakly"))
SHOWN = 6


def strength(level: float) -> str:
    """A level as an adverb."""
    return next(name for lowest, name in STRENGTHS if level >= lowest)


def describe(rule: Rule) -> str:
    """The rule as sentences, the strongest clause first."""
    if not rule.clauses:
        return "No rule found: no property of the text's surface predicts when this feature fires."
    lines = [
        f"Fires {strength(clause.level)} ({clause.level:.2f} of its typical maximum) "
        f"on {describe_clause(clause)}."
        for clause in rule.clauses
    ]
    return " ".join(lines)


def describe_clause(clause: Clause) -> str:
    """A clause as a phrase that follows "on"."""
    current = [c for c in clause.conditions if isinstance(c, Near) and c.is_current]
    others = [c for c in clause.conditions if not (isinstance(c, Near) and c.is_current)]
    subject = " that is also ".join(_current(near) for near in current) or "any token"
    return ", ".join([subject, *(_surrounding(condition) for condition in others)])


def label(clause: Clause) -> str:
    """A short name for what a clause responds to."""
    if clause.label:
        return clause.label
    current = [c.match for c in clause.conditions if isinstance(c, Near) and c.is_current]
    context = [
        c for c in clause.conditions if isinstance(c, Near) and not c.is_current and not c.negated
    ]
    name = _values(current[0], 3) if current else "any token"
    return f"{name} after {_values(context[0].match, 2)}" if context else name


def labels(rule: Rule, most: int = 3) -> tuple[str, ...]:
    """Names of the clauses with the highest levels."""
    return tuple(dict.fromkeys(label(clause) for clause in rule.clauses))[:most]


def _current(near: Near) -> str:
    phrase = _property(near.match)
    return f"a token other than {phrase}" if near.negated else phrase


def _property(match: Match) -> str:
    values = _values(match)
    if match.kind == "token":
        return f"the token {values}" if len(match.values) == 1 else f"the tokens {values}"
    if match.kind == "word":
        return f"the word {values}" if len(match.values) == 1 else f"the words {values}"
    if match.kind == "shape":
        return f"tokens of {values}{_examples(match)}"
    kinds = {"stem": "words that begin with", "suffix": "words that end in"}
    return f"{kinds.get(match.kind, 'tokens that match')} {values}{_examples(match)}"


def _values(match: Match, most: int = MAX_VALUES) -> str:
    plain = match.kind == "shape"
    shown = [value if plain else f"“{visible(value)}”" for value in match.values[:most]]
    more = len(match.values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _examples(match: Match) -> str:
    shown = ", ".join(f"“{visible(example.strip())}”" for example in match.examples[:SHOWN])
    return f" ({shown})" if shown else ""


def _surrounding(condition: Condition) -> str:
    if isinstance(condition, Position):
        return _place(condition)
    times = f" at least {condition.at_least} times" if condition.at_least > 1 else ""
    lead = "without" if condition.negated else "with"
    return f"{lead} {_property(condition.match)}{times} {_where(condition.first, condition.last)}"


def _where(first: int | None, last: int) -> str:
    if first is None:
        return "earlier in the text" if last < 0 else "in the text so far"
    if first == last:
        return "just before" if last == -1 else f"{-last} tokens before"
    if last <= -1:
        return f"among the {-first} tokens before" if last == -1 else f"{-last} to {-first} before"
    return f"between {first} and {last} tokens from it"


def _place(position: Position) -> str:
    what = f"of the {position.of}"
    if position.high is None:
        phrase = f"from token {position.low + 1} {what} on"
    elif position.high == position.low:
        phrase = f"as token {position.low + 1} {what}"
    else:
        phrase = f"within tokens {position.low + 1} to {position.high + 1} {what}"
    return f"not {phrase}" if position.negated else phrase
