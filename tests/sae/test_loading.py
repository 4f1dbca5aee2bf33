"""Loading SAEs: by name, from folders and from releases, and what is wrong with some."""

import json
import os
import pickle
import shutil

import pytest
import tiny
import torch

from sagescope.sae.errors import SAEError, SubjectError, UnknownName
from sagescope.sae.loading import load_sae, pretrained_names
from sagescope.sae.subject import SubjectModel
from sagescope.sae.weights import weights_only


def test_names_and_digests(made, topk):
    sae = load_sae(str(topk))
    assert sae.name == "tiny-topk"
    assert sae.digest == load_sae(str(topk)).digest
    other = tiny.save_sae(made / "other-seed", seed=2)
    assert load_sae(str(other)).digest != sae.digest
    tiny.edit_metadata(other, context_size=32)
    before = load_sae(str(other)).digest
    tiny.edit_metadata(other, context_size=33)
    assert load_sae(str(other)).digest != before


def test_pretrained_saes_load_by_name():
    for name in pretrained_names():
        assert load_sae(name).name == name == load_sae(f"pretrained:{name}").name


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("gpt2-small-res-jbb/blocks.8.hook_resid_pre", "gpt2-small-res-jb/"),
        ("gpt2-small-res-jb/blocks.88.hook_resid_pre", r"blocks\.8\.hook_resid_pre"),
        ("nothing-like-it", "."),
    ],
)
def test_unknown_releases_show_the_near_ones(spec, near):
    with pytest.raises(UnknownName, match=near):
        load_sae(spec)


def test_a_hub_that_does_not_answer_is_one_sentence():
    with pytest.raises(SAEError, match="Check the network") as caught:
        load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert "\n" not in str(caught.value)


def test_a_typo_in_a_long_release_shows_the_near_ones():
    with pytest.raises(SAEError, match="gemma-scope-2b-pt-res"):
        load_sae("gemma-scope-2b-pt-re/layer_12/width_16k/average_l0_82")


def test_what_is_no_sae_folder(tmp_path):
    with pytest.raises(SAEError, match=r"no cfg\.json"):
        load_sae(str(tmp_path))
    with pytest.raises(SAEError, match="not a folder"):
        load_sae(str(tmp_path / "nowhere"))


def test_damaged_sae_folders(tmp_path):
    folder = tiny.save_sae(tmp_path / "sae")
    weights = folder / "sae_weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SAEError, match="cannot be read"):
        load_sae(str(folder))
    weights.unlink()
    with pytest.raises(SAEError, match="cannot be read"):
        load_sae(str(folder))


def test_an_unknown_architecture_shows_the_known_ones(tmp_path):
    folder = tiny.save_sae(tmp_path / "sae")
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | {"architecture": "topkk"}))
    with pytest.raises(UnknownName, match="topk"):
        load_sae(str(folder))


@pytest.mark.parametrize("spec", ["~nosuchuser/x", "x" * 300, "a\0b"])
def test_what_can_be_no_path(spec):
    with pytest.raises(SAEError, match="cannot be a path"):
        load_sae(spec)


class Hostile:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_a_pickled_model_is_refused_and_not_run(tmp_path, llama, monkeypatch):
    folder, mark = tmp_path / "hostile", tmp_path / "it-ran"
    shutil.copytree(llama, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": Hostile(mark)}, folder / "pytorch_model.bin")
    for forced in ("0", "1"):
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
        with pytest.raises(SubjectError, match="could not be loaded"):
            SubjectModel.load(str(folder))
        assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == forced
    assert not mark.exists()


def test_a_pickled_sae_is_refused_and_not_run(tmp_path, topk):
    folder, mark = tmp_path / "hostile", tmp_path / "it-ran"
    shutil.copytree(topk, folder)
    torch.save({"W_enc": Hostile(mark)}, folder / "sae_weights.safetensors")
    with pytest.raises(SAEError, match="cannot be read"):
        load_sae(str(folder))
    assert not mark.exists()


def test_a_release_of_pickles_loads_tensors_and_runs_nothing(tmp_path, monkeypatch):
    """The loader of the first releases of SAEs calls torch.load as it stands."""
    mark, file = tmp_path / "it-ran", tmp_path / "weights.pt"
    torch.save({"W_enc": Hostile(mark)}, file)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with weights_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(file)
    torch.save({"W_enc": torch.ones(2)}, file)
    with weights_only():
        assert torch.load(file)["W_enc"].tolist() == [1, 1]
    assert not mark.exists()
