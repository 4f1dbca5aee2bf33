"""Smoothness of one window."""

import pytest
import torch

from sagescope.sae.evaluation.sums import smoothness


def test_the_steepest_step_of_each_active_latent():
    inputs = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    codes = torch.tensor([[0.0, 2.0, 0.0], [5.0, 2.0, 0.0], [4.0, 2.0, 0.0]])
    # Latent 0 steps 5 over a distance of 5, then 1 over 1; latent 1 never; latent 2 does not fire.
    assert smoothness(codes, inputs) == pytest.approx((1 + 0) / 2)


def test_smoother_codes_have_less():
    inputs = torch.arange(6.0)[:, None]
    rough = torch.tensor([[0.0], [1.0], [0.0], [1.0], [0.0], [1.0]])
    assert smoothness(rough, inputs) > smoothness(rough.cumsum(0) / 6, inputs)


def test_where_nothing_moves_or_fires_there_is_none():
    assert smoothness(torch.ones(3, 2), torch.ones(3, 4)) is None
    assert smoothness(torch.zeros(3, 2), torch.arange(3.0)[:, None]) is None
    assert smoothness(torch.ones(1, 2), torch.ones(1, 4)) is None
