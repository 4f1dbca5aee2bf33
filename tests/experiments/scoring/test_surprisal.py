"""Surprisal, with losses that are written out."""

import asyncio

import numpy as np
import pytest

from sagescope.experiments.scoring.bench import SCORERS, Target
from sagescope.experiments.scoring.simulator import RuleSimulator
from sagescope.experiments.scoring.surprisal import NEUTRAL, described, drawn
from sagescope.sae.source import FunctionSource


class Written:
    """A loss of 5 for every text, less 1 for each word of the text that the prefix has."""

    def __init__(self):
        self.prefixes = []

    async def losses(self, prefix, texts):
        self.prefixes.append(prefix)
        known = set(prefix.split())
        return np.array([5.0 - len(known & set(text.split())) for text in texts])


def fires(text, feature):
    return [(word, 2.0 if word == "boat" else 0.0) for word in text.split()]


@pytest.fixture(scope="module")
def source():
    draw = np.random.default_rng(0)
    words = ["boat", *(f"w{k}" for k in range(30))]
    found = FunctionSource(fires, 1, [" ".join(draw.choice(words, 30)) for _ in range(150)])
    found.losses = Written()
    return found


def run(source, words):
    simulator = RuleSimulator(None, source.tokenize, words=words)
    return asyncio.run(SCORERS["surprisal"](Target(source, 0), simulator))


def test_by_hand(source):
    found = run(source, "boat").scores
    # Every firing excerpt has the word, for a nat; no silent one has it.
    assert found["surprisal"].value == 1
    assert found["surprisal_gain"].value == pytest.approx(1.0)
    assert run(source, "nothing of it").scores["surprisal"].value == 0.5


def test_excerpts_are_held_out_and_as_they_are_called(source):
    excerpts, firing = drawn(Target(source, 0))
    split = source.evidence.reader("scorer").split("score")
    texts = ["".join(split.tokens.window(k)) for k in range(len(split.tokens.starts) - 1)]
    for one, fires_there in zip(excerpts, firing, strict=True):
        assert ("boat" in one.text.split()) == fires_there
        assert any(one.text in text for text in texts)
    assert 0 < firing.sum() < len(firing)


def test_both_are_read_after_a_description(source):
    source.losses.prefixes.clear()
    items = run(source, "boat").details["items"]
    assert source.losses.prefixes == [described(NEUTRAL), described("boat")]
    assert "boat" in described("boat")
    assert {item.kind for item in items} == {"firing", "silent"}
    assert all(item.grade == float("boat" in item.text.split()) for item in items)


def test_what_cannot_be_asked(source):
    without = FunctionSource(fires, 1, ["boat plain"])
    assert "no language model" in run_on(without, source, "boat").reason
    assert "no words" in run(source, "").scores["surprisal"].reason


def run_on(without, source, words):
    """On the evidence of a source, without its losses."""
    without.evidence = source.evidence
    return run(without, words).scores["surprisal"]
