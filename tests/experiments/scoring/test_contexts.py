"""The panel: where its contexts come from, what is in them, and in which order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.experiments.scoring import Context, Target
from sagescope.experiments.scoring.contexts import (
    FIRING,
    LENGTH,
    NEGATIVES,
    SILENT,
    WEAK,
    Drawn,
    mixed,
)
from sagescope.sae.source import FunctionSource

#: Two features that fire on neighbouring words, on long random texts.
WORDS = ["table", "window", "garden", "paper", "morning", "corner", "red", "green", "blue", "the"]


def texts(n: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, 90)) for _ in range(n)]


def fn(text: str, feature: int) -> list[tuple[str, float]]:
    """0: red, but after "the" only weakly, and never before "blue". 1: red and blue. 2: always."""
    words = text.split(" ")
    found = []
    for place, word in enumerate(words):
        before, after = words[place - 1], words[place + 1 : place + 2]
        value = {0: 0.0, 1: 2.0 * (word in ("red", "blue")), 2: 1.0}[feature]
        if feature == 0 and word == "red" and after != ["blue"] and len(text) % 3:
            value = 0.3 if before == "the" else 4.0 - place / 50
        found.append((word, value))
    return found


@pytest.fixture(scope="module")
def source() -> FunctionSource:
    return FunctionSource(fn, 3, texts(240))


@pytest.fixture(scope="module")
def target(source) -> Target:
    return Target(source, 0)


def test_every_kind_is_what_it_says(target):
    drawn = target.panel.drawn
    unit = target.stats.fires_at
    assert {one.kind for one in drawn} >= {"firing", *NEGATIVES}
    for one in drawn:
        assert one.activations.shape == (len(one.context.shown),)
        assert len(one.activations) <= LENGTH
        if one.kind == "firing":
            assert one.peak >= unit * (1 - 1e-6)
        elif one.kind == "weak":
            assert 0 < one.peak < unit
        else:
            assert one.peak == 0
    anchors = {kind: {one.context.tokens[one.anchor] for one in target.panel.of(kind)} for kind in NEGATIVES}  # fmt: skip
    assert anchors["near miss"] <= {" red", "red"}
    # Of the two others, one fires on red and blue, one on everything.
    assert anchors["neighbour"] & {" red", " blue", "red", "blue"}
    for one in drawn:
        assert one.context.first <= one.anchor < one.context.end


def test_activations_are_those_of_the_text_shown(target):
    for one in target.panel.drawn:
        values = [value for _, value in fn("".join(one.context.tokens).strip(), 0)]
        shown = values[one.context.first : one.context.end]
        assert one.activations.tolist() == pytest.approx(shown)


def test_no_explainer_saw_any_of_it(source, target):
    seen = source.evidence.reader("explainer").split("explain").tokens
    known = {"".join(seen.window(n)) for n in range(len(seen.starts) - 1)}
    asked = {"".join(one.context.tokens) for one in target.panel.drawn}
    assert asked
    assert not asked & known


def test_no_context_twice_in_a_kind(target):
    places = Counter((one.kind, one.document) for one in target.panel.drawn)
    assert set(places.values()) == {1}
    counts = Counter(one.kind for one in target.panel.drawn)
    most = {"firing": FIRING, "weak": WEAK, **dict.fromkeys(NEGATIVES, SILENT)}
    assert all(counts[kind] <= most[kind] for kind in counts)


def test_firing_contexts_are_spread_over_the_whole_range(target):
    peaks = target.held_out.peaks(0)
    peaks = np.sort(peaks[peaks >= target.stats.fires_at])[::-1]
    own = sorted((one.peak for one in target.panel.of("firing")), reverse=True)
    # One of each equal band of all firing windows, so that they stand for all of them.
    assert len(own) == min(FIRING, len(peaks))
    for band, peak in zip(np.array_split(peaks, len(own)), own, strict=True):
        assert band.min() - 1e-6 <= peak <= band.max() + 1e-6
    assert sum(one.stands_for for one in target.panel.of("firing")) == len(peaks)


def test_the_seed_decides_and_order_of_the_corpus_does_not(source):
    def of(seed: int, corpus: list[str]) -> list[tuple[str, str]]:
        panel = Target(FunctionSource(fn, 3, corpus), 0, seed).panel
        return [(one.kind, one.text) for one in panel.drawn]

    assert of(0, texts(240)) == of(0, texts(240))
    assert set(of(0, texts(240))) == set(of(0, texts(240)[::-1]))
    assert of(0, texts(240)) != of(1, texts(240))


def test_a_feature_that_always_fires_has_no_silent_context(source):
    panel = Target(source, 2).panel
    assert {one.kind for one in panel.drawn} == {"firing"}


def test_a_feature_that_never_fires_has_none_at_all(make):
    assert Target(make.spelled(["a b c"], ["a b c"]), 0).panel.drawn == ()


def test_short_windows_are_taken_whole(make):
    source = make.spelled(["x=4 y", "z"] * 5, ["x=4 y", "y z", "z"])
    assert {one.text for one in Target(source, 0).panel.drawn} == {"x y", "y z", "z"}


def plain(kind: str, number: int) -> Drawn:
    return Drawn(kind, Context.whole([str(number)]), 0, np.zeros(1), 0, number)


@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 30), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_mixing_loses_nothing_and_spreads_both_classes(firing, silent, others, seed):
    kinds = ["firing"] * firing + ["random"] * silent + ["near miss"] * others
    drawn = tuple(plain(kind, number) for number, kind in enumerate(kinds))
    order = mixed(drawn, seed)
    assert Counter(map(id, order)) == Counter(map(id, drawn))
    fires = [one.kind == "firing" for one in order]
    # However long a stretch is, its share of firing contexts is that of all, but for three.
    for start in range(0, len(fires), 7):
        stretch = fires[start : start + 20]
        expected = len(stretch) * firing / len(kinds)
        assert abs(sum(stretch) - expected) <= 3


def test_trouble_with_one_feature_leaves_the_others_neighbourless():
    def broken(text: str, feature: int):
        if feature == 1:
            raise RuntimeError("out of order")
        return fn(text, feature)

    panel = Target(FunctionSource(broken, 3, texts(120)), 0).panel
    assert {one.kind for one in panel.drawn} >= {"firing", "random"}
    assert not panel.of("neighbour")
