"""Rules as people write them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.agents.rules.language import Rule
from sagescope.experiments.sessions.rule_text import as_rule
from sagescope.sae.errors import RuleError


def test_the_short_form():
    rule = as_rule("word: bank, banks @ .9; shape: digits @ 0.25", 4.0)
    assert rule is not None
    first, second = rule.clauses
    assert (first.level, second.level, rule.unit) == (0.9, 0.25, 4.0)
    assert first.conditions[0].match.values == ("bank", "banks")  # pyright: ignore
    assert as_rule("regex: a{1,2}|b", 1.0).clauses[0].conditions[0].match.values == ("a{1,2}|b",)  # pyright: ignore


def test_the_long_form_as_text_and_as_values():
    values = {
        "clauses": [
            {
                "level": 0.5,
                "conditions": [
                    {"match": {"kind": "word", "values": ["bank"]}},
                    {
                        "match": {"kind": "word", "values": ["river"]},
                        "first": -8,
                        "last": -1,
                    },
                ],
            }
        ],
        "unit": 7.0,
    }
    before = json.dumps(values)
    rule = as_rule(values, 4.0)
    assert rule == as_rule(before, 1.0)
    assert json.dumps(values) == before
    assert rule is not None
    assert (rule.unit, rule.n_conditions) == (7.0, 2)
    assert as_rule(rule, 1.0) is rule
    assert as_rule(None, 1.0) is None


@pytest.mark.parametrize(
    "written",
    [
        "",
        "bank",
        "word:",
        "shape: triangles",
        "colour: red",
        "regex: (",
        "{",
        "[]",
        "{}",
        '{"clauses": 3}',
        '{"clauses": [1]}',
        '{"clauses": [{"level": 1, "conditions": 2}]}',
        '{"clauses": [{"level": 1, "conditions": [3]}]}',
        {"clauses": [], "more": 1},
        "regex: (a+)+b",
        "regex: (a|aa)+",
        "regex: a*a*a*a*a*b",
        "regex: " + "a" * 201,
        '{"clauses": [{"level": 1, "conditions": [{"match": {"kind": "regex", "values": ["(x+)+y"]}}]}]}',
    ],
)
def test_what_is_no_rule_is_one_sentence(written):
    with pytest.raises(RuleError) as caught:
        as_rule(written, 1.0)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_rule_or_a_sentence(written: str):
    with contextlib.suppress(RuleError):
        assert isinstance(as_rule(written, 1.0), Rule)
