"""What is trained is what is saved: folding, saving and loading leave the codes as they were."""

import dataclasses

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class

from sagescope.sae.errors import SAEError

OWN = ("binary_dense", "binary_topk", "binary_transcoder", "spade")
ALL = ("aen", *OWN)
D_IN, LATENTS = 12, 30


def made(arch: str, seed: int = 0):
    """A training SAE in which every parameter that is trained is random, beyond soft steps."""
    sae_class, config_class = get_sae_training_class(arch)
    sizes = {"k": 5, "d_out": 7, "soft_steps": 0}
    known = {field.name for field in dataclasses.fields(config_class)}
    torch.manual_seed(seed)
    sae = sae_class(
        config_class(
            d_in=D_IN,
            d_sae=LATENTS,
            normalize_activations="expected_average_only_in",
            **{name: size for name, size in sizes.items() if name in known},
        )
    )
    with torch.no_grad():
        for parameter in sae.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.5)
    return sae.eval()


@pytest.fixture
def rows():
    torch.manual_seed(7)
    return torch.randn(200, D_IN)


@torch.no_grad()
@pytest.mark.parametrize("arch", ALL)
def test_saved_and_loaded_by_saelens(arch, rows, tmp_path):
    sae = made(arch)
    sae.save_inference_model(tmp_path)
    loaded = SAE.load_from_disk(tmp_path)
    codes = sae.encode(rows)
    assert (codes != 0).any()
    torch.testing.assert_close(loaded.encode(rows), codes, atol=1e-5, rtol=0)
    torch.testing.assert_close(loaded(rows), sae.decode(codes), atol=1e-4, rtol=1e-4)
    assert loaded.cfg.architecture() == (arch if arch in OWN else "standard")
    assert loaded.cfg.metadata.training_architecture == arch


@torch.no_grad()
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("arch", ALL)
def test_the_scale_of_activations_folds(arch, loaded, rows, tmp_path):
    sae = made(arch)
    if loaded:
        sae.save_inference_model(tmp_path)
        sae = SAE.load_from_disk(tmp_path)
    scaled = rows * 3.7
    codes, again = sae.encode(scaled), sae.decode(sae.encode(scaled)) / 3.7
    sae.fold_activation_norm_scaling_factor(3.7)
    torch.testing.assert_close(sae.encode(rows), codes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(rows), again, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("arch", ["aen", "binary_dense", "binary_topk"])
def test_whitening_folds(arch, rows):
    sae = made(arch)
    matrix = torch.eye(D_IN) + 0.3 * torch.randn(D_IN, D_IN)
    mean, back = torch.randn(D_IN), torch.linalg.inv(matrix)
    white = (rows - mean) @ matrix
    codes, again = sae.encode(white), sae(white) @ back + mean
    sae.fold_activation_whitening(mean, matrix, back)
    torch.testing.assert_close(sae.encode(rows), codes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sae(rows), again, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("arch", ["binary_transcoder", "spade"])
def test_whitening_that_cannot_fold_is_refused(arch):
    with pytest.raises(SAEError, match="Whitening cannot be folded"):
        made(arch).fold_activation_whitening(torch.zeros(D_IN), torch.eye(D_IN), torch.eye(D_IN))


@pytest.mark.parametrize("arch", OWN)
def test_norms_of_the_decoder_do_not_fold(arch, tmp_path):
    sae = made(arch)
    sae.save_inference_model(tmp_path)
    with pytest.raises(SAEError, match="without fold_W_dec_norm"):
        SAE.load_from_disk(tmp_path, fold_W_dec_norm=True)
    with pytest.raises(SAEError, match="without fold_W_dec_norm"):
        sae.fold_W_dec_norm()


@torch.no_grad()
@pytest.mark.parametrize("arch", ALL)
def test_in_bfloat16(arch, rows, tmp_path):
    made(arch).save_inference_model(tmp_path)
    codes = SAE.load_from_disk(tmp_path).encode(rows)
    halved = SAE.load_from_disk(tmp_path, dtype="bfloat16").encode(rows.bfloat16())
    assert halved.dtype == torch.bfloat16
    near = (halved.float() - codes).abs() < 0.1
    assert near.float().mean() > 0.97


@torch.no_grad()
@pytest.mark.parametrize("arch", ALL)
def test_rows_of_any_shape(arch, rows):
    sae = made(arch)
    flat = sae.encode(rows)
    torch.testing.assert_close(sae.encode(rows.view(4, 50, D_IN)).flatten(0, 1), flat)
    assert sae.encode(rows[0]).shape == (LATENTS,)
    assert sae.encode(rows[:0]).shape == (0, LATENTS)
