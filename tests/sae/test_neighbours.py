"""Features that fire together are neighbours."""

import random

import numpy as np
import pytest

from sagescope.experiments.scoring.excerpts import others
from sagescope.sae.errors import FeatureError
from sagescope.sae.neighbours import Neighbourhood, Tie, tie_of
from sagescope.sae.source import FunctionSource

WORDS = ["red", "green", "blue", "one", "two", "three"]
#: Feature → what it fires on: 1 shares both words of 0 and adds one, 2 shares one, 3 none, 4 is dead.
TRIGGERS = [{"red", "green"}, {"red", "green", "blue"}, {"green", "one"}, {"two"}, set()]


@pytest.fixture
def evidence():
    def fires(text, feature):
        return [(word, float(word in TRIGGERS[feature])) for word in text.split()]

    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(300)]
    return FunctionSource(fires, len(TRIGGERS), texts).evidence


def test_the_most_alike_come_first(evidence):
    near = Neighbourhood(evidence)
    assert near.nearest(0) == (1, 2)
    assert near.nearest(0, n=1) == (1,)
    assert near.nearest(2) == (0, 1)


def test_a_feature_that_fires_alone_or_never_has_none(evidence):
    near = Neighbourhood(evidence)
    assert near.nearest(3) == near.nearest(4) == ()


def test_what_the_evidence_does_not_cover(evidence):
    with pytest.raises(FeatureError, match="does not cover"):
        Neighbourhood(evidence).nearest(9)


def test_neighbours_are_of_the_reference_however_much_is_covered(evidence):
    evidence.reference = (2, 3)
    near = Neighbourhood(evidence)
    assert near.nearest(0) == (2,)
    assert near.nearest(2) == ()
    assert others(evidence, 0, 5, seed=0) == others(evidence, 1, 5, seed=0)
    assert set(others(evidence, 0, 5, seed=0)) == {2, 3}


def test_a_feature_that_another_always_fires_with_is_told(evidence):
    """0 fires on red and green; 5 does so too, at other levels; 1 also fires on blue."""

    def fires(text, feature):
        level = 1 + len(text) % 3 if feature == 5 else 1
        words = TRIGGERS[feature % 5]
        return [(word, float(level * (word in words))) for word in text.split()]

    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(300)]
    tied = FunctionSource(fires, 6, texts).evidence
    assert tie_of(tied, 0) == Tie(5, 1.0, 1.0)
    assert tie_of(tied, 5) == Tie(0, 1.0, 1.0)
    assert "told apart from feature 5" in str(tie_of(tied, 0))
    assert [tie_of(tied, feature) for feature in (1, 2, 3, 4)] == [None] * 4
    assert tie_of(evidence, 0) is None


def strong_together(text, feature):
    """0 and 1 fire strongly on "red", each at a level of its own, and weakly alone on two words each."""
    weak = {0: ("green", "blue"), 1: ("one", "two")}[feature]
    levels = {"red": 1 + (len(text) * (feature + 3)) % 7} | dict.fromkeys(weak, 0.1)
    return [(word, float(levels.get(word, 0))) for word in text.split()]


@pytest.mark.parametrize(
    ("second", "told"),
    [((0.8, 0.6), True), ((1.0, 0.01), True), (None, False)],
    ids=["a direction of its own", "the same direction", "no decoder"],
)
def test_a_pair_that_identify_calls_ambiguous_is_told(second, told):
    """By energy, since of tokens with either hardly a fifth have both; and by the witness."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(300)]
    evidence = FunctionSource(strong_together, 2, texts).evidence
    decoder = second and (lambda features: np.array([(1.0, 0.0), second])[features])
    tie = tie_of(evidence, 0, decoder)
    assert (tie is not None) == told
    if tie:
        assert tie.partner == 1
        assert tie.overlap < 0.3 < 0.9 < tie.shared
        assert "squared activations" in str(tie)


def test_a_pair_that_can_be_told_apart_is_not_told():
    """Both fire together mostly, but also alone, and as strongly."""

    def fires(text, feature):
        words = {"red", "green", "blue", "one" if feature else "two"}
        return [(word, float(word in words)) for word in text.split()]

    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(300)]
    evidence = FunctionSource(fires, 2, texts).evidence
    assert tie_of(evidence, 0, lambda features: np.eye(2)[features]) is None
