"""Steered text on tiny real models, against generation of the models' own."""

import asyncio

import numpy as np
import pytest
import tiny
import torch

from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SAEError, TextError
from sagescope.sae.generation.decoding import Chooser, plain
from sagescope.sae.generation.texts import KINDS, Order, generation_of
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.model_source import ModelSource
from sagescope.sae.on_demand import EvidenceOnDemand
from sagescope.sae.source import FunctionSource

HOOK = "blocks.1.hook_resid_post"
WORD = " garden"
PROMPT = "the cat sees a small"


def source_on(subject, sae, folder):
    reader = LatentReader(subject, LoadedSAE("made", sae.eval()))
    evidence = EvidenceOnDemand(reader, corpus_of(tiny.sentences(60)), 100_000, folder, False)
    return ModelSource(reader, evidence)


def planted_sae(subject):
    """Latent 0 fires on WORD, and writes what makes the model say it; latent 1 never fires."""
    sae = tiny.make_sae("standard", HOOK, features=4, apply_b_dec_to_input=False)
    at, reads, words = subject.hook_point(HOOK), [], []
    for row in subject.tokenize([" " + text for text in tiny.sentences(60)]):
        ids = torch.tensor([[subject.bos_id, *row.ids[: tiny.CONTEXT - 1]]])
        reads.append(subject.activations(ids, at)[0, 1:].float())
        words += [piece == WORD for piece in row.pieces[: tiny.CONTEXT - 1]]
    read, is_word = torch.cat(reads), torch.tensor(words)
    # Fisher's discriminant, halfway between the means.
    means = read[is_word].mean(0), read[~is_word].mean(0)
    apart = torch.where(is_word[:, None], read - means[0], read - means[1])
    spread = apart.T @ apart / len(read) + 1e-3 * torch.eye(tiny.WIDTH)
    direction = torch.linalg.solve(spread, means[0] - means[1])
    floor = (means[0] + means[1]) @ direction / 2
    [word] = subject.tokenize([WORD])[0].ids
    said = subject.model.get_output_embeddings().weight[word].float()
    with torch.no_grad():
        sae.W_enc[:, 0], sae.b_enc[0] = direction, -floor
        sae.W_dec[0] = said / said.norm()
        sae.b_enc[1:] = -1e4
    return sae


@pytest.fixture(scope="module")
def source(subject, tmp_path_factory):
    with source_on(subject, planted_sae(subject), tmp_path_factory.mktemp("evidence")) as made:
        yield made


def steered(source, feature=0, **how):
    order = Order(**({"prompt": PROMPT, "tokens": 12} | how))
    return asyncio.run(generation_of(source).steered(feature, order))


def by_kind(found):
    assert tuple(one.kind for one in found.texts) == KINDS
    return {one.kind: one for one in found.texts}


def test_unsteered_is_what_the_model_writes_by_itself(source, subject):
    unsteered = by_kind(steered(source))["unsteered"]
    ids = [subject.bos_id, *subject.tokenize([PROMPT])[0].ids]
    size = len(subject.tokenizer)
    assert len(unsteered.pieces) == 12
    written = plain(subject, ids, 12, Chooser(0, 0, size))
    row = torch.tensor([ids])
    how = {"attention_mask": torch.ones_like(row), "do_sample": False, "pad_token_id": 0}
    own = subject.model.generate(row, max_new_tokens=12, **how)[0, len(ids) :]
    assert written == own.tolist()
    assert unsteered.text == subject.tokenizer.decode([*ids, *written]).split(PROMPT, 1)[1]
    assert (unsteered.kl, unsteered.steered, unsteered.steps) == (0.0, False, ())


def test_drawn_text_is_the_models_own_too(source, subject):
    found = by_kind(steered(source, temperature=1.0, seed=4))["unsteered"]
    ids = [subject.bos_id, *subject.tokenize([PROMPT])[0].ids]
    written = plain(subject, ids, 12, Chooser(1.0, 4, len(subject.tokenizer)))
    assert found.text == subject.tokenizer.decode([*ids, *written]).split(PROMPT, 1)[1]


def test_adding_raises_the_feature_and_the_controls_are_as_long(source):
    found = steered(source, strength=8.0)
    texts = by_kind(found)
    assert texts["feature"].maximum > texts["unsteered"].maximum
    assert texts["feature"].text.count(WORD) > texts["unsteered"].text.count(WORD)
    assert texts["feature"].kl > texts["random"].kl > 0
    assert texts["difference of means"].kl > 0
    assert all(one.steered for one in found.texts[1:])
    assert found.opened is None


def test_nothing_added_is_nothing_changed(source):
    texts = steered(source, strength=0.0).texts
    assert len({one.pieces for one in texts}) == 1
    assert all(one.kl == pytest.approx(0, abs=1e-5) for one in texts)


def test_activations_are_those_of_a_plain_reading(source, subject):
    """What is added is not mistaken for what the text says."""
    found = by_kind(steered(source, strength=8.0))["feature"]
    known = {subject.token(id): id for id in range(len(subject.tokenizer))}
    prompt = subject.tokenize([PROMPT])[0].ids
    ids = [*prompt, *(known[piece] for piece in found.pieces)]
    places, features, values = source.reader.run([ids]).row(0)
    plain = np.zeros(len(ids), np.float32)
    plain[places[features == 0]] = values[features == 0]
    np.testing.assert_allclose(found.activations, plain[len(prompt) :], atol=1e-3)
    assert found.maximum > 0


def test_all_pushes_have_one_norm(source, subject):
    generation = source.generation
    explain = source.evidence.reader("selector").split("explain")
    found = torch.randn(1, 5, tiny.WIDTH)
    with torch.inference_mode():
        pushes = generation._pushes(0, explain, 7)
        norms = [push(found, 3.0).expand(found.shape).norm(dim=-1) for push in pushes.values()]
        own = pushes["feature"](found, 3.0).expand(found.shape)
        mean = pushes["difference of means"](found, 3.0).expand(found.shape)
    for norm in norms[1:]:
        assert torch.allclose(norm, norms[0], rtol=1e-4)
    assert not torch.allclose(own, mean)


def test_the_gate_opens_on_a_prompt_that_has_the_feature(source):
    closed = steered(source, gated=True, remove=True, prompt="the cat sees a small")
    assert closed.opened is False
    assert closed.prompt_presence < 0.65
    assert len({one.pieces for one in closed.texts}) == 1
    assert not any(one.steered for one in closed.texts)
    opened = steered(source, gated=True, remove=True, prompt="the cat sees a garden", strength=4.0)
    assert opened.opened is True
    assert opened.prompt_presence > 0.75
    texts = by_kind(opened)
    assert texts["feature"].steered
    assert [step.token for step in texts["feature"].steps] == [4, 8, 12]
    assert texts["unsteered"].steps == ()
    assert texts["feature"].maximum <= texts["unsteered"].maximum + 1e-4


def test_a_push_that_does_nothing_is_stepped_up(source):
    """Added against the feature's absence: after six looks in a row without it, half as much again."""
    found = steered(source, gated=True, prompt="the cat finds a garden", strength=1e-4, tokens=40)
    steps = by_kind(found)["random"].steps
    absent = [1 - step.presence >= 0.9 for step in steps]
    assert len(steps) == 10
    assert absent[3:9] == [True] * 6
    assert not any(absent[:3])
    assert [step.alpha for step in steps] == [1.0] * 8 + [1.5] * 2


def test_the_same_seed_writes_the_same(source):
    how = {"temperature": 0.8, "seed": 3, "strength": 4.0}
    assert steered(source, **how) == steered(source, **how)
    other = by_kind(steered(source, **(how | {"seed": 5})))
    assert other["random"].pieces != by_kind(steered(source, **how))["random"].pieces


def test_gpt2_is_steered_too(gpt2_subject, tmp_path):
    sae = tiny.make_sae("topk", "blocks.0.hook_resid_post", features=32)
    with source_on(gpt2_subject, sae, tmp_path) as made:
        feature = int(made.evidence.table("explain")["typical_max"].idxmax())
        found = by_kind(steered(made, feature=feature, strength=4.0))
    assert found["feature"].kl > 0


def test_errors_say_what_to_do(source, subject, tmp_path):
    with pytest.raises(FeatureError, match="no feature 9"):
        steered(source, feature=9)
    with pytest.raises(FeatureError, match="never fires"):
        steered(source, feature=1)
    with pytest.raises(TextError, match="needs a prompt"):
        steered(source, prompt="")
    with pytest.raises(TextError, match="do not fit"):
        steered(source, tokens=1000)
    with pytest.raises(TextError, match="one token"):
        steered(source, tokens=0)
    for strength in (-1.0, 33.0, float("nan"), float("inf")):
        with pytest.raises(SAEError, match="from 0 to 32"):
            steered(source, strength=strength)
    function = FunctionSource(lambda t, f: [(t, 1.0)], 1, [f"t{i}" for i in range(200)])
    with pytest.raises(SAEError, match="no language model"):
        generation_of(function)
    sae = tiny.make_sae("topk", "blocks.0.ln1.hook_in", features=32)
    with source_on(subject, sae, tmp_path) as made:
        feature = int(made.evidence.table("explain")["typical_max"].idxmax())
        with pytest.raises(SAEError, match="reaches nothing else"):
            steered(made, feature=feature)
