"""How good SAEs are, many on one pass of their subject model."""

import math

import pytest
import tiny
import torch

from sagescope.sae.corpus import corpus_of
from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import CorpusError, SAEError
from sagescope.sae.evaluation.figures import DENSITY_EDGES, Evaluation
from sagescope.sae.evaluation.run import evaluate
from sagescope.sae.loading import LoadedSAE, load_sae


def measured(reader, *how) -> Evaluation:
    (found,) = evaluate([reader], *how)
    return found


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
    found = measured(LatentReader(subject, perfect()), corpus, 1500, 600)
    assert found.explained == pytest.approx(1, abs=1e-6)
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
    found = measured(LatentReader(subject, sae), corpus, 1500, 600)
    # Zeros explain no more than the mean does, and less where the mean is not zero.
    assert found.explained <= 0
    assert found.loss_recovered == pytest.approx(0, abs=1e-3)
    assert (found.dead, found.l0, sum(found.densities)) == (1, 0, 0)
    assert (found.highest_density, found.smoothness) == (0, None)


def test_the_loss_is_that_of_the_model(subject):
    corpus = corpus_of(["the cat sees a dog near the red house"])
    found = measured(LatentReader(subject, perfect()), corpus, 1000, 1000)
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
    found = measured(LatentReader(subject, sae), corpus, 2500, 200)
    figures = (found.explained, found.l0, found.loss_recovered, found.smoothness)
    assert all(math.isfinite(value) for value in figures)
    assert found.tokens >= 2500 > found.loss_tokens >= 200


def test_a_transcoder_is_held_to_its_output(subject, corpus):
    """One that gives zeros explains nothing of the output, and costs what zeros there cost."""
    sae = tiny.make_sae("transcoder", "blocks.1.mlp.hook_in")
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.zero_()
    reader = LatentReader(subject, LoadedSAE("zeros", sae))
    assert reader.written.name == "blocks.1.hook_mlp_out"
    found = measured(reader, corpus, 2500, 200)
    assert found.loss_with_sae == pytest.approx(found.loss_without, abs=1e-5)
    assert found.explained <= 0


def test_centred_activations_get_their_mean_back(gpt2_subject, corpus):
    asked = {"center_writing_weights": True}
    sae = perfect(model_from_pretrained_kwargs=asked)
    found = measured(LatentReader(gpt2_subject, sae), corpus, 800, 400)
    assert found.explained == pytest.approx(1, abs=1e-6)
    assert found.loss_with_sae == pytest.approx(found.loss, abs=1e-3)


def test_densities_are_counted_between_powers_of_ten(reader, corpus):
    found = measured(reader, corpus, 1000, 100)
    assert len(found.densities) == len(DENSITY_EDGES) - 1
    assert sum(found.densities) == round(96 * (1 - found.dead))
    assert found.l0 == pytest.approx(8, rel=0.01)
    assert found.l0 / 96 < found.highest_density <= 1


def test_no_text(reader):
    with pytest.raises(CorpusError, match="no text to measure on"):
        measured(reader, corpus_of([]))


def test_saes_measured_together_are_as_measured_alone(subject, corpus, monkeypatch):
    """And the model runs once for all of them, but for the losses."""
    readers = [
        LatentReader(subject, LoadedSAE(name, tiny.make_sae(name, seed=seed)))
        for seed, name in enumerate(("topk", "jumprelu"))
    ]
    alone = [measured(reader, corpus, 1500, 300) for reader in readers]
    asked = []
    run = subject.activations
    monkeypatch.setattr(subject, "activations", lambda *a: asked.append(a) or run(*a))
    assert evaluate(readers, corpus, 1500, 300) == alone
    one_pass, asked[:] = len(asked), []
    measured(readers[0], corpus, 1500, 300)
    assert len(asked) == one_pass


def test_saes_of_other_places_are_not_measured_together(reader, subject, corpus):
    elsewhere = tiny.make_sae("topk", "blocks.0.hook_resid_post")
    with pytest.raises(SAEError, match="Measure them one after the other"):
        evaluate([reader, LatentReader(subject, LoadedSAE("other", elsewhere))], corpus, 100, 10)


def test_the_figures_are_those_of_saelens(reader, corpus):
    """Explained variance and L0 by SAELens's own calculators, on the same activations."""
    from sae_lens.evals import ExplainedVarianceCalculator
    from sae_lens.synthetic.evals import DeadLatentsCalculator, L0Calculator

    from sagescope.sae.evaluation.passes import Encoded, shared_passes

    variance, l0, dead = ExplainedVarianceCalculator(), L0Calculator(), DeadLatentsCalculator(96)
    for shared in shared_passes([reader], corpus, 1000):
        encoded = Encoded.of(reader, shared)
        variance.add_batch(encoded.made, encoded.target)
        l0.add_batch(encoded.codes)
        dead.add_batch(encoded.codes)
    found = measured(reader, corpus, 1000, 100)
    assert found.explained == pytest.approx(variance.compute(), abs=1e-4)
    assert found.l0 == pytest.approx(l0.compute(), rel=1e-4)
    assert found.dead == pytest.approx(dead.compute() / 96)


def test_the_same_sae_with_another_seed_is_as_alike_as_it_is(subject, corpus):
    """One of another kind is not compared; random ones are as alike as chance has it."""
    made = [perfect(), perfect()] + [
        LoadedSAE(str(seed), tiny.make_sae("standard", features=64, seed=seed)) for seed in (3, 4)
    ]
    readers = [LatentReader(subject, sae) for sae in made]
    found = evaluate(readers, corpus, 600, 64, ["a", "a", "b", "b"])
    same, _, other, _ = [one.stability for one in found]
    assert same.others == other.others == 1
    assert same.alike == pytest.approx(1, abs=1e-5)
    assert same.floor < 0.6
    assert other.alike == pytest.approx(other.floor, abs=0.05)
    assert measured(readers[0], corpus, 600, 64).stability is None
