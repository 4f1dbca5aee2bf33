"""Metric sanity: does a score fall when a label leaves out truth, or claims what is not true?

After NeuronEval (Oikarinen et al. 2025, "Evaluating neuron explanations: a unified framework with
sanity checks"), whose tests ask this of metrics on token labels. Here whole scorers are asked, on
features whose rule is known:

- *missing*: the true rule without half of its clauses,
- *extra*: the true rule with as many clauses more, each for a word that is as common in the text
  and has nothing to do with the feature.

A score *sees* a change where it falls on at least SEES of the features and seeds; else it is *blind*
to it. What a scorer declares (`blind` of `Scorer`) is shown in every table, and a test compares it
with what is measured here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...agents.rules.drafts import room_of
from ...agents.rules.language import Clause, Rule, current
from ...sae.source import FunctionSource
from . import score_simulator
from .bench import UNMEASURED, Blind, Target, chosen
from .simulator import RuleSimulator

#: Share of features and seeds on which a score must fall.
SEES = 0.9
#: A smaller fall is rounding.
LEAST = 1e-6
#: Words of the made-up text; none of them stands in the sentences that texts are written into.
WORDS = [
    "amber",
    "anchor",
    "badger",
    "basil",
    "cedar",
    "cobalt",
    "coral",
    "dagger",
    "ember",
    "falcon",
    "ferret",
    "fiddle",
    "garnet",
    "ginger",
    "hazel",
    "heron",
    "indigo",
    "ivory",
    "jasper",
    "kestrel",
    "lantern",
    "lichen",
    "magnet",
    "maple",
    "nickel",
    "nutmeg",
    "onyx",
    "otter",
    "pebble",
    "pepper",
    "quartz",
    "quiver",
    "raven",
    "ribbon",
    "saddle",
    "salmon",
    "tiger",
    "tulip",
    "velvet",
    "walnut",
]
#: Clauses of a true rule, each of one word.
TRUE = 4


@dataclass(frozen=True)
class Known:
    """A feature whose rule is known, with its damaged labels by what is wrong with them.

    source: a FunctionSource.
    """

    source: Any
    true: Rule
    wrong: dict[Blind, Rule]


def known_feature(seed: int, texts: int = 150) -> Known:
    """A feature that fires on TRUE words, each with a level of its own, in random text."""
    draw = np.random.default_rng(seed)
    words = draw.permutation(WORDS).tolist()
    true, extra = words[:TRUE], words[TRUE : 2 * TRUE]
    levels = dict(zip(true, (1.0, 0.9, 0.8, 0.7), strict=True))

    def fires(text: str, feature: int) -> list[tuple[str, float]]:
        found = re.findall(r"\s*\w+|\s*[^\w\s]", text)
        return [(token, 5.0 * levels.get(token.strip().lower(), 0.0)) for token in found]

    corpus = [" ".join(draw.choice(words, 20)) + "." for _ in range(texts)]
    clauses = [_clause(word, level) for word, level in levels.items()]
    more = [_clause(word, level) for word, level in zip(extra, levels.values(), strict=True)]
    unit = 5.0
    return Known(
        FunctionSource(fires, 1, corpus, name=f"known-{seed}"),
        Rule(clauses=tuple(clauses), unit=unit),
        {
            "missing": Rule(clauses=tuple(clauses[::2]), unit=unit),
            "extra": Rule(clauses=(*clauses, *more), unit=unit),
        },
    )


def _clause(word: str, level: float) -> Clause:
    return Clause(conditions=(current("word", word),), level=level)


async def blindness(
    scorers: Sequence[str] | None = None, features: int = 5, seeds: int = 2
) -> dict[str, tuple[Blind, ...]]:
    """Score → what it does not see, as measured; UNMEASURED for one that has no value here.

    scorers: by name, ("all",) for every one. The features and draws are the same every time.
    """
    fell: dict[tuple[str, Blind], list[bool]] = {}
    for number in range(features):
        known = known_feature(number)
        for seed in range(seeds):
            target = Target(known.source, 0, seed)
            true = await _values(target, known.true, scorers)
            for kind, rule in known.wrong.items():
                wrong = await _values(target, rule, scorers)
                for name in true.keys() & wrong.keys():
                    fell.setdefault((name, kind), []).append(wrong[name] < true[name] - LEAST)
    names = [name for one in chosen(scorers).values() for name in one.scores]
    return {
        name: tuple(kind for kind in ("extra", "missing") if np.mean(fell[name, kind]) < SEES)
        if (name, "extra") in fell
        else UNMEASURED
        for name in names
    }


async def _values(target: Target, rule: Rule, scorers: Sequence[str] | None) -> dict[str, float]:
    simulator = RuleSimulator(rule, target.source.tokenize, room=room_of(target.source))
    found = await score_simulator(target, simulator, scorers)
    return {name: one.value for name, one in found.scores.items() if one.value is not None}
