"""The temporal SAE: pairs in, one row a pair out, and a loss that is what it says."""

import functools
import math

import pytest
import torch
from sae_lens.saes.sae import TrainStepInput

from sagescope.sae.architectures.tsae import (
    TemporalTrainingSAE,
    TemporalTrainingSAEConfig,
    contrast,
)
from sagescope.sae.errors import SAEError

SEEDS = range(3)


def temporal(**settings):
    torch.manual_seed(0)
    return TemporalTrainingSAE(TemporalTrainingSAEConfig(d_in=12, d_sae=40, k=4, **settings))


def step(sae, rows):
    return sae.training_forward_pass(TrainStepInput(rows, {}, None, 0, False))


def test_codes_that_say_nothing_cost_log_b():
    alike = torch.ones(8, 5)
    assert contrast(alike, alike, "dot", 1.0).item() == pytest.approx(math.log(8))


def test_contrast_is_the_mean_over_both_directions():
    torch.manual_seed(0)
    codes, earlier = torch.randn(6, 5), torch.randn(6, 5)
    likely = (codes @ earlier.T / 0.5).exp()
    forwards = likely.diagonal() / likely.sum(1)
    backwards = likely.diagonal() / likely.sum(0)
    wanted = -(forwards.log().mean() + backwards.log().mean()) / 2
    assert contrast(codes, earlier, "dot", 0.5).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_cosine_does_not_see_length():
    torch.manual_seed(0)
    codes, earlier = torch.randn(6, 5), torch.randn(6, 5)
    one = contrast(codes, earlier, "cosine", 0.1)
    other = contrast(7 * codes, 3 * earlier, "cosine", 0.1)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("weights", "high", "low"), [("paper", 1, 1), ("released", 0.1, 0.4)])
def test_the_loss_is_the_formula(weights, high, low):
    sae = temporal(group_weights=weights, alpha=0.7, similarity="cosine", temperature=0.3)
    tokens, earlier = torch.randn(2, 16, 12)
    found = step(sae, torch.cat([tokens, earlier]))
    codes, before = found.feature_acts, sae.encode(earlier)
    alone = codes * (torch.arange(40) < 8)
    of_high, of_all = (
        (sae.decode(some) - tokens).square().sum(-1).mean() for some in (alone, codes)
    )
    wanted = high * of_high + low * of_all
    wanted = wanted + 0.7 * contrast(codes[:, :8], before[:, :8], "cosine", 0.3)
    torch.testing.assert_close(found.loss, wanted)


@pytest.mark.parametrize(("temperature", "divisor"), [(None, 12**0.5), (1.0, 1.0)])
def test_dot_products_are_divided_by_the_length_of_rows(temperature, divisor):
    sae = temporal(alpha=0.7, temperature=temperature)
    tokens, earlier = torch.randn(2, 16, 12)
    found = step(sae, torch.cat([tokens, earlier])).losses["contrastive_loss"]
    codes, before = sae.encode(tokens)[:, :8], sae.encode(earlier)[:, :8]
    torch.testing.assert_close(found, 0.7 * divisor * contrast(codes, before, "dot", divisor))


def test_low_level_latents_are_not_contrasted():
    sae = temporal(alpha=1.0)
    found = step(sae, torch.randn(32, 12))
    found.losses["contrastive_loss"].backward()
    changed = sae.W_enc.grad.abs().sum(0) > 0
    assert changed[:8].any()
    assert not changed[8:].any()


def test_rows_that_are_no_pairs_are_refused():
    with pytest.raises(SAEError, match="7 rows are no pairs"):
        step(temporal(), torch.randn(7, 12))


@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.0])
def test_both_kinds_of_latents_are_needed(fraction):
    with pytest.raises(SAEError, match="some of both kinds"):
        temporal(high_level_fraction=fraction)


def test_what_is_saved_says_how_many_latents_are_high_level(tmp_path):
    from sae_lens import SAE

    temporal(high_level_fraction=0.3).save_inference_model(tmp_path)
    assert SAE.load_from_disk(str(tmp_path)).cfg.metadata.high_level_fraction == 0.3


@pytest.fixture(scope="module")
def figures():
    """The benchmark's figures for a seed, each made once."""
    from benchmarks.architectures import tsae

    return functools.cache(tsae.figures)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
class TestPlantedTopics:
    """Against the same SAE without the contrastive term, on each seed."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test_high_level_latents_tell_the_topic_better(self, figures, seed):
        name = "topic probe, high-level"
        assert figures(seed)[f"with: {name}"] >= figures(seed)[f"without: {name}"] + 0.08

    @pytest.mark.parametrize("seed", SEEDS)
    def test_high_level_latents_are_smoother(self, figures, seed):
        name = "smoothness, high-level"
        assert figures(seed)[f"with: {name}"] <= 0.9 * figures(seed)[f"without: {name}"]

    @pytest.mark.parametrize("seed", SEEDS)
    def test_little_variance_is_lost(self, figures, seed):
        name = "explained variance"
        assert figures(seed)[f"with: {name}"] >= figures(seed)[f"without: {name}"] - 0.06

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_topic_is_in_the_high_level_latents(self, figures, seed):
        found = figures(seed)
        assert found["with: topic probe, high-level"] > found["with: topic probe, low-level"]

    @pytest.mark.parametrize("seed", SEEDS)
    def test_words_are_less_in_the_high_level_latents(self, figures, seed):
        name = "word probe, high-level"
        assert figures(seed)[f"with: {name}"] < figures(seed)[f"without: {name}"]

    @pytest.mark.parametrize("seed", SEEDS)
    def test_with_shuffled_pairs_the_gain_is_gone(self, figures, seed):
        name = "topic probe, high-level"
        assert figures(seed)[f"shuffled: {name}"] <= figures(seed)[f"without: {name}"] + 0.02
