"""What goes on an SAE's card."""

import dataclasses
import math

import pytest
import tiny
import torch

from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import CorpusError
from sagescope.sae.evaluate import DENSITY_EDGES, evaluate
from sagescope.sae.loading import LoadedSAE, load_sae


def perfect(hook="blocks.1.hook_resid_post", architecture="standard", **metadata):
    """An SAE that gives back what it gets: a latent for each direction and its opposite."""
    sae = tiny.make_sae(architecture, hook, 2 * tiny.WIDTH, metadata=metadata)
    eye = torch.eye(tiny.WIDTH)
    with torch.no_grad():
        sae.W_enc.copy_(torch.cat([eye, -eye], 1))
        sae.W_dec.copy_(torch.cat([eye, -eye]))
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    return LoadedSAE("perfect", sae)


def test_a_perfect_sae(subject, corpus):
    found = evaluate(LatentReader(subject, perfect()), corpus, 1500, 600)
    assert found.unexplained == pytest.approx(0, abs=1e-6)
    assert found.l0 == pytest.approx(tiny.WIDTH, rel=1e-3)
    assert found.loss_recovered == pytest.approx(1, abs=1e-3)
    assert found.loss == pytest.approx(found.loss_with_sae, abs=1e-3)
    assert found.loss_without != pytest.approx(found.loss, abs=1e-3)
    assert found.dead == 0
    assert sum(found.densities) == 2 * tiny.WIDTH


def test_an_sae_that_gives_zeros(subject, corpus):
    sae = perfect()
    with torch.no_grad():
        sae.module.W_dec.zero_()
        sae.module.b_enc.fill_(-1e6)
    found = evaluate(LatentReader(subject, sae), corpus, 1500, 600)
    # Zeros explain no more than the mean does, and less where the mean is not zero.
    assert found.unexplained >= 1
    assert found.loss_recovered == pytest.approx(0, abs=1e-3)
    assert (found.dead, found.l0, sum(found.densities)) == (1, 0, 0)


def test_the_loss_is_that_of_the_model(subject):
    corpus = corpus_of(["the cat sees a dog near the red house"])
    found = evaluate(LatentReader(subject, perfect()), corpus, 1000, 1000)
    ids = torch.tensor([[0, *subject.tokenize([next(iter(corpus)).text])[0].ids]])
    logits = subject.logits(ids)[0]
    wanted = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])
    assert found.loss == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "hook"),
    [
        ("topk", "blocks.0.hook_resid_post"),
        ("temporal", "blocks.1.hook_resid_post"),
        ("skip_transcoder", "blocks.1.mlp.hook_in"),
        ("matching_pursuit", "blocks.1.hook_mlp_out"),
    ],
)
def test_other_architectures(architecture, hook, made, subject, corpus):
    sae = load_sae(str(tiny.save_sae(made / f"eval-{architecture}", architecture, hook=hook)))
    found = evaluate(LatentReader(subject, sae), corpus, 2500, 200)
    assert all(math.isfinite(value) for value in dataclasses.astuple(found)[:-1])
    assert found.tokens >= 2500 > found.loss_tokens >= 200


def test_a_transcoder_is_held_to_its_output(subject, corpus):
    """One that gives zeros explains nothing of the output, and costs what zeros there cost."""
    sae = tiny.make_sae("transcoder", "blocks.1.mlp.hook_in")
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.zero_()
    reader = LatentReader(subject, LoadedSAE("zeros", sae))
    assert reader.written.name == "blocks.1.hook_mlp_out"
    found = evaluate(reader, corpus, 2500, 200)
    assert found.loss_with_sae == pytest.approx(found.loss_without, abs=1e-5)
    assert found.unexplained >= 1


def test_centred_activations_get_their_mean_back(gpt2_subject, corpus):
    asked = {"center_writing_weights": True}
    sae = perfect(model_from_pretrained_kwargs=asked)
    found = evaluate(LatentReader(gpt2_subject, sae), corpus, 800, 400)
    assert found.unexplained == pytest.approx(0, abs=1e-6)
    assert found.loss_with_sae == pytest.approx(found.loss, abs=1e-3)


def test_densities_are_counted_between_powers_of_ten(reader, corpus):
    found = evaluate(reader, corpus, 1000, 100)
    assert len(found.densities) == len(DENSITY_EDGES) - 1
    assert sum(found.densities) == round(96 * (1 - found.dead))
    assert found.l0 == pytest.approx(8, rel=0.01)


def test_no_text(reader):
    with pytest.raises(CorpusError, match="no text to measure on"):
        evaluate(reader, corpus_of([]))
