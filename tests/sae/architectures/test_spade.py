"""Sparsemax, and a token as a mixture of the prototypes near it."""

import functools
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.sae import TrainStepInput

from sagescope.sae.architectures.spade import sparsemax

D_IN, LATENTS = 6, 20


@pytest.fixture
def rows():
    torch.manual_seed(7)
    return torch.randn(50, D_IN)


def made(**options):
    sae_class, config_class = get_sae_training_class("spade")
    torch.manual_seed(0)
    return sae_class(config_class(d_in=D_IN, d_sae=LATENTS, **options))


def by_sorting(scores: torch.Tensor) -> torch.Tensor:
    """Sparsemax of one row as its paper has it."""
    ordered = scores.sort(descending=True).values
    sums = ordered.cumsum(0)
    count = torch.arange(1, len(scores) + 1)
    inside = int((1 + count * ordered > sums).sum())
    return (scores - (sums[inside - 1] - 1) / inside).clamp_min(0)


numbers = st.floats(-50, 50, width=32)


@settings(max_examples=100, deadline=None)
@given(row=st.lists(numbers, min_size=1, max_size=40), shift=numbers)
def test_sparsemax_is_the_nearest_point_of_the_simplex(row, shift):
    scores = torch.tensor(row, dtype=torch.float64)
    found = sparsemax(scores)
    assert (found >= 0).all()
    assert found.sum().item() == pytest.approx(1)
    torch.testing.assert_close(found, by_sorting(scores))
    torch.testing.assert_close(sparsemax(scores + shift), found)


def test_sparsemax_of_large_numbers_and_of_equal_ones():
    torch.testing.assert_close(sparsemax(torch.full((3, 4), 1e8)), torch.full((3, 4), 0.25))
    assert sparsemax(torch.tensor([1e8, 1e8 - 100])).tolist() == [1, 0]


def test_gradients_of_sparsemax_are_finite_differences():
    torch.manual_seed(1)
    scores = torch.randn(7, 9, dtype=torch.float64, requires_grad=True)
    assert (sparsemax(scores) == 0).any()
    assert torch.autograd.gradcheck(sparsemax, (scores,), eps=1e-7, atol=1e-6)


def test_codes_are_those_of_the_distances(rows):
    """The expanded form against the distances themselves."""
    sae = made()
    distances = torch.cdist(rows, sae.W_enc.T).square()
    wanted = sparsemax(-distances / (2 * D_IN))
    codes = sae.encode(rows)
    torch.testing.assert_close(codes, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(codes.sum(-1), torch.ones(50))
    torch.testing.assert_close(sae.decode(codes), codes @ sae.W_enc.T)


def test_the_penalty_is_the_distance_by_share(rows):
    sae = made(distance_coefficient=0.3)
    out = sae.training_forward_pass(TrainStepInput(rows, {"distance": 0.3}, None, 0, False))
    distances = torch.cdist(rows, sae.W_enc.T).square()
    wanted = 0.3 * (out.feature_acts * distances).sum(-1).mean()
    torch.testing.assert_close(out.losses["distance_loss"], wanted, atol=1e-5, rtol=1e-4)
    out.loss.backward()
    for name in ("W_enc", "W_dec", "raw_scale"):
        assert sae.get_parameter(name).grad.abs().sum() > 0
    assert sae.b_dec.grad is None


def test_no_tensor_of_all_differences_is_made(rows):
    """Nothing that a step keeps for its gradients is as large as batch · d_sae · d_in."""
    sae, kept = made(), []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        sae.training_forward_pass(TrainStepInput(rows, {"distance": 0.3}, None, 0, False))
    assert kept
    assert max(kept) <= len(rows) * LATENTS


@pytest.fixture(scope="module")
def planted():
    """The benchmark's figures for a seed, each made once."""
    from benchmarks.architectures import spade

    return {"six": functools.cache(spade.six), "four": functools.cache(spade.four)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(3))
class TestToysOfThePaper:
    def test_near_and_far_concepts_each_have_a_latent(self, planted, seed):
        found = planted["six"](seed)
        assert found["six: SpaDE, f1"] >= 0.95
        assert found["six: ReLU, f1"] <= 0.75
        assert found["six: TopK, f1 of the near"] <= 0.85

    def test_l0_follows_the_intrinsic_dimension(self, planted, seed):
        found = planted["four"](seed)
        ours, theirs = (
            [value for name, value in found.items() if name.startswith(f"four: {kind}, L0")]
            for kind in ("SpaDE", "TopK 8")
        )
        assert all(less < more for less, more in itertools.pairwise(ours)), ours
        assert max(theirs) <= 1.2 * min(theirs)
        error = "error of dimension 62"
        assert found[f"four: TopK 8, {error}"] >= 1.3 * found[f"four: SpaDE, {error}"]


def test_prototypes_that_begin_at_tokens_explain_activations_far_from_zero(rows):
    """Where points of N(0, 1) explain none of what differs between them."""
    far = 30 + rows
    unexplained = {}
    for start in ("normal", "tokens"):
        sae = made(start=start)
        out = sae.training_forward_pass(TrainStepInput(far, {"distance": 0.0}, None, 0, False))
        error = (out.sae_out.detach() - far).square().sum()
        unexplained[start] = float(error / (far - far.mean(0)).square().sum())
    assert unexplained["tokens"] < 1 < 100 < unexplained["normal"]


def test_prototypes_move_to_tokens_once(rows):
    sae = made(start="tokens")
    points = []
    for step in (0, 1):
        sae.training_forward_pass(TrainStepInput(rows + step, {"distance": 0.0}, None, step, False))
        points.append(sae.W_enc.detach().clone())
    assert torch.equal(*points)
    nearest = torch.cdist(points[0].T, rows).min(-1).values
    assert nearest.max() < 1
    assert float(sae.scale().detach()) == pytest.approx(
        1 / (2 * float(rows.var(0).sum())), rel=1e-3
    )
