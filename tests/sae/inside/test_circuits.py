"""A feature's pre-activation as a sum: what it adds up to, and what cannot be taken apart."""

import asyncio

import numpy as np
import pytest
import tiny
import torch

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import SAEError, TextError
from sagescope.sae.inside.circuits import circuits_of
from sagescope.sae.inside.model_circuits import ModelCircuits
from sagescope.sae.loading import LoadedSAE, load_sae
from sagescope.sae.source import FunctionSource

#: Pythia's blocks have no middle.
LACKING = {("neox", "blocks.1.hook_resid_mid")}
TEXTS = [" ".join(text.split()[:25]) for text in tiny.sentences(4, seed=3)]
PLACES = [0, 3, 11, 20]
HOOKS = (
    "blocks.0.hook_resid_post",
    "blocks.1.hook_resid_pre",
    "blocks.1.hook_resid_mid",
    "blocks.1.hook_resid_post",
    "blocks.1.hook_attn_out",
    "blocks.1.attn.hook_z",
    "blocks.1.hook_mlp_out",
    "blocks.1.mlp.hook_in",
    "blocks.1.ln1.hook_out",
    "ln_final.hook_out",
)


def reader_on(subject, architecture="standard", hook="blocks.1.hook_resid_post", **how):
    return LatentReader(subject, LoadedSAE("made", tiny.make_sae(architecture, hook, **how)))


def own_pre_activations(reader, feature):
    """The SAE's own numbers, seen as it encodes what a plain pass of the model has."""
    found = []
    for text, place in zip(TEXTS, PLACES, strict=True):
        (row,) = reader.subject.tokenize([text])
        at_hook = reader.at_hook(reader.padded([row.ids]))
        seen = []
        handle = reader.sae.module.hook_sae_acts_pre.register_forward_hook(
            lambda _module, _args, made, seen=seen: seen.append(made.detach())
        )
        reader.sae.module.encode(at_hook.flatten(0, 1))
        handle.remove()
        found.append(float(seen[0][place + reader.prepend_bos, feature]))
    return np.array(found)


def close(totals, wanted, sizes):
    """Equal to 1e-4, of the number itself or, where large terms cancel, of a hundredth of them."""
    gap = np.abs(np.array(totals) - np.array(wanted))
    return bool((gap <= 1e-4 * np.maximum(np.abs(wanted), 0.01 * np.array(sizes))).all())


def size(one):
    return float(np.abs(one.heads).sum() + np.abs(one.neurons).sum() + abs(one.embedding))


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "olmo2", "neox"])
def test_the_terms_add_up_to_the_saes_own_pre_activation(family, hook, subject_of):
    """Grouped-query attention, rotary positions, RMSNorm; LayerNorm with biases, learned positions;
    norms behind attention and MLP, with and without those before; attention and MLP side by side."""
    subject = subject_of(family)
    if hook not in subject.bridge.hook_dict:
        assert (family, hook) in LACKING
        return
    reader = reader_on(subject, hook=hook)
    found = asyncio.run(ModelCircuits(reader).attributed(5, TEXTS, PLACES))
    own = own_pre_activations(reader, 5)
    sizes = [size(one) for one in found]
    assert close([one.pre_activation for one in found], own, sizes)
    assert close([one.total for one in found], own, sizes)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("topk", {}),
        ("topk", {"rescale_acts_by_decoder_norm": True}),
        ("jumprelu", {}),
        ("gated", {}),
        ("transcoder", {}),
        ("binary_topk", {}),
        ("standard", {"normalize_activations": "layer_norm"}),
        ("standard", {"normalize_activations": "constant_norm_rescale"}),
    ],
)
def test_every_linear_architecture_adds_up(subject, architecture, settings):
    hook = "blocks.1.mlp.hook_in" if architecture == "transcoder" else "blocks.1.hook_resid_post"
    reader = reader_on(subject, architecture, hook, **settings)
    for feature in (2, 40):
        found = asyncio.run(ModelCircuits(reader).attributed(feature, TEXTS, PLACES))
        wanted = [one.pre_activation for one in found]
        assert close([one.total for one in found], wanted, [size(one) for one in found])
        fires = [(one.pre_activation, one.activation) for one in found if one.activation > 0]
        if architecture != "binary_topk":
            assert all(before == pytest.approx(after, rel=1e-4) for before, after in fires)


def test_each_head_brings_what_the_model_lacks_without_it(subject):
    """What a head is said to bring from a token is what the sum loses when that value is taken out."""
    reader = reader_on(subject, hook="blocks.1.hook_attn_out")
    (found,) = asyncio.run(ModelCircuits(reader).attributed(5, TEXTS[2:3], [11]))
    (row,) = subject.tokenize(TEXTS[2:3])
    layer, head, token = 1, 2, 4
    group = head // 2  # four heads share two key-value heads
    module = subject.model.model.layers[1].self_attn

    def without(_module, _args, made):
        made = made.clone()
        made[:, token, group * 8 : group * 8 + 8] = 0
        return made

    def read():
        at_hook = reader.at_hook(reader.padded([row.ids]))[0, 12]
        return float(at_hook @ reader.sae.module.W_enc[:, 5].detach())

    whole = read()
    handle = module.v_proj.register_forward_hook(without)
    rest = read()
    handle.remove()
    brought = found.heads[layer, [2, 3], token].sum()
    assert whole - rest == pytest.approx(float(brought), rel=1e-3)
    assert abs(brought) > 1e-3


def test_what_is_added_in_a_way_that_is_not_known_is_refused(subject_of):
    """Granite scales what attention and MLP write before it is added."""
    circuits = ModelCircuits(reader_on(subject_of("granite")))
    with pytest.raises(SAEError, match="does not add up"):
        asyncio.run(circuits.attributed(5, TEXTS, PLACES))


def test_hooks_of_others_stay(subject):
    seen = []
    point = subject.bridge.hook_dict["blocks.1.attn.hook_pattern"]
    point.add_hook(lambda made, hook: seen.append(made.shape))
    try:
        asyncio.run(ModelCircuits(reader_on(subject)).attributed(5, TEXTS[:1], PLACES[:1]))
        (row,) = subject.tokenize(TEXTS[:1])
        subject.bridge(torch.tensor([row.ids]), return_type=None)
    finally:
        point.remove_hooks()
    assert len(seen) == 2


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "olmo2", "neox"])
def test_what_heads_read_adds_up_at_their_sources(family, subject_of):
    circuits = ModelCircuits(reader_on(subject_of(family)))
    found = asyncio.run(circuits.reads(5, TEXTS[3], 20, 6))
    assert len(found) == 6
    for one in found:
        assert one.total == pytest.approx(one.value, rel=1e-3, abs=1e-5)
        assert len(one.mlps) == one.layer


@pytest.mark.parametrize("family", ["gemma2", "olmo2"])
def test_upstream_features_behind_a_norm_add_up_too(family, subject_of):
    subject = subject_of(family)
    reader = reader_on(subject)
    upstream = reader_on(subject, "topk", "blocks.0.hook_mlp_out", seed=4)
    found = asyncio.run(ModelCircuits(reader, [upstream]).attributed(5, TEXTS, PLACES))
    own = own_pre_activations(reader, 5)
    assert close([one.total for one in found], own, [size(one) for one in found])
    assert all(len(one.upstream[0].features) for one in found)
    with pytest.raises(SAEError, match="can take the place of an MLP"):
        ModelCircuits(reader, [reader_on(subject, "topk", "blocks.0.mlp.hook_out", seed=4)])


@pytest.mark.parametrize("kind", ["transcoder", "residual"])
def test_upstream_features_take_the_place_of_what_they_stand_for(subject, kind):
    reader = reader_on(subject)
    if kind == "transcoder":
        upstream = reader_on(
            subject, "transcoder", "blocks.0.mlp.hook_in",
            metadata={"hook_name_out": "blocks.0.hook_mlp_out"}, seed=4,
        )  # fmt: skip
        upstream.sae.module.cfg.metadata.hook_name_out = "blocks.0.hook_mlp_out"
        upstream = LatentReader(subject, LoadedSAE("made", upstream.sae.module))
    else:
        upstream = reader_on(subject, "topk", "blocks.0.hook_resid_post", seed=4)
    plain = asyncio.run(ModelCircuits(reader).attributed(5, TEXTS, PLACES))
    found = asyncio.run(ModelCircuits(reader, [upstream]).attributed(5, TEXTS, PLACES))
    for one, other in zip(found, plain, strict=True):
        assert one.total == pytest.approx(other.total, rel=1e-3, abs=1e-4)
        (share,) = one.upstream
        assert len(share.features)
        assert not one.neurons[0].any()
        assert bool(one.heads[0].any()) == (kind == "transcoder")
        assert (one.embedding == 0) == (kind == "residual")


def test_upstream_saes_must_lie_before(subject):
    later = reader_on(subject, hook="blocks.1.hook_resid_post")
    with pytest.raises(SAEError, match="not before"):
        ModelCircuits(reader_on(subject, hook="blocks.0.hook_resid_post"), [later])
    with pytest.raises(SAEError, match="take the place"):
        ModelCircuits(later, [reader_on(subject, hook="blocks.0.hook_attn_out")])


def test_no_part_is_counted_twice(subject):
    stretch, mlp = (
        reader_on(subject, hook=f"blocks.0.{at}") for at in ("hook_resid_post", "hook_mlp_out")
    )
    after = reader_on(subject, hook="blocks.1.hook_mlp_out")
    for both in ([stretch, mlp], [mlp, stretch], [mlp, mlp], [stretch, stretch]):
        with pytest.raises(SAEError, match="counted twice"):
            ModelCircuits(reader_on(subject), both)
    circuits = ModelCircuits(reader_on(subject), [after, stretch])
    for one in asyncio.run(circuits.attributed(5, TEXTS, PLACES)):
        assert one.total == pytest.approx(one.pre_activation, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("architecture", ["temporal", "matching_pursuit"])
def test_latents_that_are_no_linear_reading_are_refused(subject, architecture):
    with pytest.raises(SAEError, match="sage"):
        ModelCircuits(reader_on(subject, architecture))


def test_other_hook_points_are_refused(subject):
    with pytest.raises(SAEError, match="no sum of what the model wrote"):
        ModelCircuits(reader_on(subject, hook="blocks.1.attn.hook_q"))


def test_a_place_that_the_text_does_not_have(reader):
    with pytest.raises(TextError, match="no token 500"):
        asyncio.run(ModelCircuits(reader).attributed(0, ["a cat"], [500]))


def test_a_planted_function_has_no_circuits():
    source = FunctionSource(lambda text, feature: [(text, 1.0)], 1, ["a"])
    with pytest.raises(SAEError, match="activations alone"):
        circuits_of(source)


def test_promoted_tokens_are_what_the_direction_adds_to_the_logits(subject):
    """Against the logits of the model with the feature's own share taken out, the norm held."""
    reader = reader_on(subject, "topk")
    (row,) = subject.tokenize(TEXTS[3:])
    latents = reader.run([row.ids]).row(0)
    place, feature, value = (int(latents[0][-1]), int(latents[1][-1]), float(latents[2][-1]))
    found = asyncio.run(ModelCircuits(reader).promoted_here(feature, TEXTS[3:], [place], 5))
    ids = reader.padded([row.ids[: place + 1]])
    stream = subject.activations(ids, subject.hook_point("ln_final.hook_in"))[0, place + 1]
    norm = subject.model.model.norm
    scale = (stream.square().mean() + norm.variance_epsilon).rsqrt()
    written = value * reader.sae.module.W_dec[feature].detach()
    logits = subject.model.lm_head(norm.weight * written * scale)
    logits = logits - logits.mean()
    assert found.promoted[0].id == int(logits.argmax())
    assert found.promoted[0].weight == pytest.approx(float(logits.max()), rel=1e-3)
    assert found.suppressed[0].id == int(logits[: len(subject.tokenizer)].argmin())


@pytest.mark.slow
def test_the_terms_add_up_on_the_demos_model():
    """SmolLM2: 9 heads on 3 key-value heads, rotary positions, tied embeddings; 20 blocks."""
    from sagescope.sae.subject import SubjectModel

    subject = SubjectModel.load("smollm2-135m-instruct", dtype="float32")
    reader = LatentReader(subject, load_sae("smollm2-135m-layer19-topk"))
    text = "The company was founded in 1987 by Robert Smith, who later moved to Chicago."
    places, features, _ = reader.run([subject.tokenize([text])[0].ids]).row(0)
    circuits = ModelCircuits(reader)
    for place, feature in list(zip(places, features, strict=True))[::97]:
        (found,) = asyncio.run(circuits.attributed(int(feature), [text], [int(place)]))
        assert found.total == pytest.approx(found.pre_activation, rel=1e-4)
        assert found.activation > 0
