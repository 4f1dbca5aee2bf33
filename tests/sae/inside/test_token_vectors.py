"""Token vectors of SAEs on tiny real models, against products made by hand."""

import asyncio

import numpy as np
import pytest
import tiny
import torch

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SAEError
from sagescope.sae.inside.model_token_vectors import ModelTokenVectors, stage
from sagescope.sae.inside.preactivation import encoder_row, pre_activations
from sagescope.sae.inside.token_vectors import token_vectors_of
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.source import FunctionSource

LINEAR = ("standard", "topk", "abstopk", "jumprelu", "gated", "transcoder", "jumprelu_transcoder")


def reader_on(
    subject, architecture="topk", hook="blocks.0.hook_resid_pre", name="made", **settings
):
    sae = tiny.make_sae(architecture, hook, **settings)
    return LatentReader(subject, LoadedSAE(name, sae.eval()))


def pointed(reader, rows, feature=5):
    """The reader with a feature whose encoder row is the sum of some rows [n, d_in]."""
    with torch.no_grad():
        reader.sae.module.W_enc[:, feature] = rows.sum(0)
    return reader


def found_by(vectors, feature=5):
    return asyncio.run(vectors.token_vector(feature))


def test_the_tokens_that_an_encoder_row_is_made_of(subject):
    reader = reader_on(subject)
    weight = subject.model.get_input_embeddings().weight
    pointed(reader, 4 * weight[[300]])
    found = found_by(ModelTokenVectors(reader))
    assert found.tokens[0].id == 300
    assert found.tokens[0].token == subject.tokenizer.decode([300])
    assert sum(one.share for one in found.tokens) == pytest.approx(1)
    assert found.highest >= found.threshold


def test_behind_the_first_block_it_is_what_that_makes_of_a_token(subject):
    reader = reader_on(subject, hook="blocks.1.hook_resid_pre")
    at = subject.hook_point("blocks.1.hook_resid_pre")
    every = torch.tensor([[subject.bos_id, id] for id in range(len(subject.tokenizer))])
    made = subject.activations(every, at)[:, 1].clone()
    products = made @ pointed(reader, 4 * (made[[300]] - made.mean(0))).sae.module.W_enc[:, 5]
    wanted = ((products - products.mean()) / products.std()).max().item()
    assert found_by(ModelTokenVectors(reader)).highest == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_transcoder_reads_through_its_norm(family, subject, gpt2_subject):
    """Its row on the stream moves the pre-activation as a small step of the stream does."""
    model = {"llama": subject, "gpt2": gpt2_subject}[family]
    norm = (
        model.model.transformer.h[1].ln_2
        if family == "gpt2"
        else (model.model.model.layers[1].post_attention_layernorm)
    )
    plain = norm.weight.data
    norm.weight.data = torch.linspace(0.5, 2, tiny.WIDTH)
    try:
        reader = reader_on(model, "transcoder", "blocks.1.mlp.hook_in")
        row = ModelTokenVectors(reader)._read(encoder_row(reader, 3))
        before = model.activations(torch.tensor([[0, 7]]), model.hook_point("blocks.1.ln2.hook_in"))
        x = before[0, -1].clone().requires_grad_()
        value = pre_activations(reader, norm(x), 3)
        slope = torch.autograd.grad(value, x)[0]
    finally:
        norm.weight.data = plain
    # The norm's division keeps the value when the stream grows: that part is left out of the row.
    along = x.detach() - (x.detach().mean() if family == "gpt2" else 0)
    basis = torch.stack([row, along], 1)
    solved = torch.linalg.lstsq(basis, slope[:, None]).solution
    assert (basis @ solved - slope[:, None]).norm() < 1e-3 * slope.norm()
    assert solved[0] > 0


@pytest.mark.parametrize("architecture", LINEAR)
def test_pre_activations_are_what_fires(architecture, subject):
    """Wherever a latent fires, its activation is its pre-activation."""
    hook = "blocks.1.mlp.hook_in" if "transcoder" in architecture else "blocks.1.hook_resid_pre"
    reader = reader_on(subject, architecture, hook)
    found = reader.at_hook(torch.randint(1, 384, (2, 12))).clone()
    with torch.no_grad():
        values = reader.sae.module.encode(found)
    for feature in range(96):
        fires = values[..., feature] != 0
        own = pre_activations(reader, found, feature)
        torch.testing.assert_close(own[fires], values[..., feature][fires], rtol=1e-4, atol=1e-5)


def test_folded_decoder_norms_name_the_same_tokens(subject):
    plain, folded = (
        reader_on(subject, "topk", rescale_acts_by_decoder_norm=True) for _ in range(2)
    )
    folded.sae.module.fold_W_dec_norm()
    weight = subject.model.get_input_embeddings().weight
    row = 4 * weight[200]
    norm = plain.sae.module.W_dec[5].norm()
    pointed(plain, row[None]), pointed(folded, row[None] * norm)
    one, other = found_by(ModelTokenVectors(plain)), found_by(ModelTokenVectors(folded))
    assert [t.id for t in one.tokens] == [t.id for t in other.tokens]
    assert one.highest == pytest.approx(other.highest, rel=1e-4)


def test_a_token_that_takes_away_has_a_share_below_zero(subject):
    """w = 3a + b with b nearly against a: b stands out once a is explained away, and yet w · b < 0."""
    weight = subject.model.get_input_embeddings().weight
    plain = weight.data.clone()
    try:
        with torch.no_grad():
            a, other = weight[300].clone(), torch.randn(tiny.WIDTH)
            across = other - a * (other @ a) / (a @ a)
            b = 2 * (-0.8 * a + 0.6 * across * a.norm() / across.norm())
            weight[301] = b
        reader = pointed(reader_on(subject), torch.stack([3 * a, b / 2]))
        assert (b @ reader.sae.module.W_enc[:, 5]).item() < 0
        shares = {one.id: one.share for one in found_by(ModelTokenVectors(reader)).tokens}
    finally:
        weight.data = plain
    assert shares[300] > 0 > shares[301]
    assert sum(map(abs, shares.values())) == pytest.approx(1)


@pytest.mark.parametrize("prepended", [True, False])
def test_it_says_whether_there_is_a_bos_token(prepended, subject):
    reader = reader_on(subject, metadata={"prepend_bos": prepended})
    assert found_by(ModelTokenVectors(reader)).has_bos is prepended


def test_upstream_features_hand_on_their_tokens(subject):
    """A transcoder's feature that stands out in what a later feature reads names its tokens."""
    below = reader_on(subject, "transcoder", "blocks.0.mlp.hook_in", "below", features=200)
    below.metadata.__dict__["hook_name_out"] = "blocks.0.hook_mlp_out"
    below.__dict__.pop("written", None)
    reader = reader_on(subject, hook="blocks.1.hook_resid_post")
    norm = subject.model.model.layers[0].post_attention_layernorm
    weight = subject.model.get_input_embeddings().weight
    with torch.no_grad():
        below.sae.module.W_enc[:, 17] = 4 * weight[300] / norm.weight
    pointed(reader, 5 * below.sae.module.W_dec[[17]].detach())
    alone = found_by(ModelTokenVectors(reader))
    found = found_by(ModelTokenVectors(reader, [below]))
    assert found.upstream[0].index == 17
    through = {one.id: one.through for one in found.tokens}
    assert through[300] == "below/17"
    assert not alone.upstream
    assert not any(one.through for one in alone.tokens)


def test_upstream_is_what_writes_before_it_reads(subject):
    late = reader_on(subject, "transcoder", "blocks.1.mlp.hook_in", "late")
    assert ModelTokenVectors(reader_on(subject), [late]).upstream == ()
    places = ["blocks.0.hook_resid_pre", "blocks.0.hook_attn_out", "blocks.0.hook_resid_mid"]
    places += ["blocks.0.hook_mlp_out", "blocks.0.hook_resid_post", "blocks.1.hook_mlp_out"]
    order = [stage(subject.hook_point(name)) for name in places]
    assert order == sorted(order)
    assert len(set(order)) == len(order)
    with pytest.raises(SAEError, match="not added to the residual"):
        ModelTokenVectors(reader_on(subject), [reader_on(subject)])


@pytest.mark.parametrize("hook", ["blocks.1.hook_mlp_out", "blocks.1.attn.hook_z"])
def test_what_does_not_read_the_stream_says_so(hook, subject):
    vectors = ModelTokenVectors(reader_on(subject, hook=hook))
    with pytest.raises(SAEError, match="attribution"):
        found_by(vectors)


def test_latents_that_depend_on_others_say_so(subject):
    for architecture in ("spade", "matching_pursuit"):
        with pytest.raises(SAEError, match="depends on the other latents"):
            found_by(ModelTokenVectors(reader_on(subject, architecture)))


def test_a_function_has_no_weights():
    texts = [f"word{n} and more" for n in range(200)]
    source = FunctionSource(lambda text, _: [(t, 0.0) for t in text.split()], 1, texts)
    with pytest.raises(SAEError, match="gives activations and not the weights"):
        token_vectors_of(source)


def test_features_that_do_not_exist(subject):
    with pytest.raises(FeatureError):
        found_by(ModelTokenVectors(reader_on(subject)), 96)


def test_tokens_that_no_text_has_alone_are_marked(subject):
    reader = reader_on(subject)
    weight = subject.model.get_input_embeddings().weight
    byte = next(i for i in range(1, 300) if subject.tokenize([subject.token(i)])[0].ids != (i,))
    pointed(reader, 4 * weight[[byte]])
    marked = {one.id: one.alone for one in found_by(ModelTokenVectors(reader)).tokens}
    assert marked[byte] is False
    assert np.isfinite([one.z for one in found_by(ModelTokenVectors(reader)).tokens]).all()
