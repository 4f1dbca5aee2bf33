"""Controls: what an explanation must beat before its scores mean anything (DESIGN, rule 5).

- `random_explanation`: another feature's explanation. What it scores comes from what features have
  in common (frequent tokens, sentence shape), not from knowing this one.
- `token_lookup`: the table "token → its mean activation on the `explain` split". It is no
  explanation, having thousands of entries, but the reference for everything lexical.

Both go through the same scorers as the explanation itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...agents.records import Explanation
from ...agents.rules.language import MAX_VALUES, Clause, Rule, current
from ...agents.rules.match import Matcher
from ...sae.evidence import FIRES_AT
from ...sae.lookup import TokenLookup
from .bench import Target
from .simulator import Context, RuleSimulator, Simulator, shares, simulator_of, words_of

#: The controls by the name users see, in the order of every table.
CONTROL_NAMES = ("random_explanation", "token_lookup")


def controls(target: Target, other: Explanation | None) -> dict[str, Simulator]:
    """The controls of one feature. other: another feature's explanation; without it, no random one."""
    found: dict[str, Simulator] = {}
    if other is not None:
        found["random_explanation"] = random_explanation(target, other)
    if target.stats.typical_max:
        found["token_lookup"] = token_lookup(target)
    return found


def random_explanation(target: Target, other: Explanation) -> Simulator:
    """Another feature's explanation, in this feature's unit, so that only its shape counts."""
    if other.rule is None:
        return simulator_of(other, target.source.tokenize)
    rule = other.rule.model_copy(update={"unit": target.stats.typical_max})
    return RuleSimulator(rule, target.source.tokenize, words=words_of(other))


def token_lookup(target: Target) -> Simulator:
    """The token lookup table, fitted on the `explain` split."""
    return LookupSimulator(
        TokenLookup.fit(target.explain, target.feature),
        target.stats.typical_max,
        RuleSimulator(_as_rule(target), target.source.tokenize),
    )


@dataclass(frozen=True)
class LookupSimulator(Simulator):
    """Predicts from the whole table; its texts are made from its best tokens.

    unit: the typical maximum, in the SAE's units. texts: the simulator of a rule with one clause, that the token is one of the table's 16 best.
    """

    lookup: TokenLookup
    unit: float
    texts: RuleSimulator
    fires_from: float | None = FIRES_AT
    words: str = ""

    async def predict(self, text: Matcher) -> np.ndarray:
        """Each token's mean activation on `explain`. See Simulator."""
        return self.lookup.predict(text.table.vocab)[text.table.ids]

    async def simulate(self, contexts: Sequence[Context]) -> list[np.ndarray | None]:
        """Each token's mean activation on `explain`. See Simulator."""
        return [self._grades(context.shown) for context in contexts]

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        """The highest of those means. See Simulator."""
        return np.array([self._grades(context.shown).max(initial=0.0) for context in contexts])

    async def grade_marked(self, contexts: Sequence[Context]) -> np.ndarray:
        """The mean of those of the marked tokens. See Simulator."""
        marked = ([context.tokens[place] for place in context.marked] for context in contexts)
        return np.array([self._grades(tokens).mean() for tokens in marked])

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """The share of each set whose mean activation on `explain` fires. See Simulator."""
        fires = self._grades([token for one in sets for token in one]) >= FIRES_AT
        return shares(fires.tolist(), sets)

    def _grades(self, tokens: Sequence[str]) -> np.ndarray:
        return np.asarray(self.lookup.predict(tokens), np.float64) / self.unit

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        """Texts with one of the best tokens. See Simulator."""
        return await self.texts.firing_texts(n, seed)

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        """Texts close to those, without any of the best tokens. See Simulator."""
        return await self.texts.near_miss_texts(n, seed)


def _as_rule(target: Target) -> Rule | None:
    """The table's MAX_VALUES best tokens as a rule, or None when no token ever acts.

    Best: those that explain most of the activations' square, Σ mean² over their n occurrences =
    (Σ a)² / n. The highest means alone would be tokens that were seen once.
    """
    tokens = target.explain.tokens
    values = np.maximum(target.explain.activations(target.feature), 0)
    mass = np.bincount(tokens.ids, weights=values, minlength=len(tokens.vocab))
    seen = np.bincount(tokens.ids, minlength=len(tokens.vocab))
    gain = mass**2 / np.maximum(seen, 1)
    best = sorted(np.flatnonzero(gain), key=lambda token: (-gain[token], tokens.vocab[token]))
    best = best[:MAX_VALUES]
    if not best or not target.stats.typical_max:
        return None
    level = float(mass[best].sum() / seen[best].sum()) / target.stats.typical_max
    condition = current("token", *(tokens.vocab[token] for token in best))
    clause = Clause(conditions=(condition,), level=level)
    return Rule(clauses=(clause,), unit=target.stats.typical_max)
