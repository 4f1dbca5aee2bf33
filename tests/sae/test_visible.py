"""Hostile text becomes text to look at."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from sagescope.sae.visible import visible


def test_signs():
    assert visible("a\nb\tc") == "a↵b⇥c"
    assert visible("\x1b[31m\0\x9b\x7f") == "⟨U+001B⟩[31m⟨U+0000⟩⟨U+009B⟩⟨U+007F⟩"
    assert visible("\u202eevil\u2066\ud800") == "⟨U+202E⟩evil⟨U+2066⟩⟨U+D800⟩"


def test_ordinary_text_is_left_alone():
    for text in (
        "",
        "plain",
        "naïve – “quoted”",
        "日本語",
        "عربى",
        "👩‍🔬",
        "a\u0301",
        "<script>&amp;",
    ):
        assert visible(text) == text


@given(st.text(st.characters(codec=None)))
def test_nothing_is_left_that_acts_or_cannot_be_written(text: str):
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    bidi = {unicodedata.bidirectional(c) for c in shown}
    assert not bidi & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert visible(shown) == shown
