"""Planted sources: features whose meaning is known, on a corpus that shows it.

    source = planted_source(seed=0)
    feature = source.features[0]
    feature.label, feature.program, feature.explanation.rule   # what it means, three times over

Everything is drawn from the seed: other seeds give features that nobody has seen.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from ...agents.records import Explanation
from ...sae.errors import UnknownName
from ...sae.evidence import SplitEvidence
from ...sae.source import FunctionSource, check_feature
from ...sae.tokens import TokenActivations, TokenTable
from . import concepts, formats, structures
from .frames import contrast_texts, corpus_texts
from .mixed import disjunction, with_second_meaning
from .plans import Draw, Plan
from .programs import Chance, Program, Reading, tokenize, windows_draws

#: The twelve classes, each with what draws one of its features.
CLASSES: Mapping[str, Callable[[Draw, int], Plan]] = {
    "word": concepts.word,
    "family": concepts.family,
    "closed-set": concepts.closed_set,
    "phrase": structures.phrase,
    "position": structures.position,
    "format": formats.written,
    "context": structures.context,
    "disjunction": disjunction,
    "absence": structures.absence,
    "topic": concepts.topic,
    "graded": concepts.graded,
    "degenerate": structures.degenerate,
}
#: A thirteenth, for what only probing can tell: beside the cause the same token nearly always stands.
DECOY = "decoy"
ALL_CLASSES = {**CLASSES, DECOY: structures.decoy}

#: Sentences of the corpus in which nothing was planted, for each feature.
PLAIN_SENTENCES = 12
#: Heights of features are drawn between these, so that no fixed threshold fits all.
SCALES = (0.5, 30.0)


@dataclass(frozen=True)
class Options:
    """What makes planted features harder to read.

    noise: standard deviation of the factor exp(N(0, noise)) on each activation. dropout: share of
    firing tokens that are silent all the same. bleed: share of an activation that shows on the next
    token too. second_meaning: each feature has another, rare word on which it fires as well. Noise
    and drop-out are of the measurement; bleed and second meanings belong to the truth.
    """

    noise: float = 0.0
    dropout: float = 0.0
    bleed: float = 0.0
    second_meaning: bool = False

    @classmethod
    def named(cls, names: Sequence[str]) -> Options:
        """Options by name, each at its usual strength. Raises UnknownName."""
        usual = {"noise": 0.25, "dropout": 0.1, "bleed": 0.3, "second-meaning": True}
        for name in names:
            if name not in usual:
                raise UnknownName("option of planted features", name, usual)
        return cls(**{name.replace("-", "_"): usual[name] for name in names})


@dataclass(frozen=True)
class PlantedFeature:
    """A feature whose meaning is known.

    index: its number in the source. kind: its class. form: which form of the class. label: the
    meaning in words. program: the meaning, to run. scale: its activation where the program says 1.
    decoy: the token that goes along with its cause, if it has one.
    """

    index: int
    kind: str
    form: str
    label: str
    program: Program | Chance
    scale: float
    plan: Plan

    @property
    def decoy(self) -> str | None:
        """The token that nearly always stands beside the cause and is none."""
        return self.plan.decoy

    @property
    def explanation(self) -> Explanation:
        """The reference: what a perfect explainer would say. Without a rule where none can say it."""
        rule = self.program.rule(self.scale)
        return Explanation(labels=(self.label,), description=f"Fires on {self.label}.", rule=rule)


class PlantedSource(FunctionSource):
    """A feature source with an answer key. features: the key, by index."""

    def __init__(
        self, features: Sequence[PlantedFeature], corpus: Sequence[str], options: Options, name: str
    ):
        super().__init__(self._pairs, len(features), corpus, name=name)
        self.features = tuple(features)
        self.options = options

    @property
    def corpus(self) -> list[str]:
        """The texts that show the features."""
        return list(self._corpus)

    def planted(self, feature: int) -> PlantedFeature:
        """One feature of the key. Raises FeatureError for one that is not there."""
        check_feature(feature, self.n_features)
        return self.features[feature]

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The token strings of each text."""
        return [tokenize(text) for text in texts]

    async def activations(self, feature: int, texts: Sequence[str]) -> list[TokenActivations]:
        """What is measured on each text: the program's values, with noise and drop-out."""
        check_feature(feature, self.n_features)
        return await asyncio.to_thread(self._measure, feature, list(texts))

    def truth(self, feature: int, reading: Reading) -> np.ndarray:
        """float32 [n]: the true activations, without noise and drop-out."""
        planted = self.planted(feature)
        found = planted.program.run(reading)
        if self.options.bleed:
            found = _bled(found, reading, self.options.bleed)
        return found * np.float32(planted.scale)

    def contrast(self, feature: int) -> list[tuple[str, str]]:
        """(kind, text): the contrast set, of texts that the corpus does not have."""
        texts = contrast_texts(self.planted(feature).plan.contrast, feature)
        return [(kind, text) for kind, text in texts if text not in self._known]

    # ---------------------------------------------------------------- inside

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._corpus)

    def _split(self, name: str, texts: list[str]) -> SplitEvidence:
        reading = Reading.of(texts)
        return SplitEvidence(
            name, reading.table, lambda feature: self._measured(feature, reading)
        )  # fmt: skip

    def _measured(self, feature: int, reading: Reading) -> np.ndarray:
        found = self.truth(feature, reading)
        noise, dropout = self.options.noise, self.options.dropout
        if noise or dropout:
            found = found * _disturbance(reading.table, feature, noise, dropout)
        return found

    def _measure(self, feature: int, texts: list[str]) -> list[TokenActivations]:
        reading = Reading.of(texts)
        values = self._measured(feature, reading)
        table = reading.table
        rows = np.split(values, table.starts[1:-1]) if texts else []
        return [
            TokenActivations(tuple(table.window(number)), row) for number, row in enumerate(rows)
        ]

    def _pairs(self, text: str, feature: int) -> list[tuple[str, float]]:
        (one,) = self._measure(feature, [text])
        return list(zip(one.tokens, one.activations.tolist(), strict=True))


def planted_source(
    seed: int = 0,
    per_class: int = 10,
    classes: Sequence[str] = tuple(ALL_CLASSES),
    options: Options = Options(),
) -> PlantedSource:
    """`per_class` features of each class, and the corpus that shows them, all drawn from `seed`.

    Raises UnknownName for a class that does not exist.
    """
    for kind in classes:
        if kind not in ALL_CLASSES:
            raise UnknownName("class of planted features", kind, ALL_CLASSES)
    draw = Draw(random.Random(f"planted {seed}"))
    features = [
        _feature(number, kind, draw, turn, options)
        for number, (kind, turn) in enumerate((k, t) for k in classes for t in range(per_class))
    ]
    plans = [feature.plan for feature in features]
    corpus = corpus_texts(plans, seed, PLAIN_SENTENCES * max(60, len(plans)))
    # The name is all that a journal compares of the programs.
    marks = ",".join(f"{one.name}={getattr(options, one.name)}" for one in fields(options))
    name = f"planted-{seed}-{per_class}-{'+'.join(classes)}-{marks}"
    return PlantedSource(features, corpus, options, name)


def _feature(index: int, kind: str, draw: Draw, turn: int, options: Options) -> PlantedFeature:
    plan = ALL_CLASSES[kind](draw, turn)
    if options.second_meaning:
        plan = with_second_meaning(plan, draw)
    scale = round(draw.random.uniform(*SCALES), 2)
    return PlantedFeature(index, kind, plan.form, plan.label, plan.program, scale, plan)


def _bled(found: np.ndarray, reading: Reading, share: float) -> np.ndarray:
    """Activations of which a share shows on the next token of the same text."""
    carried = np.zeros_like(found)
    carried[1:] = share * found[:-1]
    carried[reading.table.starts[:-1][np.diff(reading.table.starts) > 0]] = 0.0
    return np.maximum(found, carried)


def _disturbance(table: TokenTable, feature: int, noise: float, dropout: float) -> np.ndarray:
    """float32 [n]: the factor on each token, decided by its text and the feature."""
    factors = []
    for draw, size in zip(windows_draws(table, feature), np.diff(table.starts), strict=True):
        height = np.exp(noise * draw.standard_normal(size))
        factors.append(np.where(draw.random(size) < dropout, 0.0, height))
    return np.concatenate(factors).astype(np.float32) if factors else np.zeros(0, np.float32)
