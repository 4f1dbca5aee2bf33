"""The controls that stand beside every score."""

import asyncio

import numpy as np
import pytest

from sagescope.agents.rules.language import MAX_VALUES
from sagescope.experiments.scoring.bench import Target
from sagescope.experiments.scoring.controls import controls, random_explanation, token_lookup


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
    other = make.explanation(make.rule({"green": 1.0}))
    assert list(controls(target, other)) == ["random_explanation", "token_lookup"]
    assert list(controls(target, None)) == ["token_lookup"]
    silent = Target(make.spelled(["red green"], ["red"]), 0)
    assert list(controls(silent, None)) == []
