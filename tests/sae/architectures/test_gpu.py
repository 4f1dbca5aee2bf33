"""The same on a CUDA device: a step, what is saved, and codes that are the CPU's."""

import pytest
import torch
from sae_lens import SAE
from test_every import D_IN, EVERY, built, take_step

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("arch", EVERY)
def test_trained_saved_and_read_on_cuda(arch, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    sae = built(arch, device="cuda")
    found = take_step(sae, arch)
    found.loss.backward()
    for name, parameter in sae.named_parameters():
        assert parameter.is_cuda, name
    for name, buffer in sae.named_buffers():
        assert buffer.is_cuda, name
    sae.eval().save_inference_model(tmp_path)
    here, there = (SAE.load_from_disk(str(tmp_path), device=name) for name in ("cuda", "cpu"))
    rows = torch.randn(200, D_IN)
    codes = here.encode(rows.cuda()).cpu()
    # A product that is summed in another order moves some codes over their threshold.
    off = (codes - there.encode(rows)).abs() > 1e-3
    assert off.float().mean() < 0.01
