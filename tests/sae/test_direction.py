"""The direction of a feature is what its SAE's own decoder writes for it."""

import asyncio

import pytest
import tiny
import torch

from sagescope.sae.direction import Direction
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import SAEError
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.model_outputs import ModelOutputs

SETTINGS = {
    **{
        name: {}
        for name in ("standard", "gated", "topk", "jumprelu", "matching_pursuit", "transcoder")
    },
    "skip_transcoder": {},
}
CASES = [(name, {}) for name in SETTINGS] + [
    ("topk", {"rescale_acts_by_decoder_norm": True}),
    ("standard", {"normalize_activations": "layer_norm"}),
    ("standard", {"normalize_activations": "constant_norm_rescale"}),
    ("transcoder", {"normalize_activations": "layer_norm"}),
]


def reader_of(subject, architecture="standard", hook="blocks.0.hook_resid_post", **settings):
    sae = tiny.make_sae(architecture, hook, **settings)
    return LatentReader(subject, LoadedSAE("made", sae.eval()))


@pytest.mark.parametrize(("architecture", "settings"), CASES)
@torch.inference_mode()
def test_it_is_what_the_decoder_writes(architecture, settings, subject):
    reader = reader_of(subject, architecture, **settings)
    module = reader.sae.module
    read = torch.randn(2, 5, tiny.WIDTH)
    written = []
    for activation in (1.0, 0.0):
        module.run_time_activation_norm_fn_in(read)
        one = torch.zeros(2, 5, 96)
        one[..., 7] = activation
        written.append(module.decode(one))
    found = Direction(reader, 7).decoded(read).expand(2, 5, tiny.WIDTH)
    torch.testing.assert_close(found, written[0] - written[1], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_random_direction_has_the_same_norm_and_its_own_seed(subject):
    reader = reader_of(subject, normalize_activations="layer_norm")
    read = torch.randn(2, 5, tiny.WIDTH)
    own, first, again, second = (
        Direction(reader, 7, random).decoded(read) for random in (None, 0, 0, 1)
    )
    torch.testing.assert_close(first.norm(dim=-1), own.norm(dim=-1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.inference_mode()
def test_heads_reach_the_residual_stream_through_their_map(family, subject, gpt2_subject):
    model = {"llama": subject, "gpt2": gpt2_subject}[family]
    reader = reader_of(model, hook="blocks.1.attn.hook_z", d_in=8, metadata={"hook_head_index": 2})
    row = reader.sae.module.W_dec[3]
    if family == "llama":
        carried = model.model.model.layers[1].self_attn.o_proj.weight[:, 16:24] @ row
    else:
        carried = row @ model.model.transformer.h[1].attn.c_proj.weight[16:24]
    found = Direction(reader, 3).in_residual_stream()
    torch.testing.assert_close(found, carried / carried.norm(), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_head_is_pushed_and_its_neighbours_are_not(subject):
    reader = reader_of(
        subject, hook="blocks.1.attn.hook_z", d_in=8, metadata={"hook_head_index": 2}
    )
    found = torch.randn(1, 4, 32)
    changed = Direction(reader, 3).edit(2.0).change(found)
    wanted = found.clone()
    wanted[:, 1:, 16:24] += 2 * reader.sae.module.W_dec[3]
    torch.testing.assert_close(changed, wanted)


def test_where_no_map_leads_to_the_logits(subject):
    reader = reader_of(subject, hook="blocks.1.attn.q.hook_out")
    with pytest.raises(SAEError, match="steer the feature instead"):
        asyncio.run(ModelOutputs(reader, lambda _: 1.0).promoted(0))


@pytest.mark.parametrize("family", ["gemma2", "olmo2"])
@torch.inference_mode()
def test_what_passes_another_norm_leads_nowhere_straight(family, subject_of):
    """Behind that norm it is what the stream gets."""
    subject = subject_of(family)
    for hook in ("blocks.1.mlp.hook_out", "blocks.1.attn.hook_z"):
        with pytest.raises(SAEError, match="passes another norm"):
            Direction(reader_of(subject, hook=hook), 3).in_residual_stream()
    reader = reader_of(subject, hook="blocks.1.hook_mlp_out")
    row = reader.sae.module.W_dec[3]
    torch.testing.assert_close(Direction(reader, 3).in_residual_stream(), row / row.norm())


def test_where_steering_reaches_nothing(subject):
    reader = reader_of(subject, hook="blocks.1.hook_resid_mid")
    with pytest.raises(SAEError, match="hook_resid_post"):
        asyncio.run(ModelOutputs(reader, lambda _: 1.0).steered(0, ["the cat"]))
