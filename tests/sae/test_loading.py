"""Loading SAEs: by name, from folders and from releases, and what is wrong with some."""

import json

import pytest
import tiny

from sagescope.sae.errors import SAEError, UnknownName
from sagescope.sae.loading import load_sae, pretrained_names


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
