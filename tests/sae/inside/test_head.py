"""A head read from its weights against the head that runs, on tiny real models."""

import asyncio

import numpy as np
import pytest
import tiny
import torch

from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SAEError
from sagescope.sae.inside.attention import attention_of
from sagescope.sae.loading import load_sae
from sagescope.sae.model_source import ModelSource
from sagescope.sae.on_demand import EvidenceOnDemand
from sagescope.sae.source import FunctionSource

HEAD_WIDTH = 8


@pytest.fixture(scope="module")
def head_source(made, tmp_path_factory):
    """Sources of a random SAE on one head, by model, layer and head."""
    opened = []

    def make(subject, layer=0, head=1, **config):
        folder = tmp_path_factory.mktemp("head-sae")
        hook = f"blocks.{layer}.attn.hook_z"
        metadata = {"hook_head_index": head} | config.pop("metadata", {})
        width = config.pop("d_in", HEAD_WIDTH)
        architecture = config.pop("architecture", "standard")
        tiny.save_sae(folder, architecture, hook, 16, width, metadata=metadata, **config)
        reader = LatentReader(subject, load_sae(str(folder)))
        corpus = corpus_of(tiny.sentences(60))
        root = tmp_path_factory.mktemp("evidence")
        source = ModelSource(reader, EvidenceOnDemand(reader, corpus, 100_000, root, False))
        opened.append(source)
        return source

    yield make
    for source in opened:
        source.close()


@pytest.fixture(params=["llama", "gpt2"])
def model(request, subject, gpt2_subject):
    return {"llama": subject, "gpt2": gpt2_subject}[request.param]


def places(source, words):
    inputs = asyncio.run(attention_of(source).inputs())
    return inputs, [inputs.tokens.index(word) for word in words]


def scores_of(subject, layer, head, ids):
    """The attention scores of one head that a pass really has: [seq, seq]."""
    _, cache = subject.bridge.run_with_cache(
        torch.tensor([ids]), names_filter=f"blocks.{layer}.attn.hook_attn_scores"
    )
    return cache[f"blocks.{layer}.attn.hook_attn_scores"][0, head]


@pytest.mark.parametrize("head", [0, 1, 3])
def test_scores_are_those_of_a_pass_at_their_offset(subject, head_source, head):
    """Rotary, grouped key heads: at block 0 nothing is assumed."""
    source = head_source(subject, head=head)
    inputs, (key, query) = places(source, [" cat", " stone"])
    assert inputs.exact
    assert inputs.unexplained == pytest.approx(0, abs=1e-6)
    ids = [row.ids[0] for row in subject.tokenize([" cat", " stone", " the"])]
    for offset in (1, 4):
        row = [subject.bos_id, ids[0], *[ids[2]] * (offset - 1), ids[1]]
        real = scores_of(subject, 0, head, row)
        single = source.attention
        with torch.inference_mode():
            found = single._scores(single._read.keys[[key]], offset)[query, 0]
        assert float(found) == pytest.approx(float(real[-1, 1]), rel=1e-3, abs=1e-4)


def test_best_offset_and_mean_are_those_of_the_offsets(subject, head_source):
    source = head_source(subject)
    inputs, keys = places(source, [" cat", " dog"])
    attention = source.attention
    reach = asyncio.run(attention.reach(keys, window=4))
    with torch.inference_mode():
        each = np.stack(
            [attention._scores(attention._read.keys[keys], o).T.numpy() for o in range(1, 5)]
        )
    assert np.allclose(reach.scores, np.log(np.exp(each).mean(0)), atol=1e-4)
    assert (reach.best == each.argmax(0) + 1).all()
    assert ((reach.shares > 0) & (reach.shares < 1)).all()
    alone = asyncio.run(attention.reach(keys, window=1))
    assert np.allclose(alone.scores, each[0], atol=1e-4)
    assert asyncio.run(attention.reach([])).scores.shape == (0, len(inputs.tokens))


def test_values_add_up_to_the_pre_activation(subject, head_source):
    """Σ pattern · S + bias is what the SAE's encoder computes before its threshold."""
    source = head_source(subject, apply_b_dec_to_input=False)
    reader, sae = source.reader, source.reader.sae.module
    inputs, _ = places(source, [" cat"])
    ids = [i for row in subject.tokenize([" cat stone the river sleeps"]) for i in row.ids]
    pieces = [p for row in subject.tokenize([" cat stone the river sleeps"]) for p in row.pieces]
    pattern = scores_of(subject, 0, 1, [subject.bos_id, *ids]).softmax(-1)[-1].numpy()
    z = reader.at_hook(torch.tensor([[subject.bos_id, *ids]]))[0, -1]
    for feature in (0, 5):
        values = asyncio.run(attention_of(source).values(feature))
        at = [inputs.tokens.index(piece) for piece in pieces]
        made = pattern[0] * values.bos + pattern[1:] @ values.inputs[at]
        wanted = float(z @ sae.W_enc.detach()[:, feature])
        assert made == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_deeper_and_learned_positions_say_what_they_leave_out(model, subject, head_source):
    source = head_source(model, layer=1)
    inputs = asyncio.run(attention_of(source).inputs())
    assert not inputs.exact
    assert 0.01 < inputs.unexplained < 1
    assert "variance" in inputs.assumed
    assert inputs.frequency.sum() == pytest.approx(1)


def test_learned_positions_are_never_called_exact(gpt2_subject, head_source):
    inputs = asyncio.run(attention_of(head_source(gpt2_subject)).inputs())
    assert not inputs.exact
    assert inputs.unexplained > 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"metadata": {"hook_name": "blocks.1.hook_resid_post", "hook_head_index": None}}, "output of"),
        ({"metadata": {"hook_head_index": None}, "d_in": 32}, "--head"),
        ({"architecture": "temporal"}, "depends on the other"),
    ],
)  # fmt: skip
def test_saes_for_which_it_makes_no_sense_are_refused(subject, head_source, config, said):
    if "hook_name" in config.get("metadata", {}):
        config = config | {"d_in": 32}
    source = head_source(subject, **config)
    with pytest.raises(SAEError, match=r"(?i)sage") as caught:
        attention_of(source).check()
    assert said in str(caught.value)


def test_a_head_that_does_more_than_its_maps_is_refused(made, head_source, monkeypatch):
    from sagescope.sae.subject import SubjectModel

    other = SubjectModel.load(str(tiny.save_model(made / "scaled-llama")), dtype="float32")
    source = head_source(other)
    other.model.model.layers[0].self_attn.v_proj.register_forward_hook(lambda *a: a[2] * 1.5)
    with pytest.raises(SAEError, match="does more"):
        asyncio.run(attention_of(source).inputs())


def test_features_and_sources_without_are_errors(subject, head_source):
    with pytest.raises(FeatureError):
        asyncio.run(attention_of(head_source(subject)).values(99))
    plain = FunctionSource(lambda text, feature: [(text, 1.0)], 1, [f"t{i}" for i in range(200)])
    with pytest.raises(SAEError, match="--head"):
        attention_of(plain)
