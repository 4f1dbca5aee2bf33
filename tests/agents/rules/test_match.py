import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sagescope.agents.rules.language import Clause, Match, Near, Position, Rule, current
from sagescope.agents.rules.match import Matcher, predict
from sagescope.sae.tokens import TokenTable


def holds(condition, *texts):
    table = TokenTable.of(texts)
    return Matcher(table).condition(condition).astype(int).tolist()


def near(kind, *values, **where):
    return Near(match=Match(kind=kind, values=values), **where)


def test_tokens_count_case_and_space_and_words_do_not():
    text = (" Run", " run", "run", " RUN")
    assert holds(current("token", " run"), text) == [0, 1, 0, 0]
    assert holds(current("word", "Run"), text[:2]) == [1, 1]


def test_a_word_is_what_its_pieces_spell_so_far():
    text = (" un", "believ", "able", "!", " able")
    assert holds(current("word", "unbelievable"), text) == [0, 0, 1, 0, 0]
    assert holds(current("stem", "unbel"), text) == [0, 1, 1, 0, 0]
    assert holds(current("suffix", "able"), text) == [0, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"first": -1, "last": -1}, [0, 1, 0, 0]),
        ({"first": -2, "last": -2}, [0, 0, 1, 0]),
        ({"first": -3, "last": -1}, [0, 1, 1, 1]),
        ({"first": None, "last": 0}, [1, 1, 1, 1]),
        ({"first": 1, "last": 2}, [0, 0, 0, 0]),
    ],
)
def test_windows_reach_where_they_say(where, expected):
    assert holds(near("word", "a", **where), ("a", " b", " c", " d")) == expected


def test_windows_end_at_the_border_of_a_text():
    assert holds(near("word", "a", first=None, last=-1), ("a", " b"), (" c",)) == [0, 1, 0]


def test_counting_and_absence():
    text = (" a", " a", " b", " a", " c")
    twice = near("word", "a", first=None, last=-1, at_least=2)
    assert holds(twice, text) == [0, 0, 1, 1, 1]
    assert holds(twice.model_copy(update={"negated": True}), text) == [1, 1, 0, 0, 0]


def test_places_in_text_and_sentence():
    text = (" A", " b", ".", " C", " d")
    assert holds(Position(of="text", low=1, high=2), text) == [0, 1, 1, 0, 0]
    assert holds(Position(of="sentence", low=0, high=0), text) == [1, 0, 0, 1, 0]


def test_shapes_and_patterns():
    text = (" 12", " NASA", " Anna", ",", " x1")
    assert holds(current("shape", "digits"), text) == [1, 0, 0, 0, 0]
    assert holds(current("shape", "all capitals", "capitalised"), text) == [0, 1, 1, 0, 0]
    assert holds(current("regex", r"[a-z]\d"), text) == [0, 0, 0, 0, 1]


def test_the_highest_clause_decides():
    rule = Rule(
        clauses=(
            Clause(conditions=(current("word", "a", "b"),), level=0.5),
            Clause(conditions=(current("word", "b"),), level=1.0),
        ),
        unit=4.0,
    )
    assert predict(rule, [(" a", " b", " c")])[0].tolist() == [2.0, 4.0, 0.0]


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "shape", "values": ["circle"]},
        {"kind": "regex", "values": ["("]},
        {"kind": "word", "values": []},
        {"kind": "colour", "values": ["red"]},
    ],
)
def test_bad_matches_are_refused(bad):
    with pytest.raises(ValidationError):
        Match.model_validate(bad)


def test_a_window_must_not_end_before_it_begins():
    with pytest.raises(ValidationError, match="behind the last"):
        near("word", "a", first=0, last=-2)


tokens = st.lists(st.sampled_from([" a", "b", " B", ".", "\n", "", " é", "7", "\x00"]), max_size=12)
matches = st.one_of(
    st.builds(
        Match,
        kind=st.sampled_from(["token", "word", "stem", "suffix"]),
        values=st.lists(st.text(max_size=3), min_size=1, max_size=3).map(tuple),
    ),
    st.just(Match(kind="shape", values=("punctuation",))),
)
conditions = st.one_of(
    st.builds(
        lambda match, ends, times, negated: Near(
            match=match, first=min(ends), last=max(ends), at_least=times, negated=negated
        ),
        matches,
        st.tuples(st.integers(-9, 3), st.integers(-9, 3)),
        st.integers(1, 3),
        st.booleans(),
    ),
    st.builds(Position, of=st.sampled_from(["text", "sentence"]), low=st.integers(0, 4)),
)
rules = st.builds(
    Rule,
    clauses=st.lists(
        st.builds(
            Clause,
            conditions=st.lists(conditions, min_size=1, max_size=3).map(tuple),
            level=st.floats(0, 1.5),
        ),
        max_size=3,
    ).map(tuple),
    unit=st.floats(0, 100),
)


@given(rule=rules, texts=st.lists(tokens, max_size=4))
def test_a_text_is_predicted_alone_as_among_others(rule, texts):
    together = predict(rule, texts)
    assert len(together) == len(texts)
    for text, values in zip(texts, together, strict=True):
        assert values.shape == (len(text),)
        np.testing.assert_array_equal(values, predict(rule, [text])[0])


@given(rule=rules)
def test_rules_come_back_from_json_as_they_were(rule):
    assert Rule.model_validate_json(rule.model_dump_json()) == rule


def test_windows_count_as_a_slow_reading_of_their_definition():
    draw = np.random.default_rng(0)
    texts = [tuple(draw.choice([" a", " b", " c"], size=n)) for n in (0, 1, 7, 20)]
    for first, last, times in [
        (-3, -1, 1),
        (-3, 0, 2),
        (None, -1, 3),
        (None, -3, 1),
        (None, 1, 2),
        (-1, 2, 2),
    ]:
        condition = near("word", "a", first=first, last=last, at_least=times)
        slow = [
            sum(
                text[j] == " a"
                for j in range(
                    0 if first is None else max(0, i + first), min(len(text), i + last + 1)
                )
            )
            >= times
            for text in texts
            for i in range(len(text))
        ]
        assert holds(condition, *texts) == [int(value) for value in slow]
