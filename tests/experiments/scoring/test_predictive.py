"""Predictive scores: each definition by hand, and what must hold of all of them."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from sagescope.experiments.scoring.bench import Target
from sagescope.experiments.scoring.predictive import NAMES, auprc, pearson, predictive
from sagescope.experiments.scoring.simulator import RuleSimulator
from sagescope.sae.errors import WrongSplit
from sagescope.sae.evidence import Evidence

LEVELS = {"red": 4.0, "green": 2.0}


def run(source, simulator, seed=0):
    return asyncio.run(predictive(Target(source, 0, seed), simulator))


def ruled(source, rule, seed=0):
    return run(source, RuleSimulator(rule, source.tokenize), seed)


def values(source, rule, seed=0):
    scores = ruled(source, rule, seed).scores
    return {name: score.value for name, score in scores.items()}


# --- The definitions -----------------------------------------------------------------------------

ONE_EACH = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n),
        st.lists(st.floats(0, 10, width=16), min_size=n, max_size=n),
        st.lists(st.integers(0, 5), min_size=n, max_size=n),
    )
)


@given(ONE_EACH)
@settings(max_examples=60, deadline=None)
def test_pearson_is_numpys(case):
    predicted, measured, unit = (np.array(column) for column in case)
    score = pearson(predicted, measured, unit, 0)
    if np.ptp(measured) == 0:
        assert score.value is None
    elif np.ptp(predicted) == 0:
        assert score.value == 0
    else:
        assert score.value == pytest.approx(np.corrcoef(predicted, measured)[0, 1], abs=1e-9)
        assert score.n == len(np.unique(unit))
    for end in (score.low, score.high):
        assert end is None or -1 <= end <= 1


def test_pearson_by_hand():
    # Deviations from the means 2 and 1: (-2, 0, 2) and (-1, 1, 0).
    score = pearson(np.array([0.0, 2, 4]), np.array([0.0, 2, 1]), np.arange(3), 0)
    assert score.value == pytest.approx(2 / np.sqrt(8 * 2))


def test_a_constant_prediction_has_no_skill_and_says_so():
    score = pearson(np.zeros(4), np.array([0.0, 1, 0, 2]), np.arange(4), 0)
    assert (score.value, score.n) == (0, 4)
    assert "no predictive skill" in str(score.reason)


@given(ONE_EACH)
@settings(max_examples=60, deadline=None)
def test_auprc_is_sklearns(case):
    predicted, measured, unit = (np.array(column) for column in case)
    fires = measured >= 5
    score = auprc(predicted, fires, unit, 0)
    if not fires.any():
        assert score.value is None
        return
    assert score.value == pytest.approx(average_precision_score(fires, predicted))
    if np.ptp(predicted) == 0:
        assert score.value == pytest.approx(fires.mean())
        assert "base rate" in str(score.reason)


def test_auprc_by_hand():
    # By falling prediction: fires, silent, fires, and recall rises by a half at each hit.
    fires = np.array([True, False, True, False])
    score = auprc(np.array([4.0, 3, 2, 1]), fires, np.arange(4), 0)
    assert score.value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_whole_split_scores_by_hand(make):
    # explain: typical maximum 10, so that tokens fire from 2; one band edge at each value's place.
    source = make.spelled(["a=10 b=1", "c"], ["a=10 b=6 c=3", "d=1 e e", "f g h"])
    predicted = [10, 1, 2, 0.5, 9, 0, 0, 0, 0]
    marks = run(source, make.given(predicted))
    target = Target(source, 0)
    assert target.stats.typical_max == 10
    # Found: a (10 ≥ 2), c (2 ≥ min(2, 1.5)), d (0.5 ≥ 0.5); b is not (1 < 2).
    assert marks.scores["coverage"].value == pytest.approx((10 + 3 + 1) / 20)
    assert marks.scores["coverage"].n == 2
    # Predicted to fire: a, c, e; of these a and c do.
    assert marks.scores["precision"].value == pytest.approx(2 / 3)
    # The quantiles of 1 and 10 are 1.9, 3.25, 5.5, 7.75, 9.1, 9.91.
    bands = marks.details["recall_by_quantile"]
    assert [(band.n, band.recall) for band in bands] == [
        (1, 1.0),
        (1, 1.0),
        (0, None),
        (1, 0.0),
        (0, None),
        (0, None),
        (1, 1.0),
    ]
    assert bands[0].high == bands[1].low == pytest.approx(1.9)
    assert (bands[-1].quantiles, bands[-1].high) == ((0.99, 1.0), None)
    assert marks.scores["recall"].value == pytest.approx(3 / 4)
    levels = marks.details["precision_by_level"]
    assert [(level.n, level.fires, level.mean) for level in levels] == [
        (2, 0.5, pytest.approx(0.35)),
        (1, 1.0, pytest.approx(0.3)),
        (0, None, None),
        (0, None, None),
        (2, 0.5, pytest.approx(0.5)),
    ]
    counts = marks.details["mixture"]
    assert (counts.top, counts.spread, counts.random) == (2, 0, 1)
    assert (counts.documents, counts.tokens) == (3, 9)
    assert counts.base_rate == pytest.approx(3 / 9)


# --- What must hold ------------------------------------------------------------------------------


TEXT = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, 5.0])),
    min_size=1,
    max_size=6,
).map(lambda pairs: " ".join(f"{word}={value}" for word, value in pairs))


@given(st.lists(TEXT, min_size=1, max_size=8), st.integers(0, 2**32), st.sampled_from([0, 1, 7]))
@settings(max_examples=50, deadline=None)
def test_whatever_the_feature_and_the_prediction_do_scores_are_in_bounds(make, texts, seed, top):
    source = make.spelled(texts, texts[::-1])
    n = len(source.evidence.reader("scorer").split("score").tokens)
    predicted = np.random.default_rng(seed).integers(0, top + 1, n).astype(float)
    for name, score in run(source, make.given(predicted), seed).scores.items():
        assert (score.value is None) == (score.low is None and score.n == 0)
        for number in (score.value, score.low, score.high):
            lowest = -1 if name == "predictive_pearson" else 0
            assert number is None or lowest - 1e-9 <= number <= 1 + 1e-9


def test_negative_activations_are_silence(make):
    predicted = [4.0, 0.0, 0.0]
    one = run(make.spelled(["a=4 b"], ["a=4 b c"]), make.given(predicted))
    other = run(make.spelled(["a=4 b=-0.1"], ["a=4 b=-0.2 c=-0.1"]), make.given(predicted))
    assert one.scores == other.scores


def test_the_perfect_rule_scores_one_everywhere(make):
    marks = ruled(make.words(LEVELS), make.rule({"red": 1.0, "green": 0.5}))
    assert {name: score.value for name, score in marks.scores.items()} == pytest.approx(
        dict.fromkeys(NAMES, 1.0)
    )
    # Every document is foreseen wholly, which says nothing of how far others would be.
    assert all(score.low is None for score in marks.scores.values())


def test_half_of_the_truth_finds_less(make):
    source = make.words(LEVELS)
    whole = values(source, make.rule({"red": 1.0, "green": 0.5}))
    half = values(source, make.rule({"red": 1.0}))
    for name in ("predictive_pearson", "predictive_auprc", "coverage", "recall"):
        assert half[name] < whole[name]
    assert half["precision"] == whole["precision"] == 1


def test_extra_truth_loses_precision(make):
    source = make.words(LEVELS)
    whole = values(source, make.rule({"red": 1.0, "green": 0.5}))
    broad = values(source, make.rule({"red": 1.0, "green": 0.5, "table": 0.7, "window": 0.7}))
    for name in ("predictive_pearson", "predictive_auprc", "precision"):
        assert broad[name] < whole[name]
    assert broad["recall"] == whole["recall"] == 1


def test_always_and_never(make):
    source = make.words(LEVELS)
    always = ruled(source, make.always())
    base = always.details["mixture"].base_rate
    assert always.scores["predictive_pearson"].value == 0
    assert always.scores["predictive_auprc"].value == pytest.approx(base)
    assert always.scores["coverage"].value == always.scores["recall"].value == 1
    assert always.scores["precision"].value < 0.1
    for rule in (None, make.rule({})):
        never = ruled(source, rule).scores
        assert never["predictive_pearson"].value == 0
        assert "no predictive skill" in never["predictive_pearson"].reason
        assert never["predictive_auprc"].value == pytest.approx(base)
        assert never["coverage"].value == never["recall"].value == 0
        assert never["precision"].value is None
        assert "no token" in never["precision"].reason


def test_units_do_not_matter(make):
    rule = {"red": 1.0, "green": 0.3, "table": 0.2}
    small = values(make.words(LEVELS), make.rule(rule))
    scaled = {word: 1000 * value for word, value in LEVELS.items()}
    large = values(make.words(scaled), make.rule(rule, unit=4000.0))
    assert large == pytest.approx(small)


def test_the_order_of_documents_does_not_matter(make):
    source = make.words(LEVELS)
    rule = make.rule({"red": 1.0, "table": 0.2})
    texts = source.splits["score"]
    turned = make.source(source.fn, source.splits["explain"], texts[::-1])
    one, other = ruled(source, rule), ruled(turned, rule)
    assert one.scores == other.scores
    assert one.details["mixture"] == other.details["mixture"]


def test_the_same_seed_gives_the_same_and_another_another_draw(make):
    source = make.words(LEVELS, n=200)
    rule = make.rule({"red": 1.0, "table": 0.2})
    assert ruled(source, rule, seed=1) == ruled(source, rule, seed=1)
    other = ruled(source, rule, seed=2)
    assert (
        ruled(source, rule, seed=1).scores["predictive_pearson"]
        != (other.scores["predictive_pearson"])
    )


@pytest.mark.parametrize("silent", ["explain", "score"])
def test_a_silent_feature_has_no_scores(make, silent):
    texts = {"explain": ["a=1 b"], "score": ["a=1 b"], silent: ["a b c"]}
    marks = run(make.spelled(texts["explain"], texts["score"]), make.given([0.0] * 3))
    assert {score.value for score in marks.scores.values()} == {None}
    assert all(silent in str(score.reason) for score in marks.scores.values())


@pytest.mark.parametrize("predicted", [[1.0], [1.0, float("nan")]])
def test_a_simulator_must_answer_every_token_with_a_number(make, predicted):
    with pytest.raises(ValueError, match="prediction"):
        run(make.spelled(["a=1 b"], ["a=1 b"]), make.given(predicted))


def test_only_the_splits_of_a_scorer_are_read(make, monkeypatch):
    source = make.words(LEVELS)
    roles = []
    reader = Evidence.reader

    def noted(self, role):
        roles.append(role)
        return reader(self, role)

    monkeypatch.setattr(Evidence, "reader", noted)
    ruled(source, make.rule({"red": 1.0}))
    assert set(roles) == {"scorer"}
    for role in ("explainer", "selector"):
        with pytest.raises(WrongSplit, match="score"):
            source.evidence.reader(role).split("score")
