"""What can be told apart, and what cannot."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array

from sagescope.sae.identifiability import Mixing, Support, turn_of


def sparse_codes(tokens=4000, latents=12, share=0.15, seed=0):
    draw = np.random.default_rng(seed)
    return (draw.random((tokens, latents)) < share) * draw.uniform(0.5, 2, (tokens, latents))


def directions(latents=12, d=16, seed=0):
    return np.random.default_rng(seed).normal(size=(latents, d))


def test_an_orthogonal_decoder_is_as_good_as_it_gets():
    found = Mixing.of(2.5 * np.eye(8))
    assert found.coherence == 0
    assert found.condition == pytest.approx(1)
    assert found.spark_sampled == found.spark_certain == 9


def test_two_latents_of_one_direction_depend_on_each_other():
    rows = np.concatenate([np.eye(6), [[0, 0, 1.0, 0, 0, 0]]])
    found = Mixing.of(rows)
    assert found.coherence == pytest.approx(1)
    assert found.spark_certain == pytest.approx(2)
    assert found.l0_bound == pytest.approx(1)
    assert found.condition == pytest.approx(2)


@given(st.integers(0, 500), st.integers(3, 30), st.integers(4, 12))
@settings(max_examples=30, deadline=None)
def test_what_is_certain_of_the_spark_is_never_above_what_sampling_leaves(seed, latents, d):
    found = Mixing.of(directions(latents, d, seed))
    assert found.spark_certain <= found.spark_sampled + 1e-6 <= min(latents, d) + 1.1
    assert found.l0_bound == pytest.approx((1 + 1 / found.coherence) / 2)
    assert math.isfinite(found.condition)


def test_independent_latents_have_no_ties():
    found = Support.of(csc_array(sparse_codes()), directions())
    assert found.pairs == ()
    assert (found.living, found.known, found.never_alone) == (12, 12, 0)
    assert found.diversity > 0.7
    assert found.l0 == pytest.approx(12 * 0.15, rel=0.1)


def test_tied_latents_are_found_and_are_ambiguous():
    codes = sparse_codes()
    together = codes[:, [4]] > 0
    draw = np.random.default_rng(1)
    codes[:, [7]] = together * draw.uniform(0.5, 2, (len(codes), 1))
    found = Support.of(csc_array(codes), directions())
    (pair,) = found.pairs
    assert (pair.a, pair.b) == (4, 7)
    assert pair.overlap == pytest.approx(1)
    assert pair.together == together.sum()
    assert pair.ambiguous
    assert found.never_alone == pytest.approx(2 / 12)
    assert 0 < found.tied_rate < 0.1


def test_weak_firings_apart_do_not_hide_a_tie():
    """As an SAE has them: each also fires, weakly, where the other does not."""
    draw = np.random.default_rng(2)
    codes = sparse_codes()
    codes[:, 7] = (codes[:, 4] > 0) * draw.uniform(0.5, 2, len(codes))
    apart = (codes[:, 4] == 0) & (draw.random(len(codes)) < 0.15)
    codes[apart, 4], codes[~apart & (draw.random(len(codes)) < 0.1), 7] = 0.1, 0.1
    together = (codes[:, [4, 7]] > 0).all(1).sum() / (codes[:, [4, 7]] > 0).any(1).sum()
    assert together < 0.6
    (pair,) = Support.of(csc_array(codes), directions()).pairs
    assert (pair.a, pair.b) == (4, 7)
    assert 0.8 < pair.overlap < 1


@given(st.integers(0, 300), st.floats(0.03, 0.3))
@settings(max_examples=20, deadline=None)
def test_latents_that_fire_independently_are_never_tied(seed, share):
    codes = sparse_codes(latents=20, share=share, seed=seed)
    assert Support.of(csc_array(codes), directions(20)).pairs == ()


def test_a_latent_that_implies_another_is_never_alone_but_not_tied():
    codes = sparse_codes()
    codes[:, 1] = codes[:, 0] * (np.arange(len(codes)) % 3 == 0)
    found = Support.of(csc_array(codes), directions())
    assert found.pairs == ()
    assert found.never_alone == pytest.approx(1 / 12)


def test_latents_that_hardly_fire_are_in_no_pair():
    codes = np.zeros((500, 3))
    codes[:19, :2] = 1
    found = Support.of(csc_array(codes), np.eye(3))
    assert (found.living, found.known, found.pairs) == (2, 0, ())


def test_pairs_that_separate_can_hardly_be_turned():
    codes = sparse_codes(latents=2, share=0.3)
    assert turn_of(codes, directions(2)) < 5


def test_a_witness_gives_the_same_reconstruction_at_the_same_l0():
    """A pair that always fires together, at activations that differ: turned by hand, and seen."""
    draw = np.random.default_rng(0)
    codes = draw.uniform(0.5, 1.5, (1000, 2))
    decoder = np.array([[1.0, 0, 0], [0, 1, 0]])
    assert turn_of(codes, decoder) >= 30
    wider = np.array([[1.0, -0.5, 0], [-0.5, 1, 0]])
    others = codes @ decoder @ np.linalg.pinv(wider)
    assert (others > 0).all()
    assert others @ wider == pytest.approx(codes @ decoder)


def test_one_direction_twice_is_as_ambiguous_as_can_be():
    assert turn_of(np.ones((50, 2)), np.array([[1.0, 2], [2, 4]])) == 90
