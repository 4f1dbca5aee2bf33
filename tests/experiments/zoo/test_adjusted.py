"""Scores adjusted for how often features fire, against what was put into them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagescope.experiments.leaderboard.saes import band_of
from sagescope.experiments.zoo.adjusted import (
    Scored,
    all_corrected,
    at_one_density,
    by_firings,
    differences,
    permuted,
    raw,
    slope,
)

RARE, DENSE = (-3.0, -2.0), (-2.0, -1.0)


def planted(better=0.0, per_ten=0.2, noise=0.01, n=48, seed=0):
    """Two SAEs, of rare and of dense features: the score rises with the density in both."""
    draw = np.random.default_rng(seed)
    found = {}
    for name, (low, high), own in (("rare", RARE, 0.0), ("dense", DENSE, better)):
        logs = draw.uniform(low, high, n)
        value = 0.9 + own + per_ten * logs + draw.normal(0, noise, n)
        found[name] = Scored.of(10**logs, value)
    return found


def test_what_frequency_does_is_taken_out():
    saes = planted()
    assert slope(saes) == pytest.approx(0.2, abs=0.01)
    plain, adjusted = raw(saes), at_one_density(saes)
    assert plain["dense"].value - plain["rare"].value > 0.15
    assert adjusted["dense"].value == pytest.approx(adjusted["rare"].value, abs=0.015)


def test_what_an_sae_does_is_left_in():
    adjusted = at_one_density(planted(better=0.1))
    assert adjusted["dense"].value - adjusted["rare"].value == pytest.approx(0.1, abs=0.015)


def test_differences_are_shown_where_there_are_any():
    by_frequency = differences(planted(noise=0.1), "rare", adjust=True)["dense"]
    assert by_frequency.low < 0 < by_frequency.high
    assert not by_frequency.shown
    raw_difference = differences(planted(noise=0.1), "rare", adjust=False)["dense"]
    assert raw_difference.shown
    assert raw_difference.value > 0
    better = differences(planted(better=0.3, noise=0.1), "rare", adjust=True)["dense"]
    assert better.shown
    assert better.low < 0.3 < better.high


def test_intervals_hold_what_they_say():
    """95 % of the intervals of the adjusted difference hold the true one, give or take."""
    held = 0
    for seed in range(40):
        found = differences(planted(better=0.05, noise=0.2, seed=seed), "rare", adjust=True)
        held += found["dense"].low <= 0.05 <= found["dense"].high
    assert 33 <= held <= 40


@given(st.floats(-5, 5), st.floats(0.1, 5))
def test_scores_in_another_unit_are_adjusted_in_that_unit(shift, scale):
    saes = planted(n=8)
    moved = {name: Scored(one.density, one.value * scale + shift) for name, one in saes.items()}
    for name, score in at_one_density(moved).items():
        assert score.value == pytest.approx(at_one_density(saes)[name].value * scale + shift)


def test_equal_densities_need_no_adjustment():
    saes = {
        name: Scored.of([0.01] * 5, np.arange(5) / 10 + add) for name, add in (("a", 0), ("b", 1))
    }
    assert slope(saes) == 0
    assert at_one_density(saes)["b"].value == raw(saes)["b"].value == pytest.approx(1.2)


def test_other_saes_do_not_move_a_raw_score():
    saes = planted()
    assert raw(saes)["rare"] == raw({"rare": saes["rare"]})["rare"]


def test_by_firings_counts_a_band_as_much_as_it_fires():
    one = {"sae": Scored.of([0.2] * 4 + [0.02] * 4, [0.1, 0.3, 0.15, 0.25, 0.9, 0.7, 0.8, 0.8])}
    firings = {"sae": {band_of(0.2): 9.0, band_of(0.02): 1.0, band_of(0.002): 10.0}}
    found = by_firings(one, firings)["sae"]
    assert found.score.value == pytest.approx(0.9 * 0.2 + 0.1 * 0.8)
    assert found.reached == pytest.approx(0.5)
    assert found.score.low < found.score.value < found.score.high


def test_a_feature_alone_in_its_band_is_not_certain():
    """Resampled by itself it would never vary."""
    found = {}
    for heavy in (1.0, 3.0):
        one = Scored.of([0.2] + [0.02] * 20, [0.5] + [0.1, 0.9] * 10)
        firings = {"sae": {band_of(0.2): heavy, band_of(0.02): 9.0}}
        found[heavy] = by_firings({"sae": one}, firings)["sae"].score
    assert found[1.0].high - found[1.0].low < found[3.0].high - found[3.0].low
    one = Scored.of([0.2] + [0.02] * 20, [0.5] + [0.1, 0.9] * 10)
    most = by_firings({"sae": one}, {"sae": {band_of(0.2): 9.0, band_of(0.02): 1.0}})["sae"].score
    assert most.value == pytest.approx(0.5)
    assert (most.low, most.high) == (None, None)
    assert "fewer than three features" in most.reason


def test_few_features_have_no_interval():
    found = raw({"sae": Scored.of([0.1, 0.2], [0.4, 0.6])})["sae"]
    assert (found.value, found.low, found.n) == (0.5, None, 2)
    assert "fewer than three" in found.reason


def test_a_feature_that_never_fires_is_refused():
    with pytest.raises(ValueError, match="never fires"):
        Scored.of([0.1, 0.0], [0.4, 0.6])


def test_the_permutation_test_against_all_permutations():
    one, other = np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0])
    # Of 20 ways to deal six values out, two are as far apart.
    assert permuted(one, other) == pytest.approx(2 / 20, abs=0.01)
    assert permuted(one, one) == 1


def test_all_comparisons_are_corrected_together():
    found = {score: differences(planted(better=0.05), "rare", True) for score in ("a", "b", "c")}
    for score, by in all_corrected(found).items():
        assert by["dense"].adjusted == pytest.approx(min(1, 3 * found[score]["dense"].p))
