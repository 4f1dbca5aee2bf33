"""What holds for every architecture that Sagescope adds."""

import dataclasses

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.sae import TrainStepInput

from sagescope.sae.architectures import TRAINED
from sagescope.sae.errors import SAEError

D_IN, D_OUT, LATENTS, BATCH = 12, 7, 30, 16
EVERY = [settings.architecture() for _, settings in TRAINED]

#: Those that refuse to be whitened, and those whose decoder has norms that nothing else can take.
NOT_WHITENED = ("binary_transcoder", "spade", "transcoder")
NOT_RESCALED = ("binary_dense", "binary_topk", "binary_transcoder", "spade")


def built(arch: str, **options):
    """A training SAE whose every parameter is random; a binary one beyond its soft steps."""
    sae_class, config_class = get_sae_training_class(arch)
    known = {field.name for field in dataclasses.fields(config_class)}
    sizes = {"k": 5, "d_out": D_OUT, "soft_steps": 0}
    torch.manual_seed(0)
    sae = sae_class(
        config_class(
            d_in=D_IN,
            d_sae=LATENTS,
            **{name: size for name, size in sizes.items() if name in known},
            **options,
        )
    )
    with torch.no_grad():
        for parameter in sae.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.4)
    return sae


def rows_of(arch: str) -> torch.Tensor:
    """A batch as it trains on: pairs are twice as many, a transcoder's rows are wider."""
    kind = getattr(get_sae_training_class(arch)[1], "rows", "tokens")
    count = 2 * BATCH if kind == "pairs" else BATCH
    return torch.randn(count, D_IN + (D_OUT if kind == "in and out" else 0))


def take_step(sae, arch: str):
    """The output of one training step, on the SAE's device."""
    given = {name: getattr(one, "value", one) for name, one in sae.get_coefficients().items()}
    rows = rows_of(arch).to(sae.device)
    none_dead = torch.zeros(LATENTS, device=sae.device).bool()
    return sae.training_forward_pass(TrainStepInput(rows, given, none_dead, 0, False))


@torch.no_grad()
def codes_of(sae, rows: torch.Tensor) -> torch.Tensor:
    """Codes at inference: of BatchTopK kinds, those above the running threshold."""
    if not hasattr(sae, "topk_threshold"):
        return sae.encode(rows)
    _, hidden_pre = sae.encode_with_hidden_pre(rows)
    return hidden_pre.relu() * (hidden_pre > sae.topk_threshold)


@pytest.mark.parametrize("arch", EVERY)
def test_a_step_has_a_row_and_a_gradient_for_all_that_is_trained(arch):
    sae = built(arch)
    found = take_step(sae, arch)
    assert found.feature_acts.shape == found.hidden_pre.shape == (BATCH, LATENTS)
    found.loss.backward()
    for name, parameter in sae.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("arch", EVERY)
def test_saved_and_loaded_twice_it_has_the_same_codes(arch, tmp_path):
    sae = built(arch)
    take_step(sae, arch)
    sae.eval()
    rows = torch.randn(100, D_IN)
    wanted = codes_of(sae, rows)
    assert 0 < (wanted != 0).float().mean() < 1
    sae.save_inference_model(tmp_path / "once")
    once = SAE.load_from_disk(str(tmp_path / "once"))
    torch.testing.assert_close(once.encode(rows), wanted, atol=1e-5, rtol=1e-5)
    once.save_model(tmp_path / "twice")
    twice = SAE.load_from_disk(str(tmp_path / "twice"))
    assert torch.equal(twice.encode(rows), once.encode(rows))
    assert torch.equal(twice(rows), once(rows))


@torch.no_grad()
@pytest.mark.parametrize("arch", EVERY)
def test_the_scale_of_activations_folds(arch, tmp_path):
    scale, rows = 2.5, torch.randn(100, D_IN)
    sae = built(arch, normalize_activations="expected_average_only_in").eval()
    codes = codes_of(sae, rows * scale)
    made = sae.decode(codes) / scale
    sae.fold_activation_norm_scaling_factor(scale)
    sae.save_inference_model(tmp_path)
    loaded = SAE.load_from_disk(str(tmp_path))
    assert loaded.cfg.normalize_activations == "none"
    # Where decoder rows count as of norm 1, codes are in units of what is made.
    units = scale if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False) else 1
    torch.testing.assert_close(loaded.encode(rows), codes / units, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded(rows), made, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("arch", EVERY)
def test_whitening_folds_or_is_refused(arch):
    rows, mean = torch.randn(100, D_IN), torch.randn(D_IN)
    matrix = torch.eye(D_IN) + 0.2 * torch.randn(D_IN, D_IN)
    back = torch.linalg.inv(matrix)
    if arch in NOT_WHITENED:
        with pytest.raises(SAEError, match="Whitening cannot be folded"):
            built(arch).fold_activation_whitening(mean, matrix, back)
        return
    for applied in (True, False) if not arch.startswith("binary") else (True,):
        sae = built(arch, apply_b_dec_to_input=applied).eval()
        white = (rows - mean) @ matrix
        wanted, made = sae.encode(white), sae(white) @ back + mean
        sae.fold_activation_whitening(mean, matrix, back)
        torch.testing.assert_close(sae.encode(rows), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(sae(rows), made, atol=1e-3, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("arch", EVERY)
def test_norms_of_the_decoder_fold_or_are_refused(arch, tmp_path):
    sae = built(arch).eval()
    take_step(sae, arch)
    sae.save_inference_model(tmp_path)
    loaded, rows = SAE.load_from_disk(str(tmp_path)), torch.randn(100, D_IN)
    if arch in NOT_RESCALED:
        with pytest.raises(SAEError, match="without fold_W_dec_norm"):
            loaded.fold_W_dec_norm()
        return
    if loaded.cfg.architecture() == "topk" and not loaded.cfg.rescale_acts_by_decoder_norm:
        with pytest.raises(NotImplementedError):
            loaded.fold_W_dec_norm()
        return
    wanted, fires = loaded(rows), loaded.encode(rows) != 0
    loaded.fold_W_dec_norm()
    torch.testing.assert_close(loaded(rows), wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(loaded.encode(rows) != 0, fires)


@torch.no_grad()
@pytest.mark.parametrize("arch", EVERY)
def test_in_bfloat16(arch, tmp_path):
    sae = built(arch).eval()
    take_step(sae, arch)
    sae.save_inference_model(tmp_path)
    rows = torch.randn(200, D_IN)
    codes = SAE.load_from_disk(str(tmp_path)).encode(rows)
    rough = SAE.load_from_disk(str(tmp_path), dtype="bfloat16").encode(rows.bfloat16())
    assert rough.dtype == torch.bfloat16
    # Rounding moves some codes over their threshold.
    assert ((rough.float() - codes).abs() > 0.1).float().mean() < 0.03


@pytest.mark.gpu
@pytest.mark.parametrize("arch", EVERY)
def test_trained_saved_and_read_on_cuda(arch, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    sae = built(arch, device="cuda")
    take_step(sae, arch).loss.backward()
    assert all(one.is_cuda for one in (*sae.parameters(), *sae.buffers()))
    sae.eval().save_inference_model(tmp_path)
    there, here = (SAE.load_from_disk(str(tmp_path), device=name) for name in ("cuda", "cpu"))
    rows = torch.randn(200, D_IN)
    with torch.no_grad():
        found, wanted = there.encode(rows.cuda()), here.encode(rows)
    assert found.is_cuda
    # Sums in another order move some codes over their threshold.
    assert ((found.cpu() - wanted).abs() > 1e-3).float().mean() < 0.01
