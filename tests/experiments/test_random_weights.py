"""The random-weights control: the same SAE on a model that knows nothing."""

import numpy as np
import pytest
import tiny
import torch

from sagescope.experiments import Journal, explain
from sagescope.experiments.features import draw
from sagescope.experiments.random_weights import ALIKE, densities, nearest, random_source
from sagescope.experiments.summary import means
from sagescope.sae.model_source import ModelSource
from sagescope.sae.subject import SubjectModel

#: The tiny model's contexts are too short for probes.
QUICK = {"explainer": "sage:no-probes", "scorers": ["predictive"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """A tiny model with an SAE, some of whose features fire often enough to be drawn."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny.save_model(folder / "model")
    sae = tiny.save_sae(folder / "sae", "topk")
    (folder / "text.txt").write_text("\n\n".join(tiny.sentences(400)), "utf-8")
    return ModelSource.load(
        str(model),
        str(sae),
        str(folder / "text.txt"),
        12_000,
        dtype="float32",
        root=folder / "evidence",
        progress=False,
    )


def test_weights_keep_their_distribution_and_nothing_else(tmp_path):
    subject = SubjectModel.load(str(tiny.save_model(tmp_path / "model")), dtype="float32")
    other, again = subject.with_random_weights(), subject.with_random_weights()
    assert other.digest == again.digest != subject.digest
    assert other.digest != subject.with_random_weights(seed=1).digest
    for (name, known), drawn_anew in zip(
        subject.model.named_parameters(), other.model.parameters(), strict=True
    ):
        if known.numel() >= 1000:
            assert not torch.equal(known, drawn_anew)
            assert drawn_anew.std().item() == pytest.approx(known.std().item(), rel=0.15), name
    assert subject.id in other.id
    text = ["the same words in the same tokens"]
    assert subject.tokenize(text) == other.tokenize(text)


def test_a_source_without_a_model_says_so(source):
    assert random_source(source) is None
    (first, _) = explain(source, [0, 1])
    assert first.controls["random_weights"] is None
    assert "no model" in first.details["random_weights"]["why"]


def test_features_of_the_random_model_stand_beside_the_run(model, tmp_path):
    with model, Journal.open(tmp_path / "j.db") as journal:
        chosen = draw(model.evidence, 3, seed=0)
        assert chosen, "the tiny SAE has features that fire"
        options = {"journal": journal, "run": "r", **QUICK}
        found = explain(model, chosen, random_weights=2, **options)
        assert {one.error for one in found} == {None}
        beside = journal.run("r.random-weights")
        assert "random-weights" in beside.config["subject"]
        own = densities(model)
        matches = [one for one in found if one.controls["random_weights"]]
        assert matches, "some feature of the random model is like one of the run"
        for result in found:
            about = result.details["random_weights"]
            if result not in matches:
                assert "fires about as often" in about["why"]
                continue
            ratio = about["density"] / own[result.index]
            assert ratio * 1.001 >= 1 / ALIKE
            assert ratio <= ALIKE * 1.001
            assert about["run"] == "r.random-weights"
            assert int(about["feature"].rpartition("/")[2]) in beside.features
            assert result.controls["random_weights"]["coverage"] is not None
        (row,) = (m for m in means(found) if (m.group, m.of) == ("all", "random_weights"))
        # Two features of the other model, however many of the run they stand beside.
        assert row.scores["coverage"].n <= 2
        events = len(journal.run("r").events())
        again = explain(model, chosen, random_weights=2, **options)
        assert [one.as_json() for one in again] == [one.as_json() for one in found]
        assert not [e for e in journal.run("r").events()[events:] if e.kind == "scored"]


def test_none_are_made_unasked(model, tmp_path):
    with Journal.open(tmp_path / "j.db") as journal:
        chosen = draw(model.evidence, 1, seed=0)
        options = {"journal": journal, "run": "r", **QUICK}
        (result,) = explain(model, chosen, random_weights=0, **options)
        assert result.details["random_weights"]["why"].endswith("--random-weights makes it")
        assert [run.name for run in journal.runs()] == ["r"]


def test_its_evidence_is_kept_like_any_other(model, tmp_path):
    first = random_source(model)
    second = random_source(model)
    assert isinstance(first, ModelSource)
    assert isinstance(second, ModelSource)
    assert first.key == second.key != model.key
    one, two = (s.evidence.splits["explain"] for s in (first, second))
    assert np.array_equal(one.activations(0), two.activations(0))


def test_what_is_alike_is_nearest_by_ratio_and_never_far():
    pool = {3: 0.010, 5: 0.018, 7: 0.5, 9: 0.0}
    assert nearest(0.012, pool) == 3
    assert nearest(0.017, pool) == 5
    assert nearest(0.25, pool) == 7
    assert nearest(0.1, pool) is None
    assert nearest(0.1, {}) is None
