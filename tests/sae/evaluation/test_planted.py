"""Precision by quartile, where the truth is known."""

import numpy as np
import pytest

from sagescope.sae.evaluation.planted import match, precision_by_quartile


def test_weak_firings_that_are_wrong_show_in_the_lowest_quarter():
    codes = np.arange(1.0, 9.0)[:, None]
    right = codes > 2
    assert precision_by_quartile(codes, right) == (0, 1, 1, 1)


def test_negative_activations_count_by_size_and_rare_latents_not_at_all():
    codes = np.array([[-4.0, 0], [1, 0], [-3, 5], [2, 0], [0, 0]])
    right = np.array([[True, False]] * 2 + [[False, False]] * 3)
    assert precision_by_quartile(codes, right) == (1, 0, 0, 1)
    assert precision_by_quartile(codes[:, 1:], right[:, 1:]) == ()


def test_latents_stand_for_the_nearest_direction():
    truth = np.eye(3)
    decoder = np.array([[0.1, -2, 0], [5, 1, 1], [0, 0, 0.2]])
    assert match(decoder, truth).tolist() == [1, 0, 2]
    codes = np.tile([[1.0], [2], [3], [4]], (1, 3))
    features = np.tile([[0], [1], [1], [1]], (1, 3)) > 0
    found = precision_by_quartile(codes, features[:, match(decoder, truth)])
    assert found == pytest.approx((0, 1, 1, 1))
