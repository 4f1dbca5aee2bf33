"""Recovery: the reference recovers what it says, half of it does not, and neither does a guess."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.agents.records import Explanation
from sagescope.agents.rules.language import Clause, Match, Near, Rule, current
from sagescope.experiments.planted import planted_source, recovery
from sagescope.experiments.planted.plans import Snippet


def said(rule: Rule | None) -> Explanation:
    return Explanation(labels=("a label",), description="It fires.", rule=rule)


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**9))
def test_references_recover_and_match_exactly_wherever_there_is_one(seed: int):
    source = planted_source(seed, per_class=5)
    for feature in source.features:
        if feature.form in ("dead", "noisy"):
            assert recovery(source, feature.index, feature.explanation).recovered is None
            continue
        found = recovery(source, feature.index, feature.explanation)
        assert found.recovered, feature.label
        assert found.equivalent, feature.label
        assert found.agreement == 1.0
        assert found.pearson == pytest.approx(1.0)


def halved(rule: Rule) -> Rule:
    """The rule with half of what it says taken away: clauses, conditions, or words."""
    if len(rule.clauses) > 1:
        return rule.model_copy(update={"clauses": rule.clauses[: len(rule.clauses) // 2]})
    (clause,) = rule.clauses
    if len(clause.conditions) > 1:
        kept: tuple = clause.conditions[:1]
    else:
        (near,) = clause.conditions
        values = near.match.values if isinstance(near, Near) else ()
        if len(values) < 2:
            return Rule(unit=rule.unit)
        match = Match(kind=near.match.kind, values=values[: len(values) // 2])
        kept = (near.model_copy(update={"match": match}),)
    return rule.model_copy(update={"clauses": (Clause(conditions=kept, level=clause.level),)})


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10**9))
def test_half_of_the_truth_does_not_recover(seed: int):
    source = planted_source(seed, per_class=5)
    for feature in source.features:
        rule = feature.explanation.rule
        if rule is None or not rule.clauses:
            continue
        half = recovery(source, feature.index, said(halved(rule)))
        assert not half.recovered, feature.label
        assert not half.equivalent, feature.label


def test_a_feature_of_another_class_or_none_at_all_does_not_recover():
    source = planted_source(1, per_class=1)
    for feature in source.features:
        if feature.form in ("dead", "noisy", "always on"):
            continue
        for wrong in (
            None,
            Rule(unit=1.0),
            Rule(clauses=(Clause(conditions=(current("word", "xyz"),), level=1),)),
        ):
            assert not recovery(source, feature.index, said(wrong)).recovered
        everywhere = Rule(clauses=(Clause(conditions=(current("shape", "anything"),), level=1),))
        assert not recovery(source, feature.index, said(everywhere)).recovered


def test_one_condition_left_out_shows_however_many_easy_texts_there_are():
    source = planted_source(4, per_class=1, classes=["context"])
    (feature,) = source.features
    easy = tuple(Snippet("another word", f"nothing number {n}") for n in range(500))
    feature = replace(feature, plan=replace(feature.plan, contrast=(*feature.plan.contrast, *easy)))
    source.features = (feature,)
    rule = feature.explanation.rule
    assert recovery(source, 0, feature.explanation).recovered
    assert not recovery(source, 0, said(halved(rule))).recovered


def test_the_wrong_token_of_the_right_text_does_not_recover():
    source = planted_source(0, per_class=1, classes=["phrase"])
    (feature,) = source.features
    rule = feature.explanation.rule
    *_, context = rule.clauses[0].conditions
    first = Near(match=context.match)  # the first word of the phrase instead of the last
    wrong = Rule(clauses=(Clause(conditions=(first,), level=1.0),), unit=rule.unit)
    assert not recovery(source, 0, said(wrong)).recovered
