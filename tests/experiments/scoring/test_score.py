"""Scores and their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from sagescope.experiments.scoring.score import (
    Score,
    harmonic,
    interval,
    mean_with_interval,
    of_units,
    ratio,
    share,
)


def rows(values: list[float]) -> np.ndarray:
    return np.array([[value, 1.0] for value in values]).reshape(-1, 2)


# --- Score ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_never_becomes_a_score(value: float):
    with pytest.raises(ValidationError):
        Score(value=value)
    with pytest.raises(ValidationError):
        Score(value=0.5, low=value, high=0.6, n=3)


def test_an_undefined_score_says_why():
    assert Score.undefined("nothing to see").model_dump() == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "failed": 0,
        "reason": "nothing to see",
    }
    with pytest.raises(ValidationError, match="must say why"):
        Score(value=None)


def test_an_interval_has_two_ends():
    with pytest.raises(ValidationError, match="two ends"):
        Score(value=0.5, low=0.1)
    with pytest.raises(ValidationError, match="no interval"):
        Score(value=None, low=0.1, high=0.2, reason="x")


# --- Intervals -----------------------------------------------------------------------------------


def test_the_value_is_the_statistic_of_all_units():
    assert of_units(rows([1, 2, 6]), ratio, 0, undefined="").value == 3
    # A ratio of sums, not a mean of ratios.
    assert of_units(np.array([[1.0, 1.0], [0.0, 3.0]]), ratio, 0, undefined="").value == 0.25


@pytest.mark.parametrize(("n", "method"), [(5, "percentile"), (40, "BCa"), (600, "percentile")])
def test_the_interval_is_scipys(n: int, method: str):
    values = np.random.default_rng(1).exponential(size=n)
    low, high = interval(rows(values.tolist()), ratio, seed=3) or (0, 0)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=1000, method=method, rng=np.random.default_rng(3)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


@given(
    # Values that differ by so little that sums hardly tell them apart have no interval.
    st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=3, max_size=30),
    st.integers(0, 2**31),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_order_decides_nothing_and_bounds_hold(values, seed, random):
    one = of_units(rows(values), ratio, seed, undefined="none")
    random.shuffle(values)
    assert of_units(rows(values), ratio, seed, undefined="none") == one
    if len(set(values)) == 1:
        assert one.low is one.high is None
        return
    assert one.low is not None
    assert one.high is not None
    assert min(values) - 1e-9 <= one.low <= one.high <= max(values) + 1e-9


def test_degenerate_cases():
    assert of_units(rows([]), ratio, 0, undefined="nothing").reason == "nothing"
    assert of_units(rows([0.3]), ratio, 0, undefined="") == Score(value=0.3, n=1)
    alike = of_units(rows([0.5] * 10), ratio, 0, undefined="")
    assert (alike.low, alike.high) == (None, None)


def test_resamples_without_a_value_are_left_out():
    # Two units in twelve have a denominator: one resample in nine misses both.
    units = np.array([[1.0, 2.0], [2.0, 2.0]] + [[0.0, 0.0]] * 10)
    assert interval(units, ratio, 0) == pytest.approx((0.5, 1.0))
    # One in 1000 resamples or so has a value when only a fleeting sum decides: no interval.
    assert interval(units, lambda t: np.where(t[..., 1] > 8, 1.0, np.nan), 0) is None


# --- Shares and means ----------------------------------------------------------------------------


def test_share():
    score = share([True, True, True, False], 0, undefined="", failed=2)
    assert (score.value, score.n, score.failed) == (0.75, 4, 2)
    assert share([], 0, undefined="no text", failed=3) == Score.undefined("no text", failed=3)


@pytest.mark.parametrize("passed", [True, False])
def test_a_share_of_all_alike_is_not_certain(passed: bool):
    score = share([passed] * 24, 0, undefined="")
    z2 = stats.norm.ppf(0.975) ** 2
    wilson = 24 / (24 + z2)
    expected = (wilson, 1.0) if passed else (0.0, 1 - wilson)
    assert (score.low, score.high) == pytest.approx(expected)


def test_harmonic():
    assert harmonic(1.0, 0.5) == pytest.approx(2 / 3)
    assert harmonic(0.0, 0.0) == 0


def test_mean_over_features():
    mean = mean_with_interval([Score(value=0.2, n=5), 0.4, Score.undefined("silent"), None])
    assert mean.value == pytest.approx(0.3)
    assert (mean.n, mean.reason) == (2, "undefined for 2 of 4")
    assert mean_with_interval([]).reason == "there is no feature"
    assert mean_with_interval([None]).value is None


def test_several_values_of_one_feature_are_one_unit():
    draw = np.random.default_rng(0)
    values = np.repeat(draw.random(10), 20)
    alone = mean_with_interval(values.tolist())
    together = mean_with_interval(values.tolist(), clusters=np.repeat(np.arange(10), 20).tolist())
    assert together.value == pytest.approx(alone.value)
    assert (alone.n, together.n) == (200, 10)
    assert together.high - together.low > 2 * (alone.high - alone.low)


@given(st.sampled_from([0.0, 0.4, 1.0]), st.integers(1, 12))
def test_units_that_are_all_alike_claim_no_certainty(value, n):
    found = mean_with_interval([value] * n)
    assert found.value == pytest.approx(value)
    assert found.low is found.high is None


def test_two_units_have_no_interval():
    assert mean_with_interval([0.1, 0.9]).low is None
    assert mean_with_interval([0.1, 0.5, 0.9]).low is not None
