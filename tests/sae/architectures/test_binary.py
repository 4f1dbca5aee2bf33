"""Codes of 0 and 1."""

import functools

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_class, get_sae_training_class
from sae_lens.saes.sae import TrainStepInput

from sagescope.sae.architectures.binary import SURROGATES, binarize
from sagescope.sae.errors import SAEError

D_IN, LATENTS = 12, 30
ARCHITECTURES = ("binary_dense", "binary_topk")


@pytest.fixture
def rows():
    torch.manual_seed(7)
    return torch.randn(200, D_IN)


def made(arch: str, **options):
    sae_class, config_class = get_sae_training_class(arch)
    torch.manual_seed(0)
    if arch != "binary_dense":
        options.setdefault("k", 5)
    return sae_class(config_class(d_in=D_IN, d_sae=LATENTS, **options))


def step(rows, coefficients=()):
    return TrainStepInput(rows, dict(coefficients), None, 0, False)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("reach", ["all", "ones"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_codes_are_exactly_0_or_1_and_have_gradients(arch, reach, surrogate, rows):
    sae = made(arch, surrogate=surrogate, reach=reach)
    out = sae.training_forward_pass(step(rows, {"l0": 0.01}))
    assert set(out.feature_acts.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(sae.encode(rows), out.feature_acts)
    out.loss.backward()
    for name in ("W_enc", "W_dec", "log_threshold"):
        assert sae.get_parameter(name).grad.abs().sum() > 0


def test_the_gradient_of_a_code_is_that_of_its_surrogate(rows):
    """By the formula: sigmoid(u / T)', spread over all latents or over the ones alone."""
    for reach in ("all", "ones"):
        sae = made("binary_topk", temperature=0.5, reach=reach)
        codes, above = sae.encode_with_hidden_pre(rows)
        (found,) = torch.autograd.grad(codes.sum(), above)
        soft = torch.sigmoid(above / 0.5)
        wanted = soft * (1 - soft) / 0.5 * (1 if reach == "all" else codes)
        torch.testing.assert_close(found, wanted)


def test_topk_is_the_largest_above_their_thresholds(rows):
    sae = made("binary_topk", initial_threshold=0.3)
    with torch.no_grad():
        codes = sae.encode(rows)
        above = (rows - sae.b_dec) @ sae.W_enc - 0.3
    kth = above.topk(5).values[:, -1:]
    torch.testing.assert_close(codes, ((above >= kth) & (above > 0)).float())
    assert codes.sum(-1).max() == 5
    assert made("binary_topk", initial_threshold=50.0).encode(rows).sum() == 0


def test_a_penalty_for_ones(rows):
    sae = made("binary_dense")
    out = sae.training_forward_pass(step(rows, {"l0": 0.02}))
    wanted = 0.02 * D_IN * out.feature_acts.sum(-1).mean()
    torch.testing.assert_close(out.losses["l0_loss"], wanted)
    torch.testing.assert_close(out.loss, out.losses["mse_loss"] + wanted)


def test_a_transcoder_makes_another_hook_point(rows, tmp_path):
    sae = made("binary_transcoder", d_out=4)
    both = torch.cat([rows, rows[:, :4] * 20], dim=-1)
    optimizer = torch.optim.Adam(sae.parameters(), 1e-2)
    wanted, errors = both[:, D_IN:], []
    for number in range(60):
        out = sae.training_forward_pass(TrainStepInput(both, {}, None, number, False))
        assert set(out.feature_acts.unique().tolist()) <= {0.0, 1.0}
        errors.append((out.sae_out - wanted).square().sum(-1).mean().item())
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    assert errors[0] == pytest.approx(wanted.square().sum(-1).mean().item(), rel=1e-4)
    assert errors[-1] < 0.6 * errors[0]
    sae.save_inference_model(tmp_path)
    with torch.no_grad():
        again = SAE.load_from_disk(tmp_path)(rows)
        torch.testing.assert_close(again, sae.decode(sae.encode(rows)), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"initial_threshold": -1.0}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(SAEError, match="must be above 0"):
        made("binary_topk", **wrong)


# --- Made binary afterwards ------------------------------------------------------------------


def trained(arch: str, **options):
    sae_class, config_class = get_sae_class(arch)
    torch.manual_seed(0)
    sae = sae_class(config_class(d_in=D_IN, d_sae=LATENTS, **options))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return sae


@torch.no_grad()
@pytest.mark.parametrize("threshold", [0.0, 0.4])
@pytest.mark.parametrize("arch", ["standard", "jumprelu", "topk"])
def test_binarized_where_the_activation_is_above(arch, threshold, rows):
    sae = trained(arch, **({"k": 5} if arch == "topk" else {}))
    sizes = torch.rand(LATENTS) + 0.5
    baseline = binarize(sae, threshold, sizes)
    wanted = (sae.encode(rows) > threshold).float()
    torch.testing.assert_close(baseline.encode(rows), wanted)
    torch.testing.assert_close(baseline(rows), sae.decode(wanted * sizes))


def test_what_cannot_be_binarized():
    for sae in (trained("gated"), trained("topk", k=5, rescale_acts_by_decoder_norm=True)):
        with pytest.raises(SAEError, match="cannot be made binary"):
            binarize(sae, 0.1)


# --- On planted data -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted():
    """The benchmark's figures for a seed, each made once."""
    from benchmarks.architectures.binary import figures

    return functools.cache(figures)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("seed", range(3))
class TestPlantedFeatures:
    """Against TopK of the same k, on each seed."""

    @pytest.mark.xfail(strict=True, reason="binary_topk reached .73 in trials, TopK .90")
    def test_features_that_are_on_or_off_are_found_better(self, planted, seed):
        found = planted(seed)
        assert found["binary data: binary_topk, f1"] >= found["binary data: topk, f1"] + 0.02

    @pytest.mark.xfail(strict=True, reason="binary_topk left .25 unexplained in trials, TopK .08")
    def test_at_little_more_of_the_variance(self, planted, seed):
        found = planted(seed)
        ours, theirs = (
            found[f"binary data: {name}, unexplained"] for name in ("binary_topk", "topk")
        )
        assert ours <= 1.1 * theirs

    def test_no_firing_is_weak(self, planted, seed):
        found = planted(seed)
        data = "continuous data"
        ours = found[f"{data}: binary_topk, precision, lowest"]
        assert ours >= found[f"{data}: topk, precision, lowest"] + 0.25
        assert found[f"{data}: binary_topk, unexplained"] > found[f"{data}: topk, unexplained"]
