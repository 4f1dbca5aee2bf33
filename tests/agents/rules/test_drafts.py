"""Texts that fit the context they are to run in."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.agents.rules.drafts import Draft, cut, fitted, room_of
from sagescope.agents.rules.language import Clause, Rule, current
from sagescope.agents.rules.match import predict
from sagescope.agents.rules.write import firing_drafts, near_miss_drafts


def pieces(texts):
    """Tokens of two characters at most, white space with what follows it."""
    return [tuple(re.findall(r"\s*\S{1,2}|\s+", text)) for text in texts]


words = st.lists(st.text("abcdef", min_size=1, max_size=6), max_size=12).map(" ".join)


@given(before=words, after=words, other=words, room=st.integers(1, 12))
def test_what_fits_has_its_trigger_and_differs_in_no_more_than_before(before, after, other, room):
    original = Draft(before, " KEPT", after, 0)
    (draft,) = fitted([Draft(before, " OTHER", after, 0, "edit", original)], pieces, None)
    assert draft.text == f"{before} OTHER{after}"
    for found in fitted([draft], pieces, room):
        assert found.original.text.replace("KEPT", "OTHER") == found.text
        assert " OTHER" in found.text
        assert max(map(len, pieces([found.text, found.original.text]))) <= room
        assert before.endswith(found.before)
        assert after.startswith(found.after)
        if len(pieces([draft.text])[0]) <= room:
            assert found == draft


def test_the_end_goes_before_the_beginning():
    long = Draft("one two three four", " five", " six seven", 0)
    by_room = {room: [one.text for one in fitted([long], str_words, room)] for room in (6, 5, 2, 1)}
    assert by_room == {
        6: ["one two three four five six"],
        5: ["one two three four five"],
        2: ["four five"],
        1: [" five"],
    }


def str_words(texts):
    return [tuple(text.split()) for text in texts]


def test_texts_are_cut_around_what_is_to_stay():
    text = "one two three four five six"
    keep = [None, "six", "one", "three", "nine"]
    assert cut([text] * 5, keep, str_words, 2) == [
        "one two",
        "five six",
        "one two",
        "two three",
        "one two",
    ]
    assert cut([text], [text], str_words, 2) == [None]
    assert cut([text], [None], str_words, None) == [text]


def test_text_without_spaces_is_cut_too():
    address, sentence = "https://example.com/" + "a" * 60, "日" * 50
    short = cut([address, sentence, ""], [None] * 3, lambda texts: [tuple(t) for t in texts], 45)
    assert short == [address[:40], sentence[:40], None]


@pytest.mark.parametrize("room", [3, 8, 20])
def test_texts_of_a_rule_fit_and_the_rule_still_says_so(room):
    rule = Rule(clauses=(Clause(conditions=(current("word", "maps"),), level=1.0),), unit=1.0)
    firing = firing_drafts(rule, 5, 0, pieces, room)
    missing = near_miss_drafts(rule, 5, 0, pieces, room)
    assert len(firing) == 5 or room == 3  # of which hardly any differ
    assert missing
    for drafts, fires in ((firing, True), (missing, False)):
        tokens = pieces([draft.text for draft in drafts])
        assert max(map(len, tokens)) <= room
        assert [bool(said.max() >= 1) for said in predict(rule, tokens)] == [fires] * len(drafts)


def test_a_source_may_not_say_how_much_room_there_is():
    assert room_of(object()) is None
