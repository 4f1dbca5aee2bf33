"""The rule that draws features of several SAEs so that they fire alike."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sagescope.experiments.leaderboard.saes import band_of
from sagescope.experiments.zoo.draw import matched
from sagescope.sae.errors import FeatureError

DENSITIES = st.dictionaries(
    st.integers(0, 5000), st.floats(1e-5, 1.0, allow_nan=False), min_size=1, max_size=60
)
SAES = st.dictionaries(st.sampled_from("abcde"), DENSITIES, min_size=1, max_size=4)


def room(saes) -> int:
    """How many places all SAEs can fill."""
    counts = [
        {band: [*map(band_of, own.values())].count(band) for band in map(band_of, own.values())}
        for own in saes.values()
    ]
    common = set.intersection(*(set(one) for one in counts))
    return sum(min(one[band] for one in counts) for band in common)


@given(SAES, st.integers(0, 99), st.data())
def test_features_at_a_place_fire_alike(saes, seed, data):
    assume(room(saes))
    n = data.draw(st.integers(1, room(saes)))
    drawn = matched(saes, n, seed)
    assert drawn.keys() == saes.keys()
    for name, features in drawn.items():
        assert len(features) == len(set(features)) == n
        assert set(features) <= set(saes[name])
    for features in zip(*drawn.values(), strict=True):
        bands = {band_of(saes[name][one]) for name, one in zip(drawn, features, strict=True)}
        assert len(bands) == 1


@given(SAES, st.integers(0, 99))
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(saes, seed):
    most = room(saes)
    assume(most)
    whole = matched(saes, most, seed)
    for n in {1, most // 2} - {0}:
        assert matched(saes, n, seed) == {name: own[:n] for name, own in whole.items()}


@given(SAES, st.integers(0, 99))
def test_the_order_of_features_changes_nothing(saes, seed):
    most = room(saes)
    assume(most)
    turned = {name: dict(reversed(own.items())) for name, own in saes.items()}
    assert matched(turned, most, seed) == matched(saes, most, seed)


@given(SAES)
def test_more_than_match_is_refused(saes):
    with pytest.raises(FeatureError, match=f"Only {room(saes)} features"):
        matched(saes, room(saes) + 1, 0)


def test_the_sae_that_fires_otherwise_is_named():
    usual = {feature: 0.01 for feature in range(9)}
    saes = {"one": usual, "other": usual, "dense": {0: 0.5, 1: 0.01}}
    with pytest.raises(FeatureError, match=r"Only 1 features.*\(dense\)"):
        matched(saes, 4, 0)


def test_seeds_draw_others():
    saes = {name: {f: 10 ** -(1 + 3 * f / 400) for f in range(400)} for name in "ab"}
    draws = {tuple(matched(saes, 30, seed)["a"]) for seed in range(5)}
    assert len(draws) == 5


def test_places_come_from_all_bands_alike():
    """A band that has twice as many features of the scarcest SAE is drawn from twice as often."""
    one = {f: 0.2 for f in range(200)} | {f: 0.02 for f in range(200, 300)}
    saes = {"one": one, "other": {f: 0.2 for f in range(200)} | {f: 0.02 for f in range(500, 900)}}
    dense = np.mean([np.mean(np.array(matched(saes, 60, seed)["one"]) < 200) for seed in range(50)])
    assert dense == pytest.approx(2 / 3, abs=0.03)
