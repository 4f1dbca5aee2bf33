"""Clusters of samples by shared contributors, on planted contributor sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from sagescope.agents.inside.clusters import clustered, jaccard, presence

SAMPLES = 100


def planted(mechanisms: int, seed: int, shared: int, background: int, often: float):
    """100 samples with 8 contributors a mechanism, each there in 80 %, besides shared ones and noise."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, mechanisms, SAMPLES)
    samples = [
        {("own", of, n) for n in range(8) if draw.random() < 0.8}
        | {("shared", n) for n in range(shared) if draw.random() < 0.8}
        | {("background", n) for n in range(background) if draw.random() < often}
        for of in truth
    ]
    return samples, truth


@pytest.mark.parametrize(
    ("shared", "background", "often"), [(0, 0, 0.0), (4, 30, 0.15), (8, 60, 0.2)]
)
@pytest.mark.parametrize("mechanisms", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_mechanisms_are_told_apart(mechanisms, seed, shared, background, often):
    samples, truth = planted(mechanisms, seed, shared, background, often)
    present, _ = presence(samples)
    found = clustered(present)
    assert len(np.unique(found)) == mechanisms
    assert adjusted_rand_score(truth, found) >= 0.8


def test_a_mechanism_of_a_few_samples_is_found():
    samples, truth = planted(2, 5, 4, 30, 0.15)
    few = [*np.flatnonzero(truth == 0), *np.flatnonzero(truth == 1)[:10]]
    present, _ = presence([samples[number] for number in few])
    found = clustered(present)
    assert adjusted_rand_score(truth[few], found) >= 0.8
    assert np.bincount(found).tolist() == sorted(np.bincount(found).tolist(), reverse=True)


def test_rare_contributors_are_left_out():
    present, kept = presence([{"a", "b"}, {"a"}, {"a", "c"}, {"a"}] * 5, rho=0.3)
    assert kept == ["a"]
    assert present.shape == (20, 1)


@settings(max_examples=30)
@given(st.lists(st.sets(st.integers(0, 6)), max_size=12))
def test_any_samples_get_clusters_numbered_from_the_largest(samples):
    present, _ = presence(samples)
    found = clustered(present)
    assert len(found) == len(samples)
    if len(found):
        counts = np.bincount(found)
        assert (counts > 0).all()
        assert (np.diff(counts) <= 0).all()


def test_jaccard_is_what_is_shared_of_all():
    present = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0]], bool)
    assert jaccard(present)[0, 1] == pytest.approx(1 / 3)
    assert jaccard(present)[2, 2] == 0
