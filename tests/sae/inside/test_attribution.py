"""Attributions against passes made by hand, and a planted two-token feature in a real tiny model."""

import asyncio

import numpy as np
import pytest
import tiny
import torch

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SAEError, TextError
from sagescope.sae.inside.attribution import METHODS, attributions_of
from sagescope.sae.inside.model_attribution import ModelAttributions
from sagescope.sae.inside.preactivation import pre_activations
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.source import FunctionSource

HOOK = "blocks.1.hook_resid_post"


def reader_on(subject, architecture="topk", hook=HOOK, **settings):
    sae = tiny.make_sae(architecture, hook, **settings)
    return LatentReader(subject, LoadedSAE("made", sae.eval()))


def attributed(reader, text, method, feature=3, at=None, reach=None):
    pieces = reader.subject.tokenize([text])[0].pieces
    at = len(pieces) - 1 if at is None else at
    return asyncio.run(ModelAttributions(reader).attributed(feature, pieces, at, method, reach))


TEXT = "the red cat sees a small dog under the window"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("architecture", ["topk", "transcoder"])
def test_integrated_gradients_are_complete(family, architecture, subject, gpt2_subject):
    model = {"llama": subject, "gpt2": gpt2_subject}[family]
    hook = "blocks.1.mlp.hook_in" if architecture == "transcoder" else HOOK
    reader = reader_on(model, architecture, hook)
    for feature in (0, 40, 95):
        found = attributed(reader, TEXT, "integrated-gradients", feature)
        difference = found.value - found.baseline
        assert abs(found.values.sum() - difference) <= 0.01 * abs(difference)
        assert found.gap <= 0.01


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_those_that_run(method, subject, monkeypatch):
    ran = []
    run = subject.from_embeddings
    monkeypatch.setattr(
        subject, "from_embeddings", lambda ids, *rest: ran.append(len(ids)) or run(ids, *rest)
    )
    assert attributed(reader_on(subject), TEXT, method).rows == sum(ran)


def test_occlusion_is_the_fall_by_hand(subject):
    reader = reader_on(subject)
    found = attributed(reader, TEXT, "occlusion")
    ids = [subject.bos_id, *subject.tokenize([TEXT])[0].ids]
    embed = subject.model.get_input_embeddings()
    mean = embed.weight[: len(subject.tokenizer)].mean(0)

    at = subject.hook_point(HOOK)
    falls = []
    whole = pre_activations(reader, subject.activations(torch.tensor([ids]), at)[0, -1], 3).item()
    assert found.value == pytest.approx(whole, rel=1e-4)
    for place in range(1, len(ids)):
        changed = embed(torch.tensor([ids])).clone()
        changed[0, place] = mean
        kept = []
        block = subject.model.model.layers[1]
        handle = block.register_forward_hook(
            lambda _m, _a, out, kept=kept: kept.append(out[0] if isinstance(out, tuple) else out)
        )
        with torch.no_grad():
            subject.model.model(inputs_embeds=changed)
        handle.remove()
        falls.append(whole - pre_activations(reader, kept[0][0, -1], 3).item())
    np.testing.assert_allclose(found.values, falls, rtol=1e-3, atol=1e-4)
    assert len(found.tokens) == len(falls)


def test_gradients_are_the_slope_of_the_pre_activation(subject):
    """For a latent on the embeddings itself, gradient × input is the last token's product alone."""
    reader = reader_on(subject, hook="hook_embed")
    found = attributed(reader, TEXT, "gradient-x-input")
    ids = subject.tokenize([TEXT])[0].ids
    product = subject.model.get_input_embeddings().weight[ids[-1]] @ reader.sae.module.W_enc[:, 3]
    assert found.values[-1] == pytest.approx(product.item(), rel=1e-4)
    assert np.abs(found.values[:-1]).max() == pytest.approx(0, abs=1e-6)


def test_the_activation_is_that_of_the_host(subject):
    reader = reader_on(subject)
    ids = subject.tokenize([TEXT])[0].ids
    fires = tiny.dense(reader.run([ids]), 96)[-1]
    for feature in (int(fires.argmax()), int(fires.argmin())):
        found = attributed(reader, TEXT, "occlusion", feature)
        assert found.activation == pytest.approx(fires[feature], rel=1e-3, abs=1e-5)


def test_a_reach_reads_the_end_of_the_text_alone(subject):
    reader = reader_on(subject)
    pieces = subject.tokenize([TEXT])[0].pieces
    found = attributed(reader, TEXT, "occlusion", reach=4)
    alone = attributed(reader, "".join(pieces[-4:]), "occlusion")
    assert found.tokens == pieces[-4:]
    np.testing.assert_allclose(found.values, alone.values, rtol=1e-4, atol=1e-5)


def test_curves_begin_and_end_where_they_must(subject):
    reader = reader_on(subject)
    pieces = subject.tokenize([TEXT])[0].pieces
    fires = tiny.dense(reader.run([subject.tokenize([TEXT])[0].ids]), 96)[-1]
    feature = int(fires.argmax())
    order = np.arange(len(pieces), dtype=float)
    found = asyncio.run(ModelAttributions(reader).curves(feature, pieces, len(pieces) - 1, order))
    assert len(found.insertion) == len(found.deletion) == len(pieces) + 1
    assert found.deletion[0] == pytest.approx(1)
    assert found.insertion[-1] == pytest.approx(1, rel=1e-4)
    assert found.insertion[0] == pytest.approx(found.deletion[-1], abs=1e-5)
    with pytest.raises(TextError, match="silent"):
        asyncio.run(ModelAttributions(reader).curves(int(fires.argmin()), pieces, 3, order[:4]))


# --- a planted feature of two tokens ---------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Where “cat” stands and “river” somewhere before: a latent of a model whose attention is even.

    Attention that is even over all earlier tokens adds the mean of their values; the latent's row is
    fitted by least squares on what the block makes of texts with both, with one and with none, so
    that it fires where both are there. Weights of attention outputs and MLP stay as random as they are.
    """
    import transformers

    from sagescope.sae.subject import SubjectModel

    folder = tmp_path_factory.mktemp("pair") / "even"
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=384,
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=tiny.CONTEXT,
        bos_token_id=0,
        initializer_range=0.1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tiny.save_tokenizer(folder)
    subject = SubjectModel.load(str(folder), dtype="float32", device="cpu")
    for layer in subject.model.model.layers:
        layer.self_attn.q_proj.weight.zero_()
    reader = reader_on(subject, "standard", "blocks.0.hook_resid_post", d_in=128)
    texts, labels = mixed(800, seed=1)
    x = last_states(reader, texts)
    y = torch.tensor([float(both) for both in labels])
    ones = torch.cat([x, torch.ones(len(x), 1)], 1)
    weights = torch.linalg.lstsq(ones, y[:, None]).solution[:, 0]
    module = reader.sae.module
    with torch.no_grad():
        module.W_enc[:, 3], module.b_enc[3] = weights[:-1], weights[-1] - 0.5
        module.b_dec.zero_()
    return reader


def mixed(n, seed):
    """Texts that end in “cat” or not, with “river” before or not; and whether both are there."""
    draw = np.random.default_rng(seed)
    others = [word for word in tiny.WORDS if word not in ("cat", "river")]
    texts, labels = [], []
    for number in range(n):
        words = list(draw.choice(others, 7))
        has_river, has_cat = number % 2 == 0, number % 4 < 2
        if has_river:
            words[int(draw.integers(0, 6))] = "river"
        if has_cat:
            words[-1] = "cat"
        texts.append("a " + " ".join(words))
        labels.append(has_river and has_cat)
    return texts, labels


def last_states(reader, texts):
    rows = [row.ids for row in reader.subject.tokenize(texts)]
    found = [reader.at_hook(torch.tensor([[reader.subject.bos_id, *row]]))[0, -1] for row in rows]
    return torch.stack(found).clone()


def firing(reader, n, seed):
    """Texts never fitted on in which both words stand and the latent fires at the end."""
    texts, labels = mixed(n, seed)
    with torch.no_grad():
        values = pre_activations(reader, last_states(reader, texts), 3)
    fires = (values > 0).tolist()
    agreed = np.mean([fired == both for fired, both in zip(fires, labels, strict=True)])
    assert agreed >= 0.9  # the plant is what it says
    return [t for t, fired, both in zip(texts, fires, labels, strict=True) if fired and both]


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients"])
def test_both_tokens_of_a_planted_pair_are_found(method, pair):
    hits = []
    for text in firing(pair, 160, seed=2):
        found = attributed(pair, text, method)
        top = {found.tokens[place].strip() for place in np.argsort(-found.values)[:2]}
        hits.append(top == {"cat", "river"})
        if method == "integrated-gradients":
            assert found.gap <= 0.01
    assert len(hits) >= 30
    assert np.mean(hits) >= 0.95


def test_random_attribution_is_worse_on_both_curves(pair):
    gains = {"insertion": [], "deletion": []}
    for text in firing(pair, 80, seed=3):
        pieces = pair.subject.tokenize([text])[0].pieces
        areas = {}
        for method in ("occlusion", "random"):
            found = attributed(pair, text, method)
            run = ModelAttributions(pair).curves(3, pieces, len(pieces) - 1, found.values)
            areas[method] = asyncio.run(run)
        one, other = areas["occlusion"], areas["random"]
        gains["insertion"].append(one.insertion_auc - other.insertion_auc)
        gains["deletion"].append(other.deletion_auc - one.deletion_auc)
    for found in gains.values():
        # Better by more than two standard errors of the paired difference.
        assert np.mean(found) > 2 * np.std(found) / len(found) ** 0.5
        assert np.mean(found) > 0


# --- what cannot be attributed ----------------------------------------------------------------------


def test_clear_refusals(subject):
    reader = reader_on(subject)
    with pytest.raises(FeatureError):
        attributed(reader, TEXT, "occlusion", feature=96)
    with pytest.raises(TextError, match="no token 99"):
        attributed(reader, TEXT, "occlusion", at=99)
    with pytest.raises(TextError, match="give a reach"):
        attributed(reader, " ".join(tiny.WORDS * 5), "occlusion")
    with pytest.raises(SAEError, match="depends on the other latents"):
        attributed(reader_on(subject, "spade"), TEXT, "occlusion")
    texts = [f"word{n} and more" for n in range(200)]
    source = FunctionSource(lambda text, _: [(t, 0.0) for t in text.split()], 1, texts)
    with pytest.raises(SAEError, match="not the model behind them"):
        attributions_of(source)


def test_all_methods_have_a_value_for_each_token(subject):
    reader = reader_on(subject)
    for method in METHODS:
        found = attributed(reader, TEXT, method)
        assert found.values.shape == (len(found.tokens),)
        assert np.isfinite(found.values).all()
        assert "".join(found.tokens) == TEXT
