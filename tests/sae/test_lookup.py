"""The token lookup table and its correlation, against the plain way of computing them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagescope.sae.evidence import SplitEvidence
from sagescope.sae.lookup import TokenLookup, lookup_pearson, pearsons
from sagescope.sae.summary import QUANTILE_NAMES, summarise
from sagescope.sae.tokens import TokenTable


@st.composite
def splits(draw):
    """A split of random windows, some of one document, and sparse activations of 3 features."""
    windows = draw(
        st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=1, max_size=12)
    )
    documents = np.cumsum(
        draw(st.lists(st.booleans(), min_size=len(windows), max_size=len(windows)))
    )
    table = TokenTable.of(windows, documents.tolist())
    number = st.one_of(st.just(0.0), st.just(0.0), st.floats(-2, 9, width=16))
    values = draw(st.lists(number, min_size=3 * len(table), max_size=3 * len(table)))
    dense = np.array(values, np.float32).reshape(3, len(table))
    return SplitEvidence("explain", table, lambda feature: dense[feature])


def plain_pearson(split, feature):
    values = split.activations(feature).astype(float)
    documents = np.unique(split.tokens.documents, return_inverse=True)[1]
    half = documents[split.tokens.window_of] % 2
    found = []
    for side in (0, 1):
        fitted, measured = half == side, half != side
        table = {
            token: values[fitted & (split.tokens.ids == token)].mean()
            for token in set(split.tokens.ids[fitted].tolist())
        }
        x = np.array([table.get(token, 0.0) for token in split.tokens.ids[measured].tolist()])
        y = values[measured]
        flat = len(x) == 0 or x.std() < 1e-9 or y.std() < 1e-9
        found.append(0.0 if flat else np.corrcoef(x, y)[0, 1])
    return np.mean(found)


@settings(max_examples=150, deadline=None)
@given(splits())
def test_pearson_is_that_of_the_plain_computation(split):
    for feature in range(3):
        wanted = plain_pearson(split, feature)
        assert lookup_pearson(split, feature) == pytest.approx(wanted, abs=1e-5)
    together = pearsons(split.tokens, *split.entries([0, 1, 2]), 3)
    np.testing.assert_allclose(together, [lookup_pearson(split, f) for f in range(3)])


@settings(max_examples=60, deadline=None)
@given(splits())
def test_summary_is_that_of_each_feature(split):
    table = summarise({"explain": split}, [2, 0]).set_index("feature")
    for feature in (2, 0):
        stats, row = split.stats(feature), table.loc[feature]
        for name in ("fired", "density", "maximum", "mean", "typical_max"):
            assert row[name] == pytest.approx(getattr(stats, name), rel=1e-4, abs=1e-6)
        wanted = stats.quantiles or (0.0,) * len(QUANTILE_NAMES)
        np.testing.assert_allclose(row[list(QUANTILE_NAMES)].tolist(), wanted, rtol=1e-4)
        assert row["lookup_pearson"] == pytest.approx(lookup_pearson(split, feature))


def test_a_constant_has_no_correlation():
    """Also where sums of its squares do not round to exactly nothing."""
    table = TokenTable.of([["a", "b", "a"]] * 7)
    split = SplitEvidence("explain", table, lambda _: np.full(21, 0.1, np.float32))
    assert lookup_pearson(split, 0) == 0


def test_blocks_change_nothing(monkeypatch):
    from sagescope.sae import summary

    draw = np.random.default_rng(0)
    table = TokenTable.of([["a", "b", "c"]] * 40)
    dense = np.where(draw.random((9, 120)) < 0.3, draw.random((9, 120)), 0).astype(np.float32)
    split = SplitEvidence("explain", table, lambda feature: dense[feature])
    whole = summarise({"explain": split}, range(9))
    monkeypatch.setattr(summary, "BLOCK", 250)
    pd.testing.assert_frame_equal(summarise({"explain": split}, range(9)), whole)


def test_a_fitted_table_predicts_means():
    table = TokenTable.of([["a", "b"], ["a", "a"]])
    split = SplitEvidence("explain", table, lambda _: np.array([3, 0, 0, 0], np.float32))
    lookup = TokenLookup.fit(split, 0)
    assert lookup.means == {"a": 1.0}
    assert lookup.predict(["b", "a", "never seen", "a"]).tolist() == [0, 1, 0, 1]
    assert lookup.predict([]).tolist() == []


def test_a_word_feature_is_lexical_and_an_order_feature_is_not():
    draw = np.random.default_rng(1)
    windows = [draw.choice(list("abcdef"), 30).tolist() for _ in range(60)]
    table = TokenTable.of(windows)
    flat = [token for window in windows for token in window]
    word = np.array([token == "a" for token in flat], np.float32)
    order = np.array([i > 0 and flat[i - 1] == "a" for i in range(len(flat))], np.float32)
    split = SplitEvidence("explain", table, lambda feature: (word, order)[feature])
    assert lookup_pearson(split, 0) == pytest.approx(1)
    assert abs(lookup_pearson(split, 1)) < 0.1
