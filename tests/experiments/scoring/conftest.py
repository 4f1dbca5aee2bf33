"""Feature sources whose splits are written out, and simulators whose answers are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from sagescope.agents.records import Explanation
from sagescope.agents.rules.language import Clause, Rule, current
from sagescope.agents.rules.match import Matcher
from sagescope.sae.evidence import Evidence, SplitEvidence
from sagescope.sae.source import Function, FunctionSource
from sagescope.sae.tokens import TokenTable


class WrittenSource(FunctionSource):
    """A FunctionSource that is told which texts each split has."""

    def __init__(self, fn: Function, explain: Sequence[str], score: Sequence[str]):
        super().__init__(fn, 1, [*explain, *score])
        self.fn = fn
        self.splits = {"explain": explain, "score": score}

    @cached_property
    def evidence(self) -> Evidence:
        splits = {name: self._written(name, texts) for name, texts in self.splits.items()}
        return Evidence(splits, range(1))

    def _written(self, name: str, texts: Sequence[str]) -> SplitEvidence:
        def activations_of(feature: int) -> np.ndarray:
            values = [value for text in texts for _, value in self.fn(text, feature)]
            return np.array(values, np.float32)

        return SplitEvidence(name, TokenTable.of(self.tokenize(texts)), activations_of)


def spelled(text: str, feature: int) -> list[tuple[str, float]]:
    pieces = [piece.partition("=") for piece in text.split(" ")]
    tokens = [word if place == 0 else f" {word}" for place, (word, _, _) in enumerate(pieces)]
    return [(token, float(v or 0)) for token, (_, _, v) in zip(tokens, pieces, strict=True)]


def planted(levels: dict[str, float]) -> Function:
    def fn(text: str, feature: int) -> list[tuple[str, float]]:
        tokens = re.findall(r"\s*\w+|\s*[^\w\s]", text)
        return [(token, levels.get(token.strip().lower(), 0.0)) for token in tokens]

    return fn


@dataclass
class Given:
    """A simulator with its answers written down."""

    predicted: Sequence[float] = ()
    firing: Sequence[str] = ()
    near: Sequence[str] = ()

    async def predict(self, text: Matcher) -> np.ndarray:
        return np.array(self.predicted, np.float64)

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        return list(self.firing)[:n]

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        return list(self.near)[:n]


class Make:
    """What the tests of this folder make their cases from."""

    given = Given

    @staticmethod
    def source(fn: Function, explain: Sequence[str], score: Sequence[str]) -> WrittenSource:
        """A source of one feature with these texts in its splits."""
        return WrittenSource(fn, explain, score)

    @staticmethod
    def spelled(explain: Sequence[str], score: Sequence[str]) -> WrittenSource:
        """Activations as the texts themselves say them: "the red=4 house red=1.5"."""
        return WrittenSource(spelled, explain, score)

    @staticmethod
    def words(levels: dict[str, float], n: int = 80, seed: int = 0) -> WrittenSource:
        """A feature with one activation for each of some words, on random text.

        A text holds twenty plain words, and two of `levels` in every other text.
        """
        draw = np.random.default_rng(seed)
        plain = [
            "table",
            "window",
            "garden",
            "paper",
            "morning",
            "corner",
            "basket",
            "kitchen",
            "letter",
            "winter",
        ]
        texts = []
        for number in range(2 * n):
            words = draw.choice(plain, 20).tolist()
            if number % 4 < 2:
                words[5], words[15] = draw.choice(list(levels), 2).tolist()
            texts.append(" ".join(words))
        return WrittenSource(planted(levels), texts[::2], texts[1::2])

    @staticmethod
    def rule(levels: dict[str, float], unit: float = 4.0) -> Rule:
        """A rule with one clause for each word."""
        clauses = [Clause(conditions=(current("word", w),), level=v) for w, v in levels.items()]
        return Rule(clauses=tuple(clauses), unit=unit)

    @staticmethod
    def always(unit: float = 4.0) -> Rule:
        """The rule that fires on everything."""
        clause = Clause(conditions=(current("shape", "anything"),), level=1.0)
        return Rule(clauses=(clause,), unit=unit)

    @staticmethod
    def explanation(rule: Rule | None) -> Explanation:
        """An explanation with nothing in it but its rule."""
        return Explanation(labels=("a label",), description="a description", rule=rule)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    """See Make."""
    return Make
