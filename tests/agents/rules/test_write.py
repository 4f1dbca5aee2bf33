import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.agents.rules.language import Clause, Match, Near, Position, Rule, current
from sagescope.agents.rules.match import predict
from sagescope.agents.rules.write import (
    distance_drafts,
    firing_drafts,
    firing_texts,
    near_miss_drafts,
    near_miss_texts,
    variant_drafts,
)
from sagescope.sae.evidence import FIRES_AT

from ..sentences import tokens_of


def tokenize(texts):
    return [tuple(tokens_of(text)) for text in texts]


def rule_of(*conditions, level=0.9):
    return Rule(clauses=(Clause(conditions=conditions, level=level),), unit=2.0)


def before(kind, *values, first=-1, last=-1, **more):
    return Near(match=Match(kind=kind, values=values), first=first, last=last, **more)


RULES = {
    "word": rule_of(current("word", "harbour")),
    "token": rule_of(current("token", " Monday", " Sunday")),
    "stem": rule_of(current("stem", "govern")),
    "shape": rule_of(current("shape", "digits")),
    "phrase": rule_of(current("word", "tea"), before("word", "green")),
    "skip": rule_of(current("word", "tea"), before("word", "green", first=-8)),
    "earlier": rule_of(current("word", "tea"), before("word", "green", first=None)),
    "absent": rule_of(current("word", "tea"), before("word", "green", negated=True)),
    "first": rule_of(Position(of="text", high=0)),
    "twice": rule_of(current("word", "tea"), before("word", "green", first=None, at_least=2)),
}


@pytest.mark.parametrize("name", RULES)
def test_texts_do_what_the_rule_says(name):
    rule = RULES[name]
    fires = firing_texts(rule, 8, 0, tokenize)
    assert len(set(fires)) == len(fires) >= 4
    for values in predict(rule, tokenize(fires)):
        assert values.max() >= 0.99 * 0.9 * rule.unit
    silent = near_miss_texts(rule, 8, 0, tokenize)
    assert len(set(silent)) == len(silent)
    for values in predict(rule, tokenize(silent)):
        assert values.max(initial=0) < FIRES_AT * rule.unit
    if name != "first":  # every text has a first token
        assert len(silent) == 8


@pytest.mark.parametrize(
    ("name", "edit"), [("phrase", "context removed"), ("absent", "blocker added")]
)
def test_near_misses_differ_from_a_firing_text_in_one_edit(name, edit):
    rule = RULES[name]
    drafts = near_miss_drafts(rule, 12, 0, tokenize)
    edits = {draft.edit for draft in drafts}
    assert edit in edits
    assert "trigger replaced" in edits or name == "absent"
    for draft in drafts:
        assert predict(rule, tokenize([draft.original.text]))[0].max() > 0
        assert draft.original.text != draft.text


def test_strong_clauses_are_written_first():
    weak = Clause(conditions=(current("word", "weak"),), level=0.2)
    rule = Rule(clauses=(*RULES["word"].clauses, weak), unit=1.0)
    assert all("harbour" in text for text in firing_texts(rule, 6, 0, tokenize))


def test_variants_recase_inflect_isolate_and_move():
    edits = {draft.edit for draft in variant_drafts(RULES["word"], 8, 0)}
    assert edits == {"recased", "inflected", "bare", "moved to the start"}


@pytest.mark.parametrize("word", ["銀行", "ª", "بنك", "12"])
def test_words_without_case_are_not_recased(word):
    drafts = variant_drafts(rule_of(current("word", word)), 8, 0)
    assert "recased" not in {draft.edit for draft in drafts}
    assert {"bare", "moved to the start"} <= {draft.edit for draft in drafts}


@given(st.sampled_from(["token", "word", "stem", "suffix"]), st.text(st.characters(codec=None)))
def test_rules_on_any_text_can_be_written_from(kind, text):
    rule = rule_of(current(kind, text), before("word", text, negated=True, first=-3))
    written = [
        *firing_drafts(rule, 4, 0, tokenize),
        *near_miss_drafts(rule, 4, 0, tokenize),
        *variant_drafts(rule, 8, 0),
    ]
    for draft in written:
        if draft.edit == "recased":
            assert draft.text != draft.original


def test_nothing_can_be_written_from_an_empty_rule():
    assert firing_drafts(Rule(unit=1.0), 5, 0, tokenize) == []
    assert near_miss_drafts(Rule(unit=1.0), 5, 0, tokenize) == []
    assert variant_drafts(Rule(unit=1.0), 5, 0) == []


def test_the_seed_decides():
    rule = RULES["word"]
    assert firing_texts(rule, 6, 1, tokenize) == firing_texts(rule, 6, 1, tokenize)
    assert firing_texts(rule, 6, 1, tokenize) != firing_texts(rule, 6, 2, tokenize)


def test_distance_drafts_move_what_must_stand_before_to_the_edge_of_its_stretch_and_beyond():
    near = Near(match=Match(kind="word", values=("river",)), first=-6, last=-1)
    rule = Rule(clauses=(Clause(conditions=(current("word", "bank"), near), level=1.0),), unit=1.0)
    places = []
    for draft in distance_drafts(rule, 8, seed=1):
        words = draft.text.replace(",", " ,").replace(".", " .").split()
        places.append(words.index("bank") - words.index("river"))
    assert sorted(places) == [3, 4, 6, 7]


def test_rules_that_look_at_one_place_or_none_have_no_distances():
    near = Near(match=Match(kind="word", values=("river",)), first=-1, last=-1)
    rule = Rule(clauses=(Clause(conditions=(current("word", "bank"), near), level=1.0),), unit=1.0)
    assert distance_drafts(rule, 8, seed=1) == []


def test_several_words_before_a_trigger_each_stand_in_their_place():
    rule = rule_of(
        current("word", "bank"),
        before("word", "side"),
        before("word", "river", first=-3, last=-3),
    )
    drafts = firing_drafts(rule, 6, seed=1, tokenize=tokenize)
    assert len(drafts) == 6
    assert all("river the side bank" in draft.text for draft in drafts)
