"""What is trained is saved as what SAELens loads, with the same codes; folds change none of them."""

import pytest
import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.sae import TrainStepInput

D_IN, D_OUT, D_SAE, BATCH = 12, 8, 40, 32

#: Architecture, settings, rows of a step for a batch and numbers a row, and what it is saved as.
CASES = {
    "tsae": ("tsae", {"k": 4}, 2, D_IN, "jumprelu"),
    "vsae": ("vsae", {"k": 4}, 1, D_IN, "topk"),
    "vsae, learned": ("vsae", {"k": 4, "variance": "learned"}, 1, D_IN, "topk"),
    "gsae": ("gsae", {}, 1, D_IN, "standard"),
    "transcoder": ("transcoder", {"k": 4, "d_out": D_OUT}, 1, D_IN + D_OUT, "jumprelu_transcoder"),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def trained(case, **settings):
    """An SAE whose every parameter is random, after some steps, in eval mode."""
    arch, own, rows, width, _ = case
    torch.manual_seed(0)
    sae_class, config = get_sae_training_class(arch)
    sae = sae_class(config(d_in=D_IN, d_sae=D_SAE, **own, **settings))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    for step in range(5):
        take_step(sae, torch.randn(rows * BATCH, width), step)
    return sae.eval()


def take_step(sae, rows, step=0, dead=None):
    found = sae.training_forward_pass(
        TrainStepInput(
            sae_in=rows,
            coefficients={
                name: getattr(value, "value", value)
                for name, value in sae.get_coefficients().items()
            },
            dead_neuron_mask=torch.zeros(D_SAE).bool() if dead is None else dead,
            n_training_steps=step,
            is_logging_step=False,
        )
    )
    return found


def saved(sae, folder, **how):
    sae.save_inference_model(folder)
    return SAE.load_from_disk(str(folder), **how).eval()


@torch.no_grad()
def codes_of(sae, rows):
    """What a training SAE gives at inference: with its threshold, where it has one."""
    if not hasattr(sae, "topk_threshold"):
        return sae.encode(rows)
    _, hidden_pre = sae.encode_with_hidden_pre(rows)
    return hidden_pre.relu() * (hidden_pre > sae.topk_threshold)


def test_a_step_reports_a_row_for_each_of_the_batch(case):
    _, _, rows, width, _ = case
    sae = trained(case).train()
    found = take_step(sae, torch.randn(rows * BATCH, width))
    assert found.feature_acts.shape == found.hidden_pre.shape == (BATCH, D_SAE)
    assert len(found.sae_out) == BATCH
    found.loss.backward()
    for name, parameter in sae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("case", [CASES[name] for name in CASES if name != "gsae"])
def test_dead_latents_are_revived(case):
    _, _, rows, width, _ = case
    sae = trained(case).train()
    dead = torch.arange(D_SAE) < 5
    found = take_step(sae, torch.randn(rows * BATCH, width), dead=dead)
    assert found.losses["auxiliary_reconstruction_loss"] > 0


def test_it_is_saved_as_what_saelens_loads_with_the_same_codes(case, tmp_path):
    sae = trained(case)
    rows = torch.randn(50, D_IN)
    wanted = codes_of(sae, rows)
    made = sae.decode(wanted)
    loaded = saved(sae, tmp_path)
    assert type(loaded).__module__.startswith("sae_lens.")
    assert loaded.cfg.architecture() == case[-1]
    assert loaded.cfg.metadata.training_architecture == case[0]
    torch.testing.assert_close(loaded.encode(rows), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded(rows), made, atol=1e-5, rtol=1e-5)


def test_folding_the_scale_of_the_input_changes_nothing(case, tmp_path):
    scale = 2.5
    sae = trained(case, normalize_activations="expected_average_only_in")
    rows = torch.randn(50, D_IN)
    before = codes_of(sae, rows * scale)
    made = sae.decode(before) / scale
    sae.fold_activation_norm_scaling_factor(scale)
    loaded = saved(sae, tmp_path)
    assert loaded.cfg.normalize_activations == "none"
    # Codes are in units of what is made, where decoder rows count as of norm 1.
    units = scale if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False) else 1
    torch.testing.assert_close(loaded.encode(rows), before / units, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded(rows), made, atol=1e-5, rtol=1e-5)


def test_folding_decoder_norms_makes_the_same(case, tmp_path):
    loaded = saved(trained(case), tmp_path)
    rows = torch.randn(50, D_IN)
    wanted, fires = loaded(rows), loaded.encode(rows) > 0
    if case[-1] == "topk":
        loaded.cfg.rescale_acts_by_decoder_norm = True  # as it is saved: else SAELens refuses
    loaded.fold_W_dec_norm()
    torch.testing.assert_close(loaded(rows), wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(loaded.encode(rows) > 0, fires)


def test_it_encodes_in_bfloat16(case, tmp_path):
    sae = trained(case)
    exact = saved(sae, tmp_path)
    rough = SAE.load_from_disk(str(tmp_path), dtype="bfloat16")
    rows = torch.randn(200, D_IN)
    codes = rough.encode(rows)
    assert codes.dtype == torch.bfloat16
    # Rounding moves some codes over their threshold.
    off = (codes.float() - exact.encode(rows)).abs() > 0.1
    assert off.float().mean() < 0.02
