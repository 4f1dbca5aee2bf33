"""What people write themselves: hypotheses and explanations, with what they left open filled in."""

from __future__ import annotations

from collections.abc import Sequence

from ...agents.groups import coverage
from ...agents.loop import Proposal
from ...agents.notebook import Notebook
from ...agents.records import Explanation, Hypothesis, short
from ...agents.rules.language import Rule
from ...agents.rules.render import describe, labels
from ...sae.errors import SessionError
from .rule_text import as_rule


def own_proposal(
    text: str,
    rule: Rule | dict | str | None,
    who: str,
    notebook: Notebook,
    parent: int | None = None,
) -> Proposal:
    """A hypothesis in words, as a rule, or both. Raises SessionError where there is neither."""
    parsed = as_rule(rule, notebook.stats.typical_max)
    if not text and parsed is None:
        raise SessionError("A hypothesis needs words or a rule.")
    return Proposal(who, text or describe(parsed or Rule()), parsed, parent)


def own_explanation(
    notebook: Notebook,
    hypothesis: Hypothesis | None,
    description: str,
    names: Sequence[str],
    rule: Rule | dict | str | None,
) -> Explanation:
    """What a person accepts: their own words and rule, else those of a hypothesis.

    Raises SessionError where there is nothing of either.
    """
    own = parsed = as_rule(rule, notebook.stats.typical_max)
    if hypothesis is not None:
        description, parsed = description or hypothesis.text, parsed or hypothesis.rule
    if not description and parsed is None and not names:
        raise SessionError("An explanation needs words or a rule.")
    description = description or (describe(parsed) if parsed else "; ".join(names))
    return Explanation(
        labels=tuple(names) or (labels(parsed) if parsed else (short(description, 60),)),
        description=description,
        rule=parsed,
        coverage=None if parsed is None else coverage(parsed, notebook),
        hypothesis=hypothesis.id if hypothesis is not None and own is None else None,
    )
