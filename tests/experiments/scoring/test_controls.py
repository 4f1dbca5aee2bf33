"""The controls that stand beside every score."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.agents.rules.language import MAX_VALUES
from sagescope.experiments.scoring import score_explanation, target_of
from sagescope.experiments.scoring.bench import Target
from sagescope.experiments.scoring.controls import (
    controls,
    random_explanation,
    single_token,
    token_lookup,
)


def predicted(target: Target, simulator) -> np.ndarray:
    return asyncio.run(simulator.predict(target.text))


def test_another_explanation_speaks_in_this_features_unit(make):
    target = Target(make.spelled(["red=8 green"], ["red=8 green"]), 0)
    other = make.explanation(make.rule({"green": 0.5}, unit=4000.0))
    assert predicted(target, random_explanation(target, other)).tolist() == [0, 4]
    assert other.rule.unit == 4000


def test_another_explanation_without_a_rule_predicts_nothing(make):
    target = Target(make.spelled(["red=8 green"], ["red=8 green"]), 0)
    simulator = random_explanation(target, make.explanation(None))
    assert predicted(target, simulator).tolist() == [0, 0]
    assert asyncio.run(simulator.firing_texts(5, 0)) == []


def test_the_table_predicts_what_each_token_did_on_explain(make):
    explain = ["x red=4 red", "x green=1"]
    target = Target(make.spelled(explain, ["x red=9 green blue"]), 0)
    assert predicted(target, token_lookup(target)).tolist() == [0, 2, 1, 0]


def test_texts_of_the_table_come_from_its_best_tokens(make):
    # A hundred tokens act once; "red" acts often and is what the table knows best.
    once = [f"x word{number}=2 red=3" for number in range(100)]
    target = Target(make.spelled(once, ["x red=3"]), 0)
    rule = token_lookup(target).texts.rule
    (clause,) = rule.clauses
    (condition,) = clause.conditions
    assert condition.match.kind == "token"
    assert condition.match.values[0] == " red"
    assert len(condition.match.values) == MAX_VALUES
    assert clause.level * rule.unit == pytest.approx((300 + 15 * 2) / 115)


def test_texts_of_the_table_do_not_read_the_score_split(make):
    explain = ["x red=4 y", "x green=1 z"]
    one = Target(make.spelled(explain, ["x red=4"]), 0)
    other = Target(make.spelled(explain, ["q blue=4 word word"]), 0)
    for kind in ("firing_texts", "near_miss_texts"):
        texts = [asyncio.run(getattr(token_lookup(t), kind)(12, 3)) for t in (one, other)]
        assert texts[0] == texts[1] != []


def test_which_controls_there_are(make):
    target = Target(make.spelled(["red=8 green"], ["red=8 green"]), 0)
    own, other = make.explanation(make.rule({"red": 1.0})), make.explanation(make.rule({"x": 1.0}))
    always = ["shuffled_activations", "single_token", "token_lookup"]
    assert list(controls(target, own, other)) == ["random_explanation", *always]
    assert list(controls(target, own)) == always
    assert list(controls(target, own, one_shot=other)) == [*always, "one_shot"]
    silent = Target(make.spelled(["red green"], ["red"]), 0)
    assert list(controls(silent, own)) == ["shuffled_activations"]


# --- A single token ------------------------------------------------------------------------------


def test_the_single_token_is_the_commonest_that_fires(make):
    # "house" is commoner and acts weakly; "green" fires most strongly, once.
    explain = ["x red=4 house=0.1 red=2", "house=0.1 house=0.1 green=5", "red house red=0.1"]
    target = Target(make.spelled(explain, ["x red=4 green=5"]), 0)
    rule = single_token(target).rule
    ((condition,),) = [clause.conditions for clause in rule.clauses]
    assert condition.match.values == (" red",)
    assert rule.clauses[0].level * rule.unit == pytest.approx(3)  # of the two that fire
    assert predicted(target, single_token(target)).tolist() == pytest.approx([0, 3, 0])


# --- Shuffled activations ------------------------------------------------------------------------


def test_shuffling_moves_activations_and_nothing_else(make):
    target = Target(make.words({"red": 4.0, "green": 2.4}), 0, seed=3)
    shuffled = target_of("shuffled_activations", target)
    before, after = target.measured, shuffled.measured
    assert sorted(before) == sorted(after)
    assert not np.array_equal(before, after)
    assert shuffled.stats == target.stats
    assert shuffled.text is target.text
    again = target_of("shuffled_activations", target)
    assert np.array_equal(again.measured, after)
    other = target_of("shuffled_activations", Target(target.source, 0, seed=4))
    assert not np.array_equal(other.measured, after)
    assert target_of("explanation", target) is target_of("token_lookup", target) is target


@given(values=st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=2, max_size=30))
@settings(max_examples=25)
def test_every_token_is_as_likely_to_get_any_activation(make, values):
    """The shuffle is a true null: averaged over draws, what a token gets does not depend on it."""
    half = len(values) // 2
    texts = [" ".join(f"w={v}" for v in part) for part in (values[:half], values[half:]) if part]
    source = make.spelled(["w=5"], texts)
    draws = [target_of("shuffled_activations", Target(source, 0, n)).measured for n in range(600)]
    tolerance = 5 * np.std(values) / np.sqrt(600) + 1e-9
    assert np.abs(np.mean(draws, axis=0) - np.mean(values)).max() <= tolerance


def test_a_perfect_explanation_scores_nothing_on_shuffled_activations(make):
    own = make.explanation(make.rule({"red": 1.0, "green": 0.6}))
    source, pearsons, precisions = make.words({"red": 4.0, "green": 2.4}), [], []
    for seed in range(30):
        found = asyncio.run(
            score_explanation(own, source, 0, seed=seed, scorers=["predictive", "generated"])
        )
        assert found.scores["predictive_pearson"].value == pytest.approx(1)
        null = found.controls["shuffled_activations"].scores
        pearsons.append(null["predictive_pearson"].value)
        precisions.append(null["precision"].value)
        assert null["generative"].value is None
        assert "fresh texts" in null["generative"].reason
    assert np.mean(pearsons) == pytest.approx(0, abs=4 * np.std(pearsons) / np.sqrt(30))
    density = float((Target(source, 0).measured > 0).mean())
    assert np.mean(precisions) == pytest.approx(density, abs=4 * np.std(precisions) / np.sqrt(30))


@pytest.mark.parametrize("name", ["detection", "graded", "fuzzing", "discrimination"])
def test_scores_of_contexts_are_shuffled_too(make, name):
    """A perfect explanation knows nothing of shuffled activations, whichever contexts are drawn."""
    own = make.explanation(make.rule({"red": 1.0, "green": 0.6}))
    source = make.words({"red": 4.0, "green": 2.4})
    found = asyncio.run(score_explanation(own, source, 0, scorers=[name]))
    null = found.controls["shuffled_activations"].scores
    for score, one in found.scores.items():
        if one.value is not None and one.value > 0.9 and null[score].value is not None:
            assert null[score].value < 0.9, score
