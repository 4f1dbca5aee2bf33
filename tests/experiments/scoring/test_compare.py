"""Differences between explainers: intervals, tests, corrections."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sagescope.experiments.scoring.compare import (
    EXACT_UP_TO,
    Difference,
    corrected,
    difference,
    differences,
    holm,
    sign_flip,
)
from sagescope.experiments.scoring.score import Score


def by_feature(values) -> dict[int, float]:
    return dict(enumerate(values))


# --- Holm ----------------------------------------------------------------------------------------


def test_holm_by_hand():
    # Sorted: .01 × 4 = .04; .02 × 3 = .06; .03 × 2 = .06; .04 × 1 = .04, raised to .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_keeps_order_and_never_helps(ps, random):
    adjusted = holm(ps)
    assert all(p <= after <= 1 for p, after in zip(ps, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(ps, kind="stable")] == sorted(adjusted)
    # No more strict than Bonferroni.
    assert all(after <= len(ps) * p + 1e-12 for p, after in zip(ps, adjusted, strict=True))
    shuffled = list(range(len(ps)))
    random.shuffle(shuffled)
    assert holm([ps[i] for i in shuffled]) == pytest.approx([adjusted[i] for i in shuffled])


# --- The sign-flip test --------------------------------------------------------------------------


def test_sign_flips_by_hand():
    # All of one sign: two of the 2⁵ ways are as extreme.
    assert sign_flip([1, 2, 3, 4, 5]) == 2 / 32
    # ±1 ±2 ±3 reach |2| in 6 of 8 ways (0 twice).
    assert sign_flip([1, -2, 3]) == 6 / 8
    assert sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([0.0, 1, 2, 3, 4, 5]) == 2 / 32


@pytest.mark.parametrize("n", [8, EXACT_UP_TO])
def test_the_exact_test_is_scipys(n: int):
    deltas = np.random.default_rng(n).normal(0.4, 1, n)
    theirs = stats.permutation_test(
        (deltas,), np.mean, permutation_type="samples", n_resamples=2**n, vectorized=False
    )
    assert sign_flip(deltas) == pytest.approx(theirs.pvalue)


def test_many_pairs_are_flipped_at_random():
    deltas = np.random.default_rng(3).normal(0.2, 1, 60)
    assert sign_flip(deltas, seed=1) == pytest.approx(stats.ttest_1samp(deltas, 0).pvalue, abs=0.02)
    assert sign_flip(deltas, seed=1) == sign_flip(deltas[::-1], seed=1)
    # The observed signs count among those tried: never a p of zero.
    assert sign_flip(np.ones(60)) == 1 / 10_001


def test_few_false_alarms():
    """Where neither side is better, about one comparison in twenty is called a difference."""
    draw = np.random.default_rng(7)
    found = [
        difference(by_feature(draw.random(16)), by_feature(draw.random(16)), seed=n).shown
        for n in range(200)
    ]
    assert sum(found) <= 18  # 5 % of 200, and three standard errors


# --- Differences ---------------------------------------------------------------------------------


def test_a_clear_difference():
    draw = np.random.default_rng(0)
    hard = draw.random(20)  # features differ far more than the two explainers do
    one = difference(by_feature(hard + 0.1), by_feature(hard + draw.normal(0, 0.02, 20)))
    assert one.value == pytest.approx(0.1, abs=0.02)
    assert one.low is not None
    assert 0.05 < one.low < one.value < one.high < 0.15
    assert one.n == 20
    assert one.left - one.right == pytest.approx(one.value)
    assert one.shown


def test_the_interval_is_that_of_the_paired_differences():
    draw = np.random.default_rng(1)
    left, right = draw.random(30), draw.random(30)
    one = difference(by_feature(left), by_feature(right), seed=4)
    theirs = stats.bootstrap(
        (np.sort(left - right),),
        np.mean,
        n_resamples=10_000,
        method="BCa",
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert (one.low, one.high) == pytest.approx((theirs.low, theirs.high))


def test_only_what_both_sides_have_counts():
    left = {"a": 0.9, "b": 0.5, "c": None, "d": Score.undefined("silent"), "e": 0.1}
    right = {"a": 0.7, "b": Score(value=0.4), "c": 0.2, "d": 0.3, "f": 1.0}
    one = difference(left, right)
    assert one.n == 2
    assert one.value == pytest.approx(0.15)
    nothing = difference(left, {"f": 1.0})
    assert (nothing.value, nothing.n, nothing.p, nothing.shown) == (None, 0, None, False)
    assert nothing.reason


def test_seeds_of_one_feature_are_no_more_features():
    once = difference(by_feature([0.5, 0.6, 0.9]), by_feature([0.4, 0.2, 0.1]))
    thrice = difference(
        {k: [v, v, v] for k, v in enumerate([0.5, 0.6, 0.9])}, by_feature([0.4, 0.2, 0.1])
    )
    assert once == thrice


def test_too_few_pairs_show_nothing():
    assert not difference(by_feature([1.0]), by_feature([0.0])).shown
    # The interval leaves out zero, but of four pairs the test cannot tell at this level.
    four = difference(by_feature([1, 1, 1, 0.9]), by_feature([0, 0, 0, 0]))
    assert four.low > 0
    assert four.p == 2 / 16
    assert not four.shown


def test_equal_sides_show_nothing():
    same = by_feature(np.random.default_rng(0).random(20))
    one = difference(same, same)
    assert (one.value, one.low, one.high, one.p, one.shown) == (0, None, None, 1, False)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=14),
    st.integers(0, 1000),
)
@settings(max_examples=30)
def test_the_other_way_round_is_the_negative(pairs, seed):
    left, right = (by_feature(side) for side in zip(*pairs, strict=True))
    there, back = difference(left, right, seed), difference(right, left, seed)
    assert there.value == pytest.approx(-back.value, abs=1e-12)
    assert there.p == pytest.approx(back.p, abs=1e-9)
    assert there.n == back.n


# --- Several at once -----------------------------------------------------------------------------


def test_several_sides_are_corrected_together():
    draw = np.random.default_rng(5)
    base = draw.random(16)
    sides = {
        "a": by_feature(base + 0.05 + draw.normal(0, 0.05, 16)),
        "b": by_feature(base),
        "c": by_feature(base + np.tile([0.05, -0.05], 8)),
    }
    found = differences(sides)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = {pair: difference(sides[pair[0]], sides[pair[1]]).p for pair in found}
    adjusted = dict(zip(alone, holm(list(alone.values())), strict=True))
    assert {pair: one.adjusted for pair, one in found.items()} == pytest.approx(adjusted)
    assert found["a", "b"].shown
    assert not found["b", "c"].shown


def test_a_difference_can_be_lost_by_correction():
    one = Difference(value=0.1, low=0.01, high=0.2, n=20, p=0.03, adjusted=0.03)
    assert one.shown
    many = corrected({"this": one, **{str(n): one for n in range(3)}})
    assert many["this"].adjusted == pytest.approx(0.12)
    assert not many["this"].shown
    without = corrected({"this": one, "none": Difference(value=None, reason="no pair")})
    assert math.isclose(without["this"].adjusted or 0, 0.03)
