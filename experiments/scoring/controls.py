"""Controls: what an explanation must beat before its scores mean anything (DESIGN, rule 5).

- `random_explanation`: another feature's explanation. What it scores comes from what features have
  in common (frequent tokens, sentence shape), not from knowing this one.
- `shuffled_activations`: the explanation itself, against the feature with its activations shuffled
  (see `Shuffled`): what any prediction of that size scores on activations of that distribution.
- `single_token`: "fires on its most common firing token", as a rule of one condition.
- `token_lookup`: the table "token → its mean activation on the `explain` split". It is no
  explanation, having thousands of entries, but the reference for everything lexical.
- `one_shot`: what the same mind says at once, with the same budget. `sagescope.experiments.one_shot`
  makes it.
- `random_weights`: a feature of the same SAE on the model with random weights, explained by the
  same explainer. `sagescope.experiments.random_weights` makes it, once for a run.

All but the last go through the same scorers as the explanation itself, on the same feature; that one
too, on its own feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...agents.records import Explanation
from ...agents.rules.drafts import room_of
from ...agents.rules.language import MAX_VALUES, Clause, Rule, current
from ...agents.rules.match import Matcher
from ...agents.rules.sample import matcher_of
from ...sae.errors import CannotAnswer
from ...sae.evidence import FIRES_AT, SplitEvidence
from ...sae.lookup import TokenLookup
from ...sae.source import FeatureSource
from ...sae.tokens import TokenActivations
from .bench import Target
from .choice import BY_RULE, Choice, simulator_of
from .simulator import Context, RuleSimulator, Simulator, shares, words_of

#: The controls by the name users see, in the order of every table.
CONTROL_NAMES = (
    "random_explanation",
    "shuffled_activations",
    "single_token",
    "token_lookup",
    "one_shot",
    "random_weights",
)

#: Why shuffled activations have no score on fresh texts.
NO_TEXTS = "shuffled activations say nothing of fresh texts"


def controls(
    target: Target,
    explanation: Explanation,
    other: Explanation | None = None,
    one_shot: Explanation | None = None,
    choice: Choice = BY_RULE,
) -> dict[str, Simulator]:
    """The simulators of a feature's controls, in the order of CONTROL_NAMES, those that there are.

    other: another feature's explanation. one_shot: what the same mind said at once. choice: what
    answers for explanations; where a language model judges, shuffled activations are left out, which
    would ask it as much again. Score each on `target_of(name, target)`.
    """
    tokenize, room = target.source.tokenize, room_of(target.source)
    fires = bool(target.stats.typical_max)
    found: dict[str, Simulator | None] = {
        "random_explanation": random_explanation(target, other, choice) if other else None,
        "shuffled_activations": None
        if choice.kind == "judge"
        else _OnCorpus(simulator_of(explanation, tokenize, choice, room)),
        "single_token": single_token(target) if fires else None,
        "token_lookup": token_lookup(target) if fires else None,
        "one_shot": simulator_of(one_shot, tokenize, choice, room) if one_shot else None,
    }
    return {name: simulator for name, simulator in found.items() if simulator}


def target_of(name: str, target: Target) -> Target:
    """What a control, or "explanation", is scored on: the target, or its shuffled form."""
    return Shuffled.of(target) if name == "shuffled_activations" else target


@dataclass(frozen=True)
class Shuffled(Target):
    """A target whose activations on the `score` split are shuffled; thresholds stay as they are.

    The windows' activations are put in an order drawn by seed and feature, laid end to end and
    turned by a random number of tokens; then each token gets the one that lies at its place. So the
    distribution of activations and their bursts are kept, and as the turn is uniform, every token
    is as likely as any other to get any activation: whatever an explanation predicts is
    uncorrelated with it, in expectation exactly. Nothing is known of fresh texts: to run one raises
    CannotAnswer.
    """

    @classmethod
    def of(cls, target: Target) -> Shuffled:
        """The shuffled form of a target."""
        return cls(_Corpus(target.source), target.feature, target.seed)

    @cached_property
    def held_out(self) -> SplitEvidence:
        """See Target."""
        split = self._measured
        return SplitEvidence(split.name, split.tokens, self._turned)

    @cached_property
    def text(self) -> Matcher:
        """See Target. The text is the same, so what is known of it is shared."""
        return matcher_of(self._measured)

    @cached_property
    def _measured(self) -> SplitEvidence:
        return self.source.evidence.reader("scorer").split("score")

    def _turned(self, feature: int) -> np.ndarray:
        draw = np.random.default_rng([self.seed, feature])
        starts = self._measured.tokens.starts
        values = self._measured.activations(feature)
        order = draw.permutation(len(starts) - 1)
        pieces = [values[starts[window] : starts[window + 1]] for window in order]
        laid = np.concatenate(pieces) if pieces else values
        return np.roll(laid, draw.integers(len(laid))) if len(laid) else laid


@dataclass(frozen=True)
class _OnCorpus(Simulator):
    """A simulator that makes no texts: nothing could be measured on them."""

    inner: Simulator

    @property
    def words(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See Simulator."""
        return self.inner.words

    @property
    def fires_from(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See Simulator."""
        return self.inner.fires_from

    async def predict(self, text: Matcher) -> np.ndarray:
        """See Simulator."""
        return await self.inner.predict(text)

    async def simulate(self, contexts: Sequence[Context]) -> list[np.ndarray | None]:
        """See Simulator."""
        return await self.inner.simulate(contexts)

    async def grade(self, contexts: Sequence[Context]) -> np.ndarray:
        """See Simulator."""
        return await self.inner.grade(contexts)

    async def grade_marked(self, contexts: Sequence[Context]) -> np.ndarray:
        """See Simulator."""
        return await self.inner.grade_marked(contexts)

    @property
    def side(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See Simulator."""
        return self.inner.side

    async def resemblance(self, sets: Sequence[Sequence[str]]) -> np.ndarray:
        """See Simulator."""
        return await self.inner.resemblance(sets)

    async def firing_texts(self, n: int, seed: int) -> list[str]:
        """Raises CannotAnswer."""
        raise CannotAnswer(NO_TEXTS)

    async def near_miss_texts(self, n: int, seed: int) -> list[str]:
        """Raises CannotAnswer."""
        raise CannotAnswer(NO_TEXTS)


class _Corpus:
    """A feature source of which only the corpus is left."""

    def __init__(self, source: FeatureSource):
        self.subject, self.sae, self.n_features = source.subject, source.sae, source.n_features
        self.key, self.evidence = source.key, source.evidence
        self.cover, self.tokenize = source.cover, source.tokenize

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """See FeatureSource. Raises CannotAnswer."""
        raise CannotAnswer(NO_TEXTS)


def random_explanation(target: Target, other: Explanation, choice: Choice = BY_RULE) -> Simulator:
    """Another feature's explanation, in this feature's unit, so that only its shape counts."""
    if choice.kind != "rule" or other.rule is None:
        return simulator_of(other, target.source.tokenize, choice, room_of(target.source))
    rule = other.rule.model_copy(update={"unit": target.stats.typical_max})
    return RuleSimulator(
        rule, target.source.tokenize, words=words_of(other), room=room_of(target.source)
    )


def single_token(target: Target) -> Simulator:
    """A rule that fires on the token string that most of the firing tokens of `explain` have.

    Its level is their mean activation. Of strings that are equally common, the first in order.
    """
    tokens = target.explain.tokens
    values = target.explain.activations(target.feature)
    fires = np.flatnonzero(target.fires(values))
    often = np.bincount(tokens.ids[fires], minlength=len(tokens.vocab))
    best = min(np.flatnonzero(often == often.max()).tolist(), key=lambda one: tokens.vocab[one])
    level = float(values[fires][tokens.ids[fires] == best].mean()) / target.stats.typical_max
    clause = Clause(conditions=(current("token", tokens.vocab[best]),), level=level)
    rule = Rule(clauses=(clause,), unit=target.stats.typical_max)
    return RuleSimulator(rule, target.source.tokenize, room=room_of(target.source))


def token_lookup(target: Target) -> Simulator:
    """The token lookup table, fitted on the `explain` split."""
    return LookupSimulator(
        TokenLookup.fit(target.explain, target.feature),
        target.stats.typical_max,
        RuleSimulator(_as_rule(target), target.source.tokenize, room=room_of(target.source)),
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
