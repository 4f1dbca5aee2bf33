"""What features do to the next token, against products and passes made by hand."""

import asyncio

import pytest
import tiny
import torch

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import FeatureError, SAEError, TextError
from sagescope.sae.loading import LoadedSAE
from sagescope.sae.model_outputs import ModelOutputs
from sagescope.sae.model_source import ModelSource
from sagescope.sae.outputs import outputs_of
from sagescope.sae.source import FunctionSource
from sagescope.sae.subject import SubjectModel

PROMPTS = [
    "the cat",
    "a dog runs over the old stone house and never sleeps",
    "red",
    "green or blue",
]
UNIT = 3.0


def outputs_on(subject, architecture="standard", hook="blocks.0.hook_resid_post", **settings):
    sae = tiny.make_sae(architecture, hook, **settings)
    return ModelOutputs(LatentReader(subject, LoadedSAE("made", sae.eval())), lambda _: UNIT)


def ids(listed):
    return [one.id for one in listed]


# --- from weights --------------------------------------------------------------------------------


def by_hand(subject, direction):
    """Logit weights as the model's own parameters give them."""
    direction = direction / direction.norm()
    if hasattr(subject.model, "transformer"):
        gain = subject.model.transformer.ln_f.weight
        direction = direction - direction.mean()
    else:
        gain = subject.model.model.norm.weight
    logits = subject.model.lm_head.weight @ (gain * direction)
    return logits - logits.mean()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("architecture", ["topk", "transcoder"])
def test_promoted_is_the_direct_product(family, architecture, subject, gpt2_subject):
    model = {"llama": subject, "gpt2": gpt2_subject}[family]
    norm = model.model.transformer.ln_f if family == "gpt2" else model.model.model.norm
    plain = norm.weight.data
    norm.weight.data = torch.linspace(0.5, 2, tiny.WIDTH)
    try:
        outputs = outputs_on(model, architecture)
        wanted = by_hand(model, outputs.reader.sae.module.W_dec[5])
        found = asyncio.run(outputs.promoted(5, n=4))
    finally:
        norm.weight.data = plain
    tokens = wanted[: len(model.tokenizer)]
    assert ids(found.promoted) == tokens.argsort(descending=True)[:4].tolist()
    assert ids(found.suppressed) == tokens.argsort()[:4].tolist()
    weights = [one.weight for one in (*found.promoted, *found.suppressed)]
    places = ids((*found.promoted, *found.suppressed))
    torch.testing.assert_close(torch.tensor(weights), tokens[places], rtol=1e-4, atol=1e-5)
    assert found.promoted[0].token == model.tokenizer.decode([found.promoted[0].id])


def test_a_folded_norm_changes_nothing(subject):
    plain = outputs_on(subject, "topk", rescale_acts_by_decoder_norm=True)
    folded = outputs_on(subject, "topk", rescale_acts_by_decoder_norm=True)
    folded.reader.sae.module.fold_W_dec_norm()
    for feature in (0, 95):
        found, wanted = folded.logit_weights(feature), plain.logit_weights(feature)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_it_is_what_the_last_block_adds_to_the_logits(subject):
    """At the last residual stream, a small step moves logits along the weights."""
    outputs = outputs_on(subject, hook="blocks.1.hook_resid_post")
    at, row = outputs.reader.at, outputs.reader.sae.module.W_dec[3]
    found = subject.activations(torch.tensor([[0, 5]]), at)[0, -1]
    norm, head = subject.model.model.norm, subject.model.lm_head
    step = head(norm(found + 1e-3 * row)) - head(norm(found))
    # The norm's division also shrinks what was there: that part is left out of logit weights.
    shrunk = head(norm(found))
    weights = outputs.logit_weights(3)
    basis = torch.stack([weights, shrunk - shrunk.mean()], 1)
    centred = step - step.mean()
    solved = torch.linalg.lstsq(basis, centred[:, None]).solution
    assert (basis @ solved - centred[:, None]).norm() < 0.01 * centred.norm()
    assert solved[0] > 0


# --- from passes ---------------------------------------------------------------------------------


def log_probabilities(subject, at, push, prompts=PROMPTS):
    """Of the next token, with a hook put there by hand, a prompt at a time."""
    module = subject.model.get_submodule(at.module)

    def added(_module, _args, output):
        whole = output[0] if isinstance(output, tuple) else output
        whole[:, 1:] += push
        return output

    found = []
    handle = module.register_forward_hook(added)
    with torch.inference_mode():
        for row in subject.tokenize(prompts):
            logits = subject.model(torch.tensor([[subject.bos_id, *row.ids]])).logits
            found.append(logits[0, -1].log_softmax(-1))
    handle.remove()
    return torch.stack(found)


@pytest.mark.parametrize("architecture", ["standard", "transcoder"])
@pytest.mark.parametrize("strength", [2.0, -1.0])
def test_steering_equals_a_hook_put_by_hand(architecture, strength, subject):
    outputs = outputs_on(subject, architecture)
    at, row = outputs.reader.written, outputs.reader.sae.module.W_dec[9].detach()
    assert ("mlp" in at.module) == (architecture == "transcoder")
    plain = log_probabilities(subject, at, torch.zeros(tiny.WIDTH))
    steered = log_probabilities(subject, at, strength * UNIT * row)
    shift = (steered - plain).mean(0)
    found = asyncio.run(outputs.steered(9, PROMPTS, strength, n=5))
    assert (found.prompts, found.strength) == (len(PROMPTS), strength)
    tokens = shift[: len(subject.tokenizer)]
    assert ids(found.rises) == tokens.argsort(descending=True)[:5].tolist()
    assert ids(found.falls) == tokens.argsort()[:5].tolist()
    for one in (*found.rises, *found.falls):
        assert one.shift == pytest.approx(float(shift[one.id]), abs=1e-4)
        probability = float(steered.exp().mean(0)[one.id])
        assert one.probability == pytest.approx(probability, abs=1e-6)
    kl = torch.nn.functional.kl_div(plain, steered, reduction="batchmean", log_target=True)
    assert found.kl == pytest.approx(float(kl), rel=1e-3)


def test_strength_0_changes_nothing(subject):
    found = asyncio.run(outputs_on(subject).steered(0, PROMPTS, strength=0.0))
    assert found.kl == found.control_kl == 0.0
    assert {one.shift for one in (*found.rises, *found.falls)} == {0.0}


def test_the_control_is_seeded(subject):
    outputs = outputs_on(subject)
    first, again, other = (
        asyncio.run(outputs.steered(0, PROMPTS, seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.kl == other.kl
    assert first.control_kl != other.control_kl > 0


def test_prompts_do_not_depend_on_those_beside_them(subject):
    """Divergences of single prompts average to that of all."""
    outputs = outputs_on(subject)
    alone = [asyncio.run(outputs.steered(0, [prompt])).kl for prompt in PROMPTS]
    together = asyncio.run(outputs.steered(0, PROMPTS)).kl
    assert together == pytest.approx(sum(alone) / len(alone), rel=1e-4)


def test_each_prompt_stands_for_itself(subject):
    """What is told of a prompt is what steering it alone gives, in the order of the prompts."""
    outputs = outputs_on(subject)
    together = asyncio.run(outputs.steered(9, PROMPTS, 2.0, watched=[4, 1]))
    at, row = outputs.reader.written, outputs.reader.sae.module.W_dec[9].detach()
    plain = log_probabilities(subject, at, torch.zeros(tiny.WIDTH))
    steered = log_probabilities(subject, at, 2.0 * UNIT * row)
    for place, one in enumerate(together.by_prompt):
        wanted = (steered - plain)[place, [4, 1]].tolist()
        assert one.shifts == pytest.approx(wanted, abs=1e-4)
        names = [subject.tokenizer.decode([int(steered[place].argmax())])]
        assert one.after[0].strip() == names[0].strip()
        (alone,) = asyncio.run(outputs.steered(9, [PROMPTS[place]], 2.0, watched=[4, 1])).by_prompt
        assert (one.before, one.after) == (alone.before, alone.after)
        assert one.controls == pytest.approx(alone.controls, abs=1e-4)
    assert together.kl == pytest.approx(sum(one.kl for one in together.by_prompt) / len(PROMPTS))


def test_more_prompts_than_fit_a_pass(subject):
    prompts = [" ".join(tiny.WORDS[i : i + 8]) for i in range(20)]
    outputs = outputs_on(subject)
    passes = []
    handle = subject.model.register_forward_hook(lambda *_: passes.append(1))
    together = asyncio.run(outputs.steered(0, prompts)).kl
    handle.remove()
    assert len(passes) > 3
    alone = [asyncio.run(outputs.steered(0, [prompt])).kl for prompt in prompts]
    assert together == pytest.approx(sum(alone) / len(alone), rel=1e-4)


def test_in_bfloat16(llama, subject):
    small = SubjectModel.load(str(llama), dtype="bfloat16")
    exact, found = (
        asyncio.run(outputs_on(model).steered(0, PROMPTS, 2.0)) for model in (subject, small)
    )
    assert found.kl == pytest.approx(exact.kl, rel=0.2)
    weights = [outputs_on(model).logit_weights(0) for model in (subject, small)]
    torch.testing.assert_close(weights[1], weights[0], rtol=0.05, atol=0.05)


def test_passes_of_host_and_steering_do_not_meet(subject, topk, corpus):
    """Both put hooks on the same module; each must come out as if it were alone."""
    outputs = outputs_on(subject)
    evidence = None  # neither side needs any
    texts = tiny.sentences(12, seed=3)
    texts = [" ".join(text.split()[:20]) for text in texts]
    with ModelSource(outputs.reader, evidence) as source:
        wanted = [asyncio.run(source.activations(0, [text]))[0].activations for text in texts]
    alone = asyncio.run(outputs.steered(0, PROMPTS))

    async def both(source):
        steering = [outputs.steered(0, PROMPTS) for _ in range(4)]
        reading = [source.activations(0, [text]) for text in texts]
        return await asyncio.gather(*steering), await asyncio.gather(*reading)

    with ModelSource(outputs.reader, evidence) as source:
        steered, read = asyncio.run(both(source))
    assert all(one == alone for one in steered)
    assert [one.activations.tolist() for (one,) in read] == [one.tolist() for one in wanted]


@pytest.mark.parametrize("prompts", [[], [""], ["the cat", ""], ["the " * 100], [None]])
def test_prompts_that_cannot_be_steered(prompts, subject):
    with pytest.raises(TextError):
        asyncio.run(outputs_on(subject).steered(0, prompts))


def test_more_than_the_model_can_bear(subject):
    with pytest.raises(SAEError, match="lower the strength"):
        asyncio.run(outputs_on(subject).steered(0, PROMPTS, strength=float("inf")))


def test_features_that_are_not_there_or_never_fire(subject):
    outputs = outputs_on(subject)
    for asked in (outputs.promoted(96), outputs.steered(-1, PROMPTS)):
        with pytest.raises(FeatureError, match="no feature"):
            asyncio.run(asked)
    silent = ModelOutputs(outputs.reader, lambda _: 0.0)
    with pytest.raises(FeatureError, match="never fires"):
        asyncio.run(silent.steered(0, PROMPTS))


# --- of sources ----------------------------------------------------------------------------------


def test_a_function_has_no_outputs():
    source = FunctionSource(lambda text, feature: [], 1, [], name="planted")
    with pytest.raises(SAEError, match="function/planted says where its features fire"):
        outputs_of(source)


def test_a_source_steers_by_what_the_feature_reaches_on_the_corpus(llama, topk, tmp_path):
    texts = tmp_path / "some.txt"
    texts.write_text("\n\n".join(tiny.sentences(60)))
    with ModelSource.load(
        str(llama), str(topk), str(texts), 2000, dtype="float32", root=tmp_path, progress=False
    ) as source:
        feature = int(source.evidence.table()["fired"].idxmax())
        stats = source.evidence.reader("explainer").split("explain").stats(feature)
        found = asyncio.run(outputs_of(source).steered(feature, PROMPTS))
        same = ModelOutputs(source.reader, lambda _: 1.0)
        assert found.kl == asyncio.run(same.steered(feature, PROMPTS, stats.typical_max)).kl


@pytest.mark.slow
def test_on_the_demo(smollm):
    """Steering brings out words with a common meaning, where random directions do not."""
    from sagescope.sae.loading import load_sae

    reader = LatentReader(smollm, load_sae("smollm2-135m-layer19-topk"))
    outputs = ModelOutputs(reader, lambda _: 20.0)
    listed = asyncio.run(outputs.promoted(0, 10))
    assert len({one.id for one in (*listed.promoted, *listed.suppressed)}) == 20
    prompts = ["I think that", "She said that it was", "The", "There is a"]
    for feature, words in {1: {" daughter", " boy"}, 2: {" distrust", " optimism"}}.items():
        rises = asyncio.run(outputs.steered(feature, prompts, 4.0, n=20)).rises
        found = {one.token: one for one in rises}
        assert words <= set(found)
        assert all(found[word].shift > 2 + found[word].control for word in words)
