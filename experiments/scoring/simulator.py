"""Simulators: what answers from an explanation alone. Here those that need no language model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from ...agents.records import Explanation
from ...agents.rules.language import Near, Rule
from ...agents.rules.match import Matcher, predict
from ...agents.rules.write import Tokenize, firing_texts, near_miss_texts
from ...sae.errors import CannotAnswer
from ...sae.evidence import FIRES_AT
from ...sae.visible import visible

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """A stretch of a text that a simulator is asked about, without any activation.

    tokens: the token strings of the whole text. first, end: what is shown of them (end exclusive);
    the rest is there so that places and distances stay true. marked: places in `tokens`, within
    what is shown, of the tokens that a question is about.
    """

    tokens: tuple[str, ...]
    first: int
    end: int
    marked: tuple[int, ...] = ()

    @classmethod
    def whole(cls, tokens: Sequence[str], marked: Sequence[int] = ()) -> Context:
        """A text that is shown from its first token to its last."""
        return cls(tuple(tokens), 0, len(tokens), tuple(marked))

    @property
    def shown(self) -> tuple[str, ...]:
        """The tokens that are shown."""
        return self.tokens[self.first : self.end]


class Simulator(Protocol):
    """Answers from an explanation alone. It never sees the feature, its source or its corpus.

    words: the explanation's, "" where it has none. Grades are in typical maxima of the feature, from
    0 (silent) to 1. fires_from: the grade from which it says that the feature fires; None where its
    grades have an order and no unit. What a kind of simulator cannot do it refuses by CannotAnswer;
    what failed of it for one context (a reply that made no sense, say) is NaN or None there, and no
    zero. side: what the explanation speaks of, what the feature responds to ("input") or what it
    makes the model say ("output").
    """

    fires_from: float | None
    words: str
    side: str = "input"

    async def predict(self, text: Matcher) -> np.ndarray:
        """float [n]: the predicted activation of each token of `text.table`, in the SAE's units."""
        raise CannotAnswer("this explanation cannot be run over a whole corpus")

    async def simulate(self, contexts: Sequence[Context]) -> list[np.ndarray | None]:
        """A grade for each token shown, float64 [end − first], of each context; None: failed."""
        raise CannotAnswer("this explanation says nothing of single tokens")

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        """float64 [n]: how strongly the feature fires at its strongest in each; NaN: failed."""
        raise CannotAnswer("this explanation grades no texts")

    async def grade_marked(self, contexts: Sequence[Context]) -> np.ndarray:
        """float64 [n]: how strongly it fires on the marked tokens of each; NaN: failed."""
        raise CannotAnswer("this explanation says nothing of single tokens")

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """float64 [n]: how well each set of tokens fits the explanation; NaN: failed.

        From 0 to 1, where `fires_from` is not None: how much of the set is what it speaks of.
        """
        raise CannotAnswer("this explanation does not say which tokens fit it")

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        """Up to n distinct texts on which the explanation says the feature fires."""
        raise CannotAnswer("no texts can be made from this explanation")

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        """Up to n distinct texts close to those, on which it says the feature stays silent."""
        raise CannotAnswer("no texts can be made from this explanation")


@dataclass(frozen=True)
class RuleSimulator(Simulator):
    """Runs an executable rule.

    rule: None, or one without clauses, where no rule was found: it predicts 0 everywhere and no
    text can be made from it. tokenize: the feature source's, so that a text is kept only if the
    rule says of its tokens what it should. room: tokens that a text may have, None for any number.
    """

    rule: Rule | None
    tokenize: Tokenize
    fires_from: float | None = FIRES_AT
    words: str = ""
    room: int | None = None

    async def predict(self, text: Matcher) -> np.ndarray:
        """The rule's own prediction. See Simulator."""
        if self.rule is None:
            return np.zeros(len(text.table), np.float32)
        return text.predict(self.rule)

    async def simulate(self, contexts: Sequence[Context]) -> list[np.ndarray | None]:
        """The rule's prediction for each token. See Simulator."""
        found = zip(contexts, self._levels(contexts), strict=True)
        return [levels[context.first : context.end] for context, levels in found]

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        """The highest prediction among the tokens shown. See Simulator."""
        return np.array(
            [0.0 if one is None else one.max(initial=0.0) for one in await self.simulate(contexts)]
        )

    async def grade_marked(self, contexts: Sequence[Context]) -> np.ndarray:
        """The mean prediction over the marked tokens. See Simulator."""
        found = zip(contexts, self._levels(contexts), strict=True)
        return np.array([levels[[*context.marked]].mean() for context, levels in found])

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """The share of each set on which the rule fires for the token itself. See Simulator.

        Clauses that ask for nothing of the token itself name no token; what clauses ask for around
        it is left out.
        """
        rule = of_the_token(self.rule) if self.rule else Rule()
        alone = [[token] for one in sets for token in one]
        fires = [bool((values >= FIRES_AT).any()) for values in predict(rule, alone)]
        return shares(fires, sets)

    def _levels(self, contexts: Sequence[Context]) -> list[np.ndarray]:
        """float64 [tokens]: the prediction for every token of each text, in typical maxima."""
        if self.rule is None or self.rule.unit <= 0:
            return [np.zeros(len(context.tokens)) for context in contexts]
        found = predict(self.rule, [context.tokens for context in contexts])
        return [np.asarray(values, np.float64) / self.rule.unit for values in found]

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        """Texts that the rule fires on. See Simulator."""
        return firing_texts(self.rule, n, seed, self.tokenize, self.room) if self.rule else []

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        """Texts that just miss the rule. See Simulator."""
        return near_miss_texts(self.rule, n, seed, self.tokenize, self.room) if self.rule else []


async def settled(*asked: Awaitable[T]) -> list[T]:
    """The answers to questions put at once; the first error, but only when all have come to an end.

    Else a call that is paid for would be left behind, and its reply lost.
    """
    found = await asyncio.gather(*asked, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class OutputSimulator(Simulator):
    """Answers for an explanation of the output side that has no rule: its labels are tokens.

    It says nothing of where the feature fires. words: see Simulator.
    """

    labels: tuple[str, ...]
    words: str = ""
    fires_from: float | None = FIRES_AT
    side: str = "output"

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """The share of each set that is a label; case and space do not count. See Simulator."""
        named = {label.strip().casefold() for label in self.labels}
        hits = [visible(token).strip().casefold() in named for one in sets for token in one]
        return shares(hits, sets)


def of_the_token(rule: Rule) -> Rule:
    """What a rule says of a token wherever it stands, in units of 1."""
    reduced = []
    for clause in rule.clauses:
        own = [one for one in clause.conditions if isinstance(one, Near) and one.is_current]
        if any(not one.negated for one in own):
            reduced.append(clause.model_copy(update={"conditions": tuple(own)}))
    return Rule(clauses=tuple(reduced))


def shares(hits: Sequence[bool], sets: Sequence[Sequence[str]]) -> np.ndarray:
    """float64 [n]: the share of hits in each set, of hits in the order of all their tokens."""
    ends = np.cumsum([len(one) for one in sets])[:-1]
    return np.array([part.mean() for part in np.split(np.array(hits, np.float64), ends)])


def words_of(explanation: Explanation) -> str:
    """What an explanation says in words: its labels and its description."""
    parts = ("; ".join(explanation.labels), explanation.description)
    return ": ".join(part for part in parts if part.strip())
