"""Evidence: who may read what, and what is read off it."""

import numpy as np
import pytest
import tiny

from sagescope.sae.errors import FeatureError, WrongSplit
from sagescope.sae.evidence import FIRES_AT, Evidence, SplitEvidence
from sagescope.sae.source import FunctionSource
from sagescope.sae.tokens import TokenTable

WINDOWS = [
    ["the", " cat", " sat"],
    ["a", " dog"],
    [],
    ["the", " cat"],
    [" cat", " dog", " ran"],
    [" fish"],
]
VALUES = np.array([0, 3, 0, 0, 0.5, 0, 2, 0, 0, 0, 0], np.float32)


@pytest.fixture
def split():
    return SplitEvidence("explain", TokenTable.of(WINDOWS), lambda feature: VALUES * (feature + 1))


def test_peaks(split):
    assert split.peaks(0).tolist() == [3, 0.5, 0, 2, 0, 0]
    assert split.peaks(1).tolist() == [6, 1, 0, 4, 0, 0]


def test_peaks_around_empty_windows():
    table = TokenTable.of([[], ["a"], [], [], ["b", "c"], [], []])
    split = SplitEvidence("explain", table, lambda _: np.array([1, 0, 2], np.float32))
    assert split.peaks(0).tolist() == [0, 1, 0, 0, 2, 0, 0]


def test_stats(split):
    stats = split.stats(0)
    assert (stats.tokens, stats.fired, stats.maximum) == (11, 3, 3)
    assert stats.density == pytest.approx(3 / 11)
    assert stats.mean == pytest.approx(5.5 / 3)
    assert stats.typical_max == pytest.approx(5.5 / 3)
    assert stats.fires_at == pytest.approx(FIRES_AT * 5.5 / 3)
    assert stats.quantiles[2] == 2


def test_stats_of_a_silent_feature():
    silent = SplitEvidence("explain", TokenTable.of(WINDOWS), lambda _: np.zeros(11, np.float32))
    stats = silent.stats(0)
    assert (stats.fired, stats.density, stats.maximum, stats.mean) == (0, 0, 0, 0)
    assert stats.quantiles == ()
    assert silent.top(0, 5) == silent.spread(0, 5) == silent.near_misses(0, 5) == []
    assert len(silent.silent(0, 99)) == len(WINDOWS)


def test_an_empty_split():
    empty = SplitEvidence("explain", TokenTable.of([]), lambda _: np.zeros(0, np.float32))
    assert empty.stats(0).tokens == 0
    assert empty.top(0, 3) == empty.silent(0, 3) == []
    assert [len(part) for part in empty.entries([0])] == [0, 0, 0]


def test_exemplars(split):
    top = split.top(0, 2)
    assert [exemplar.window for exemplar in top] == [0, 3]
    assert top[0].tokens == ("the", " cat", " sat")
    assert top[0].peak == 1
    assert sorted(e.window for e in split.spread(0, 3)) == [0, 1, 3]
    assert sorted(e.window for e in split.silent(0, 9)) == [2, 4, 5]
    # Silent, but it holds " cat" and " dog", on which the feature fires elsewhere.
    assert [e.window for e in split.near_misses(0, 9)] == [4]


def test_drawing_follows_the_seed(split):
    draws = {tuple(e.window for e in split.silent(0, 2, seed)) for seed in range(20)}
    assert len(draws) > 1
    assert [e.window for e in split.silent(0, 3, 7)] == [e.window for e in split.silent(0, 3, 7)]


def test_entries_of_several_features(split):
    places, at, values = split.entries([1, 0])
    assert places.tolist() == [0, 0, 0, 1, 1, 1]
    assert at.tolist() == [1, 4, 6] * 2
    assert values.tolist() == [6, 1, 4, 3, 0.5, 2]


# --- who may read what ---------------------------------------------------------------------------


@pytest.fixture
def evidence(split):
    splits = {name: split for name in ("explain", "select", "score")}
    return Evidence(splits, range(2))


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("explainer", {"explain"}),
        ("selector", {"explain", "select"}),
        ("scorer", {"explain", "score"}),
    ],
)
def test_a_reader_gets_the_splits_of_its_role(role, allowed, evidence):
    reader = evidence.reader(role)
    for name in ("explain", "select", "score", "other"):
        if name in allowed:
            assert reader.split(name) is evidence.splits[name]
            assert len(reader.table(name)) == 2
        else:
            with pytest.raises(WrongSplit, match=f"A {role} may read"):
                reader.split(name)
            with pytest.raises(WrongSplit):
                reader.table(name)


def test_table_and_strata_of_a_function():
    def fn(text, feature):
        words = text.split()
        if feature == 0:
            return [(word, 1.0 + len(word) if word in ("cat", "dog") else 0.0) for word in words]
        return [(word, float(i > 0 and words[i - 1] == "the")) for i, word in enumerate(words)]

    source = FunctionSource(fn, 2, tiny.sentences(150))
    table = source.evidence.table()
    assert table.index.tolist() == [0, 1]
    assert source.evidence.stratum(0) == table.loc[0, "stratum"] == "lexical"
    assert source.evidence.stratum(1) == "contextual"
    stats = source.evidence.reader("explainer").split("explain").stats(0)
    for name in ("fired", "density", "maximum", "mean", "typical_max"):
        assert table.loc[0, name] == pytest.approx(getattr(stats, name), rel=1e-6)
    with pytest.raises(FeatureError):
        source.evidence.stratum(2)
