"""Training an SAE, small, on the real path."""

import dataclasses
import json

import pytest
import tiny

from sagescope.sae.encoder import LatentReader
from sagescope.sae.errors import CorpusError, SAEError, UnknownName
from sagescope.sae.loading import load_sae
from sagescope.sae.subject import SubjectModel
from sagescope.sae.train import TrainSettings, train

# SAELens's trainer speaks of its own deprecations, and autocast of the CPU's types.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def settings(llama, tmp_path):
    texts = tmp_path / "some.txt"
    texts.write_text("\n\n".join(tiny.sentences(80)))
    return TrainSettings(
        subject=str(llama),
        hook_point="blocks.1.hook_resid_post",
        corpus=str(texts),
        width=64,
        k=4,
        tokens=64 * 60,
        context=32,
        batch=64,
        buffer=512,
        checkpoints=4,
    )


@pytest.mark.parametrize("arch", ["topk", "batchtopk"])
def test_a_trained_sae_reads_its_subject(arch, settings, llama, tmp_path):
    settings = dataclasses.replace(settings, arch=arch)
    folder = train(settings, tmp_path / "trained")
    sae = load_sae(str(folder))
    assert (sae.n_features, sae.metadata.context_size, sae.metadata.prepend_bos) == (64, 32, True)
    assert sae.metadata.training_tokens == settings.tokens
    reader = LatentReader(SubjectModel.load(str(llama)), sae)
    assert len(reader.run([(5, 6, 7)]).values)
    assert json.loads((folder / "train.json").read_text()) == dataclasses.asdict(settings)


def test_training_goes_on_from_its_checkpoint(settings, tmp_path, monkeypatch):
    settings = dataclasses.replace(settings, tokens=64 * 500)
    run = SubjectModel.activations
    calls = []

    def counted(self, ids, at):
        calls.append(1)
        if len(calls) == stop:
            raise RuntimeError("the power went")
        return run(self, ids, at)

    monkeypatch.setattr(SubjectModel, "activations", counted)
    stop = -1
    train(settings, tmp_path / "whole")
    whole = len(calls)
    calls.clear()
    stop = whole - 2
    with pytest.raises(RuntimeError, match="the power went"):
        train(settings, tmp_path / "broken")
    checkpoints = list((tmp_path / "broken" / "checkpoints").glob("*/position.json"))
    assert len(checkpoints) == 1
    assert not (tmp_path / "broken" / "cfg.json").exists()
    calls.clear()
    stop = -1
    train(settings, tmp_path / "broken")
    assert 0 < len(calls) < whole
    assert load_sae(str(tmp_path / "broken")).n_features == 64


def test_a_folder_of_another_training_is_refused(settings, tmp_path):
    train(settings, tmp_path / "trained")
    other = dataclasses.replace(settings, k=8, seed=1)
    with pytest.raises(SAEError, match=r"other settings \(k, seed\)"):
        train(other, tmp_path / "trained")


def test_what_cannot_be_trained(settings, tmp_path):
    with pytest.raises(UnknownName, match="topk"):
        train(dataclasses.replace(settings, arch="topkk"), tmp_path / "one")
    (tmp_path / "empty.txt").write_text("\n")
    nothing = dataclasses.replace(settings, corpus=str(tmp_path / "empty.txt"))
    with pytest.raises(CorpusError, match="no text to train on"):
        train(nothing, tmp_path / "two")
