"""Simulators: what answers from an explanation alone. Here those that need no language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...agents.records import Explanation
from ...agents.rules.language import Rule
from ...agents.rules.match import Matcher
from ...agents.rules.write import Tokenize, firing_texts, near_miss_texts


@dataclass(frozen=True)
class RuleSimulator:
    """Runs an executable rule.

    rule: None, or one without clauses, where no rule was found: it predicts 0 everywhere and no
    text can be made from it. tokenize: the feature source's, so that a text is kept only if the
    rule says of its tokens what it should.
    """

    rule: Rule | None
    tokenize: Tokenize

    async def predict(self, text: Matcher) -> np.ndarray:
        """The rule's own prediction. See Simulator."""
        if self.rule is None:
            return np.zeros(len(text.table), np.float32)
        return text.predict(self.rule)

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        """Texts that the rule fires on. See Simulator."""
        return firing_texts(self.rule, n, seed, self.tokenize) if self.rule else []

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        """Texts that just miss the rule. See Simulator."""
        return near_miss_texts(self.rule, n, seed, self.tokenize) if self.rule else []


def simulator_of(explanation: Explanation, tokenize: Tokenize) -> RuleSimulator:
    """The simulator of an explanation: its rule, where it has one."""
    return RuleSimulator(explanation.rule, tokenize)
